package rest

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/berth-iot/berth/endpoint/https/httpstest"
	"github.com/berth-iot/berth/fault"
)

// TestQueryOfAll has the texts in which clients ask for everything, and those that ask
// for something else, which an answer with everything would mislead.
func TestQueryOfAll(t *testing.T) {
	for _, c := range []struct {
		query string
		says  string // of the refusal; "" for none
	}{
		{"", ""},
		{" ", ""},
		{"*", ""},
		{" * ;", ""},
		{"SELECT *", ""},
		{"select*", ""},
		{"Select\t*\nFrom\r\n enrollments ; ", ""},
		{"SELECT*FROM ENROLLMENTS", ""},
		{"* FROM enrollments", ""},
		{"{'additional_properties': {}, 'query': 'SELECT *'}", ""},
		{"{'additional_properties': {}, 'query': 'SELECT * FROM enrollments'}", ""},
		{`{"query":"*"}`, ""},
		{"SELECT * FROM enrollments WHERE registrationId = 'd1'", "WHERE"},
		{"* where provisioningStatus='disabled'", "WHERE"},
		{"where(1=1)", "WHERE"},
		{"{'additional_properties': {}, 'query': 'SELECT * where x'}", "WHERE"},
		{"SELECT * FROM enrollments ORDER BY registrationId", "ORDER"},
		{"SELECT TOP 5 * FROM enrollments", "TOP"},
		{"SELECT COUNT(*) FROM enrollments", "COUNT"},
		{"count(*)", "COUNT"},
		{"SELECT DISTINCT * FROM enrollments", "DISTINCT"},
		{"SELECT registrationId FROM enrollments", "not served"},
		{"SELECT registrationId, * FROM enrollments", "not served"},
		{"SELECT", "not served"},
		{"SELECT * FROM devices", "not served"},
		{"SELECT * FROM", "not served"},
		{"SELECT * FROM enrollments, devices", "not served"},
		{"SELECT * EXCEPT etag", "not served"},
		{"enrollments", ""},
		{"all of them", ""},
		{"registrationId = 'd1'", "not served"},
		{"from devices", "not served"},
	} {
		err := checkSelectsAll(c.query, []string{"enrollments"})
		switch {
		case c.says == "" && err != nil:
			t.Errorf("%q is refused: %v", c.query, err)
		case c.says != "" && (!errors.Is(err, fault.ArgumentInvalid) || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%q is answered %v, want a refusal that says %q", c.query, err, c.says)
		}
	}
}

// TestQueryEverywhere asks each of the three queries in the ways of clients.
func TestQueryEverywhere(t *testing.T) {
	h := newFixture(t)
	token := h.DPSToken()
	for path, body := range map[string]string{
		"/enrollments/d1":      `{"attestation":{"type":"symmetricKey"}}`,
		"/enrollmentGroups/g1": `{"attestation":{"type":"symmetricKey"}}`,
	} {
		if got := h.Do(httpstest.Request{Method: "PUT", Path: path, Token: token, Body: body}); got.Status != 200 {
			t.Fatalf("%s is answered %+v", path, got)
		}
	}
	for _, c := range []struct {
		path, body string
		status     int
		text       string
	}{
		{"/enrollments/query", `{"query":"{'additional_properties': {}, 'query': 'SELECT *'}"}`, 200,
			`"registrationId":"d1"`},
		{"/enrollments/query", `{"query":"*"}`, 200, `"registrationId":"d1"`},
		{"/enrollments/query", `{"query":null}`, 200, `"registrationId":"d1"`},
		{"/enrollments/query", `{}`, 200, `"registrationId":"d1"`},
		{"/enrollments/query", ``, 400, "no body"},
		{"/enrollments/query", `{"query":["*"]}`, 400, "query"},
		{"/enrollments/query", `{"query":"SELECT * FROM enrollmentGroups"}`, 400, "not served"},
		{"/enrollmentGroups/query", `{"query":"SELECT *"}`, 200, `"enrollmentGroupId":"g1"`},
		{"/enrollmentgroups/Query/", `{"query":"select * from enrollmentgroups"}`, 200, `"enrollmentGroupId":"g1"`},
		{"/enrollmentGroups/query", `{"query":"SELECT * WHERE x"}`, 400, "WHERE"},
		{"/registrations/g1/query", ``, 200, "[]"},
		{"/registrations/g1/query", `{"query":"*"}`, 200, "[]"},
		{"/registrations/g1/query", `{"query":"SELECT * FROM registrations"}`, 200, "[]"},
		{"/registrations/g1/query", `{"query":"SELECT * WHERE status = 'failed'"}`, 400, "WHERE"},
	} {
		if got := h.Do(httpstest.Request{Method: "POST", Path: c.path, Token: token,
			Body: c.body}); got.Status != c.status ||
			!strings.Contains(got.Text, c.text) {
			t.Errorf("%s with %s is answered %d %s, want %d with %q", c.path, c.body, got.Status, got.Text,
				c.status, c.text)
		}
	}
}

func FuzzSelectsAll(f *testing.F) {
	for _, query := range []string{"*", "SELECT * FROM enrollments", "{'query': 'SELECT *'}", "select", "\xff*",
		"* *"} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		err := checkSelectsAll(query, []string{"enrollments"})
		if err == nil && strings.Contains(strings.ToLower(query), " where ") {
			t.Errorf("%q is taken for a query of all", query)
		}
		if _, failed := json.Marshal(fault.From(err)); err != nil && failed != nil {
			t.Errorf("the refusal of %q is no JSON: %v", query, failed)
		}
	})
}
