package rest

import (
	"encoding/base64"
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
)

// provisioningService are the operations of back ends on the provisioning
// service (Azure, DPS data plane, service).
func (h *handler) provisioningService() []route {
	return []route{
		{"POST", "/enrollments", provisioningAPI, provisioning.EnrollmentWrite, largeBody, bulkEnrollments},
		{"POST", "/enrollments/query", provisioningAPI, provisioning.EnrollmentRead, smallBody, queryEnrollments},
		{"GET", "/enrollments/{id}", provisioningAPI, provisioning.EnrollmentRead, 0, getEnrollment},
		{"PUT", "/enrollments/{id}", provisioningAPI, provisioning.EnrollmentWrite, smallBody, putEnrollment},
		{"DELETE", "/enrollments/{id}", provisioningAPI, provisioning.EnrollmentWrite, 0, deleteEnrollment},
		{"POST", "/enrollments/{id}/attestationmechanism", provisioningAPI, provisioning.EnrollmentRead, 0, attestationMechanism},
		{"GET", "/registrations/{id}", provisioningAPI, provisioning.RegistrationStatusRead, 0, getRegistration},
		{"DELETE", "/registrations/{id}", provisioningAPI, provisioning.RegistrationStatusWrite, 0, deleteRegistration},
	}
}

func getEnrollment(c *call) (any, error) {
	enrollment, err := c.Provisioning.Enrollment(c.Context(), c.parameters["id"])
	return c.tagged(enrollment, enrollment.ETag, err)
}

func putEnrollment(c *call) (any, error) {
	var enrollment provisioning.Enrollment
	if err := c.decode(&enrollment); err != nil {
		return nil, err
	}
	id := c.parameters["id"]
	if enrollment.RegistrationID == "" {
		enrollment.RegistrationID = id
	}
	if !strings.EqualFold(enrollment.RegistrationID, id) {
		return nil, fault.New(fault.InvalidRegistrationID, "The body names the registration id %.128q, the address %.128q", enrollment.RegistrationID, id)
	}
	written, err := c.Provisioning.PutEnrollment(c.Context(), enrollment, c.Header.Get("If-Match"))
	return c.tagged(written, written.ETag, err)
}

func deleteEnrollment(c *call) (any, error) {
	return nil, c.Provisioning.DeleteEnrollment(c.Context(), c.parameters["id"], c.Header.Get("If-Match"))
}

func attestationMechanism(c *call) (any, error) {
	mechanism, err := c.Provisioning.AttestationMechanism(c.Context(), c.parameters["id"])
	return mechanism, err
}

func getRegistration(c *call) (any, error) {
	registration, err := c.Provisioning.Registration(c.Context(), c.parameters["id"])
	return c.tagged(registration, registration.ETag, err)
}

func deleteRegistration(c *call) (any, error) {
	return nil, c.Provisioning.DeleteRegistration(c.Context(), c.parameters["id"], c.Header.Get("If-Match"))
}

// tagged returns a value with its ETag in the header.
func (c *call) tagged(value any, etag string, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	c.w.Header().Set("ETag", quoted(etag))
	return value, nil
}

// quoted is an ETag as HTTP has it.
func quoted(etag string) string { return `"` + strings.Trim(etag, `"`) + `"` }

// Pages of a query have at most this many items.
const (
	defaultPage = 100
	maxPage     = 1000
)

var allEnrollments = regexp.MustCompile(`(?i)^\s*select\s+\*\s+from\s+enrollments\s*;?\s*$`)

func queryEnrollments(c *call) (any, error) {
	var specification struct {
		Query string `json:"query"`
	}
	if err := c.decode(&specification); err != nil {
		return nil, err
	}
	if !allEnrollments.MatchString(specification.Query) {
		return nil, fault.New(fault.ArgumentInvalid, "The query %.100q is not served by this version. It serves SELECT * FROM enrollments", specification.Query)
	}
	limit, err := c.number("x-ms-max-item-count", c.Header.Get("x-ms-max-item-count"), defaultPage, maxPage)
	if err != nil {
		return nil, err
	}
	after, err := base64.URLEncoding.DecodeString(c.Header.Get("x-ms-continuation"))
	if err != nil {
		return nil, fault.New(fault.ArgumentInvalid, "x-ms-continuation is not one that this service gave")
	}
	enrollments, next, err := c.Provisioning.Enrollments(c.Context(), "", string(after), limit)
	if err != nil {
		return nil, err
	}
	header := c.w.Header()
	header.Set("x-ms-item-type", "enrollment")
	header.Set("x-ms-max-item-count", strconv.Itoa(limit))
	if next != "" { // an empty one would make the Node SDK ask for ever
		header.Set("x-ms-continuation", base64.URLEncoding.EncodeToString([]byte(next)))
	}
	return enrollments, nil
}

// maxBulk is how many enrollments one bulk operation takes in Azure.
const maxBulk = 10

// errNoETag refuses an item of a bulk operation that is to be done under a
// condition and brings none. Else it would be done whatever the state.
func errNoETag(mode string) error {
	return fault.New(fault.ArgumentNull, "%.32s needs an etag. Read the item again and send the etag that it has", mode)
}

type bulkError struct {
	RegistrationID string `json:"registrationId"`
	ErrorCode      int    `json:"errorCode"`
	ErrorStatus    string `json:"errorStatus"`
}

// bulkEnrollments does the same to several enrollments, each for itself: those
// that fail are listed, the others are done.
func bulkEnrollments(c *call) (any, error) {
	var bulk struct {
		Mode        string                    `json:"mode"`
		Enrollments []provisioning.Enrollment `json:"enrollments"`
	}
	if err := c.decode(&bulk); err != nil {
		return nil, err
	}
	if n := len(bulk.Enrollments); n == 0 || n > maxBulk {
		return nil, fault.New(fault.ArgumentInvalid, "A bulk operation takes 1 to %d enrollments, this one has %d", maxBulk, n)
	}
	var apply func(provisioning.Enrollment) error
	ctx := c.Context()
	switch strings.ToLower(bulk.Mode) {
	case "create":
		apply = func(e provisioning.Enrollment) error {
			_, err := c.Provisioning.CreateEnrollment(ctx, e)
			return err
		}
	case "update":
		apply = func(e provisioning.Enrollment) error {
			_, err := c.Provisioning.PutEnrollment(ctx, e, "*")
			return err
		}
	case "updateifmatchetag":
		apply = func(e provisioning.Enrollment) error {
			if e.ETag == "" {
				return errNoETag(bulk.Mode)
			}
			_, err := c.Provisioning.PutEnrollment(ctx, e, e.ETag)
			return err
		}
	case "delete":
		apply = func(e provisioning.Enrollment) error {
			return c.Provisioning.DeleteEnrollment(ctx, e.RegistrationID, "")
		}
	default:
		return nil, fault.New(fault.ArgumentInvalid, "mode is %.32q. It is create, update, updateIfMatchETag or delete", bulk.Mode)
	}
	failed := []bulkError{}
	for _, enrollment := range bulk.Enrollments {
		if err := apply(enrollment); err != nil {
			var problem *fault.Error
			if !errors.As(err, &problem) {
				return nil, err
			}
			failed = append(failed, bulkError{enrollment.RegistrationID, int(problem.Code), problem.Message})
		}
	}
	return struct {
		IsSuccessful bool        `json:"isSuccessful"`
		Errors       []bulkError `json:"errors"`
	}{len(failed) == 0, failed}, nil
}
