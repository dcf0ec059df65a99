package rest

import (
	"bytes"
	"encoding/base64"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/provisioning"
)

// querySpecification is what a query asks for.
type querySpecification struct {
	Query string `json:"query"` // *, or SELECT * FROM enrollments, enrollmentGroups, registrations or devices
}

// checkQuery refuses a query that is not for all of some things. They go by any of
// their names.
func checkQuery(c *https.Call, names ...string) error {
	var specification querySpecification
	if err := c.Decode(&specification); err != nil {
		return err
	}
	return checkSelectsAll(specification.Query, names)
}

var (
	queryWord = regexp.MustCompile(`\*|[\pL\pN_.$]+`)

	// clauses are the words by which a query asks for other records than all, or for
	// something else of them.
	clauses = []string{"where", "order", "group", "having", "join", "top", "limit", "offset", "distinct", "count"}
)

// checkSelectsAll returns no error for a query whose answer is all records: one without a
// condition, as clients write it (*, SELECT *, SELECT * FROM enrollments, nothing). What
// stands before that is no part of the query: the CLI of Azure sends the text of the
// Python object in which it has its query. Nor is a text that asks for nothing: Azure
// answers it with all. A clause is refused, as the answer would be taken for what it asks
// for.
func checkSelectsAll(query string, names []string) error {
	words := queryWord.FindAllString(strings.ToLower(query), -1)
	for _, clause := range clauses {
		if slices.Contains(words, clause) {
			return fault.New(fault.ArgumentInvalid,
				"The query %.100q has %s, which this version can't evaluate. Ask for all with SELECT * FROM %s",
				query, strings.ToUpper(clause), names[0])
		}
	}
	asks := func(word string) bool { return slices.Contains([]string{"select", "from", "*"}, word) }
	if !slices.ContainsFunc(words, asks) && !strings.ContainsAny(query, "=<>") {
		return nil
	}
	star := len(words) - 1
	for star > 0 && words[star] != "*" {
		star--
	}
	before, after := words[:star], words[star+1:]
	columns := slices.Contains(before, "select") && before[star-1] != "select"
	whole := len(after) == 0 || len(after) == 2 && after[0] == "from" &&
		slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, after[1]) })
	if words[star] != "*" || columns || !whole {
		return fault.New(fault.ArgumentInvalid,
			"The query %.100q is not served by this version. It serves SELECT * FROM %s", query, names[0])
	}
	return nil
}

func (s *service) queryEnrollments(c *https.Call) (any, error) {
	if err := checkQuery(c, "enrollments"); err != nil {
		return nil, err
	}
	return answerQuery(c, "enrollment", https.MaxPage,
		func(after string, limit int) ([]any, string, error) {
			items, next, err := s.Provisioning.Enrollments().List(c.Context(), "", after, limit)
			return renderPage(items, next, err, s.policyRenderer(c).enrollment)
		})
}

func (s *service) queryGroups(c *https.Call) (any, error) {
	if err := checkQuery(c, "enrollmentGroups", "enrollments"); err != nil {
		return nil, err
	}
	return answerQuery(c, "enrollmentGroup", https.MaxPage,
		func(after string, limit int) ([]any, string, error) {
			items, next, err := s.Provisioning.Groups().List(c.Context(), "", after, limit)
			return renderPage(items, next, err, s.policyRenderer(c).group)
		})
}

// queryRegistrations lists the registrations of a group, which the address names. Most
// clients send no query; samples of Microsoft's Node SDK name another collection.
func (s *service) queryRegistrations(c *https.Call) (any, error) {
	if len(bytes.TrimSpace(c.Content)) > 0 {
		if err := checkQuery(c, "registrations", "deviceRegistrations", "enrollmentGroups", "enrollments"); err != nil {
			return nil, err
		}
	}
	return answerQuery(c, "deviceRegistration", https.MaxPage,
		func(after string, limit int) ([]provisioning.Registration, string, error) {
			return s.Provisioning.Registrations().ListOfGroup(c.Context(), c.Parameter("id"), after, limit)
		})
}

// queryTwins answers a query of twins (Azure, IoT Hub service REST API, Query_GetTwins).
func queryTwins(c *https.Call) (any, error) {
	var specification querySpecification
	if err := c.Decode(&specification); err != nil {
		return nil, err
	}
	if err := authorizeDevices(c, hub.ServiceConnect); err != nil {
		return nil, err
	}
	limit, err := pageSize(c, https.MaxPage)
	if err != nil {
		return nil, err
	}
	answer, err := c.Hub.Query(c.Context(), specification.Query,
		hub.QueryPage{Limit: limit, Continuation: c.Header.Get("x-ms-continuation")})
	if err != nil {
		return nil, err
	}
	setPage(c, answer.ItemType, limit, answer.Continuation)
	return answer.Rows, nil
}

// pageSize returns how many items a page is to have.
func pageSize(c *https.Call, most int) (int, error) {
	return c.Number("x-ms-max-item-count", c.Header.Get("x-ms-max-item-count"), min(https.DefaultPage, most), most)
}

// setPage writes the headers of a page.
func setPage(c *https.Call, itemType string, limit int, continuation string) {
	c.SetHeader("x-ms-item-type", itemType)
	c.SetHeader("x-ms-max-item-count", strconv.Itoa(limit))
	if continuation != "" { // an empty one would make the Node SDK ask for ever
		c.SetHeader("x-ms-continuation", continuation)
	}
}

// answerQuery answers with one page of what a query found, of most items.
func answerQuery[T any](c *https.Call, itemType string, most int,
	list func(after string, limit int) ([]T, string, error)) (any, error) {
	limit, err := pageSize(c, most)
	if err != nil {
		return nil, err
	}
	after, err := base64.URLEncoding.DecodeString(c.Header.Get("x-ms-continuation"))
	if err != nil {
		return nil, fault.New(fault.ArgumentInvalid, "x-ms-continuation is not one that this service gave")
	}
	items, next, err := list(string(after), limit)
	if err != nil {
		return nil, err
	}
	setPage(c, itemType, limit, base64.URLEncoding.EncodeToString([]byte(next)))
	return items, nil
}
