package https_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/endpoint/https/httpstest"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/inject"
)

// thing is what the operations of this test are about.
type thing struct {
	ID   string    `json:"id"`
	Made time.Time `json:"made"`
	N    int       `json:"n"`
}

var (
	dps = https.ProvisioningAPI.Operation
	iot = https.HubAPI.Operation
)

// echo answers with what was sent.
func echo(c *https.Call) (any, error) {
	var sent thing
	if err := c.Decode(&sent); err != nil {
		return nil, err
	}
	sent.ID = c.Parameter("id")
	return c.Tagged(sent, "1", nil)
}

// newDoor is the door with operations that show what it does with requests and answers.
func newDoor(t *testing.T) *httpstest.Fixture {
	t.Helper()
	return httpstest.New(t, func(*httpstest.Fixture) []https.Operation {
		return []https.Operation{
			dps("GET", "/berth/open", "", 0, func(*https.Call) (any, error) { return map[string]int{"n": 1}, nil }),
			dps("GET", "/enrollments/{id}", provisioning.EnrollmentRead, 0, func(c *https.Call) (any, error) {
				return c.Parameter("id"), nil
			}),
			dps("PUT", "/enrollments/{id}", provisioning.EnrollmentWrite, https.SmallBody, echo),
			dps("PATCH", "/enrollments/{id}", provisioning.EnrollmentWrite, https.SmallBody,
				func(c *https.Call) (any, error) {
					return "patched", nil
				}),
			dps("DELETE", "/enrollments/{id}", provisioning.EnrollmentWrite, 0, func(c *https.Call) (any, error) {
				if match := c.Header.Get("If-Match"); match != `"1"` {
					return nil, fault.New(fault.PreconditionFailed, "If-Match is %s", match)
				}
				return nil, nil
			}),
			dps("GET", "/berth/unencodable", provisioning.EnrollmentRead, 0, func(*https.Call) (any, error) {
				return make(chan int), nil
			}),
			dps("GET", "/berth/wait", provisioning.EnrollmentRead, 0, func(*https.Call) (any, error) {
				problem := fault.New(fault.Throttled, "Come back later")
				problem.RetryAfter = 7 * time.Second
				return nil, problem
			}),
			dps("GET", "/berth/fails", provisioning.EnrollmentRead, 0, func(*https.Call) (any, error) {
				return nil, errors.New("the disk of 192.0.2.1 is full")
			}),
			dps("GET", "/berth/dropped", "", 0, func(*https.Call) (any, error) {
				return nil, fmt.Errorf("%w", inject.ErrDropped)
			}),
			dps("GET", "/berth/challenge", "", 0, func(*https.Call) (any, error) {
				return nil, &provisioning.TPMChallenge{Fault: fault.New(fault.UnauthorizedAccess,
					"Answer the challenge"),
					Activation: []byte("sealed"), KeyName: "registration"}
			}),
			dps("GET", "/berth/broken", provisioning.EnrollmentRead, 0, func(c *https.Call) (any, error) {
				fmt.Fprint(c.Stream("text/plain"), "half of")
				return nil, errors.New("the log is gone")
			}),
			dps("GET", "/berth/page", provisioning.EnrollmentRead, 0, func(c *https.Call) (any, error) {
				return c.Number("top", c.Query("top"), https.DefaultPage, https.MaxPage)
			}).With("top", "x"),
			dps("GET", "/berth/flag", provisioning.EnrollmentRead, 0, func(c *https.Call) (any, error) {
				return c.Flag("on")
			}).With("on"),
			dps("DELETE", "/berth/thing", provisioning.EnrollmentWrite, 0,
				func(*https.Call) (any, error) { return nil, nil }),
			iot("GET", "/devices/{id}", hub.RegistryRead, 0, func(c *https.Call) (any, error) {
				return c.Hub.Host() + " " + c.Parameter("id"), nil
			}),
		}
	})
}

// An operation is found by its method and the segments of its path, each decoded by itself,
// the words in any case.
func TestOperationsAreFound(t *testing.T) {
	f := newDoor(t)
	for _, c := range []struct {
		method, path, token string
		status              int
		says                string
	}{
		{"GET", "/enrollments/pump-1", f.DPSToken(), 200, `"pump-1"`},
		{"GET", "/ENROLLMENTS/Pump-1", f.DPSToken(), 200, `"Pump-1"`},
		{"GET", "/enrollments/pump-1/", f.DPSToken(), 200, `"pump-1"`},
		{"GET", "/enrollments/a%2Fb", f.DPSToken(), 200, `"a/b"`},
		{"GET", "/enrollments", f.DPSToken(), 404, "There is nothing at"},
		{"GET", "/enrollments/a/b", f.DPSToken(), 404, "There is nothing at"},
		{"GET", "/enrollments//", f.DPSToken(), 404, "There is nothing at"},
		{"POST", "/enrollments/pump-1", f.DPSToken(), 405, "but GET, PUT, PATCH, DELETE"},
		{"GET", "/devices/d1", f.HubToken(), 200, `"hub.local d1"`},
		{"GET", "/nothing", f.HubToken(), 404, "ErrorCode:"},
	} {
		got := f.Do(httpstest.Request{Method: c.method, Path: c.path, Token: c.token})
		if got.Status != c.status || !strings.Contains(got.Text, c.says) {
			t.Errorf("%s %s is answered %d %s, want %d %s", c.method, c.path, got.Status, got.Text, c.status, c.says)
		}
		if allowed := got.Header.Get("Allow"); (allowed != "") != (c.status == 405) {
			t.Errorf("%s %s is allowed %q", c.method, c.path, allowed)
		}
	}
}

// A POST can be meant as a PATCH, and as nothing else.
func TestMethodOverride(t *testing.T) {
	f := newDoor(t)
	for _, c := range []struct {
		method, override string
		status           int
	}{
		{"POST", "PATCH", 200}, {"POST", "patch ", 200}, {"PATCH", "PATCH", 200}, {"PATCH", "", 200},
		{"POST", "DELETE", 400}, {"GET", "PATCH", 400},
	} {
		got := f.Do(httpstest.Request{Method: c.method, Path: "/enrollments/pump-1", Token: f.DPSToken(), Body: "{}",
			Header: http.Header{"X-Http-Method-Override": {c.override}}})
		if got.Status != c.status {
			t.Errorf("%s that is meant as %q is answered %d %s", c.method, c.override, got.Status, got.Text)
		}
	}
}

// A body is JSON in UTF-8 within its limit, and a refusal says which it is not.
func TestBodies(t *testing.T) {
	f := newDoor(t)
	for _, c := range []struct {
		name, body, contentType string
		status                  int
		says                    string
	}{
		{"an object", `{"n":7,"unknown":true}`, "application/json", 200, `"n":7`},
		{"a mark of its encoding", "\uFEFF{\"n\":7}", "application/json; charset=UTF-8", 200, `"n":7`},
		{"no content type", `{"n":7}`, "", 200, `"n":7`},
		{"ASCII", `{"n":7}`, "application/json; charset=us-ascii", 200, `"n":7`},
		{"nothing", "", "", 400, "no body"},
		{"null", " null ", "", 400, "no body"},
		{"text", "n=7", "application/x-www-form-urlencoded", 415, "application/json"},
		{"a bad content type", "{}", "application/", 415, "application/json"},
		{"another encoding", "{}", "application/json; charset=utf-16", 415, "UTF-8"},
		{"no JSON", `{"n":`, "", 400, "not JSON"},
		{"another kind", `{"n":"seven"}`, "", 400, "n must be a whole number, not a string"},
		{"an array", `[]`, "", 400, "it must be an object, not an array"},
		{"no time", `{"made":"noon"}`, "", 400, `made must be a time such as 2026-11-23T12:00:00Z, not \"noon\"`},
		{"no UTF-8", "{\"id\":\"K\xf6ln\"}", "", 400, "not UTF-8"},
		{"too deep", strings.Repeat("[", 500) + strings.Repeat("]", 500), "", 400, "can't be taken"},
		{"too large", `{"id":"` + strings.Repeat("x", https.SmallBody) + `"}`, "", 413, "larger than 262144 bytes"},
	} {
		header := http.Header{}
		if c.contentType != "" {
			header.Set("Content-Type", c.contentType)
		}
		got := f.Do(httpstest.Request{Method: "PUT", Path: "/enrollments/pump-1", Token: f.DPSToken(), Body: c.body,
			Header: header})
		if got.Status != c.status || !strings.Contains(got.Text, c.says) {
			t.Errorf("%s is answered %d %s, want %d %s", c.name, got.Status, got.Text, c.status, c.says)
		}
		if etag := got.Header.Get("ETag"); (etag == `"1"`) != (c.status == 200) {
			t.Errorf("%s is answered with the ETag %s", c.name, etag)
		}
	}
	for encoding, want := range map[string]int{"gzip": 415, "GZIP, identity": 415, "br": 415, "identity": 200,
		"Identity": 200, "": 200} {
		got := f.Do(httpstest.Request{Method: "PUT", Path: "/enrollments/pump-1", Token: f.DPSToken(), Body: `{"n":7}`,
			Header: http.Header{"Content-Encoding": {encoding}}})
		if got.Status != want || want == 415 && !strings.Contains(got.Text, "Content-Encoding") {
			t.Errorf("with the encoding %q it is answered %d %s", encoding, got.Status, got.Text)
		}
	}
	got := f.Do(httpstest.Request{Method: "PUT", Path: "/enrollments/pump-1", Token: f.DPSToken(), Body: "\x1f\x8b[[[[",
		Header: http.Header{"Content-Encoding": {"identity", "gzip"}}})
	if got.Status != 415 {
		t.Errorf("what is compressed is answered %d %s", got.Status, got.Text)
	}
	// What nobody asked for is read and left aside, while it is small.
	for size, want := range map[int]int{100: 200, 2000: 413} {
		got := f.Do(httpstest.Request{Method: "GET", Path: "/enrollments/pump-1", Token: f.DPSToken(),
			Body: strings.Repeat(" ", size)})
		if got.Status != want {
			t.Errorf("%d bytes with a GET are answered %d %s", size, got.Status, got.Text)
		}
	}
	broken := httptest.NewRequest("PUT", "https://dps.local/enrollments/pump-1?api-version=2021-10-01",
		io.MultiReader(strings.NewReader("{"), brokenReader{}))
	broken.Header.Set("Authorization", f.DPSToken())
	answer := httptest.NewRecorder()
	f.Handler.ServeHTTP(answer, broken)
	if answer.Code != 400 || !strings.Contains(answer.Body.String(), "did not arrive whole") {
		t.Errorf("a body that breaks off is answered %d %s", answer.Code, answer.Body)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// An ETag is the same whether it is called weak or not.
func TestWeakETags(t *testing.T) {
	f := newDoor(t)
	for match, want := range map[string]int{`"1"`: 204, `W/"1"`: 204, `"2"`: 412, `W/"2"`: 412} {
		got := f.Do(httpstest.Request{Method: "DELETE", Path: "/enrollments/pump-1", Token: f.DPSToken(),
			Header: http.Header{"If-Match": {match}}})
		if got.Status != want {
			t.Errorf("If-Match %s is answered %d %s", match, got.Status, got.Text)
		}
	}
}

// Azure's addresses take the form of an api-version; Berth's own have none.
func TestAPIVersions(t *testing.T) {
	f := newDoor(t)
	for _, c := range []struct {
		url    string
		status int
	}{
		{"https://dps.local/enrollments/pump-1?api-version=2021-10-01", 200},
		{"https://dps.local/enrollments/pump-1?api-version=2025-08-01-preview", 200},
		{"https://dps.local/enrollments/pump-1?api-version=latest", 400},
		{"https://dps.local/enrollments/pump-1", 400},
		{"https://dps.local/berth/page", 200},
	} {
		asked := httptest.NewRequest("GET", c.url, nil)
		asked.Header.Set("Authorization", f.DPSToken())
		answer := httptest.NewRecorder()
		f.Handler.ServeHTTP(answer, asked)
		if answer.Code != c.status {
			t.Errorf("%s is answered %d %s, want %d", c.url, answer.Code, answer.Body, c.status)
		}
	}
}

// Who asks must have the right of the operation, and what a policy may not change is in the
// audit.
func TestAuthorization(t *testing.T) {
	f := newDoor(t)
	if _, err := f.Config.Provisioning.Access().Create(t.Context(), "reader",
		[]string{provisioning.EnrollmentRead}); err != nil {
		t.Fatal(err)
	}
	soon := time.Now().Add(time.Hour)
	reader := f.Token("dps.local", "reader", soon)
	expired := f.Token("dps.local", "provisioningserviceowner", time.Now().Add(-time.Hour))
	for _, c := range []struct {
		name, method, path, token string
		status                    int
	}{
		{"an operation that asks nobody", "GET", "/berth/open", "", 200},
		{"no token", "GET", "/enrollments/pump-1", "", 401},
		{"no token at all", "GET", "/enrollments/pump-1", "hello", 401},
		{"an expired token", "GET", "/enrollments/pump-1", expired, 401},
		{"a reader who reads", "GET", "/enrollments/pump-1", reader, 200},
		{"a reader who writes", "DELETE", "/enrollments/pump-1", reader, 401},
		{"the other service's token", "GET", "/devices/d1", f.Token("hub.local", "service", soon), 401},
		{"the hub's owner", "GET", "/devices/d1", f.HubToken(), 200},
	} {
		got := f.Do(httpstest.Request{Method: c.method, Path: c.path, Token: c.token})
		if got.Status != c.status {
			t.Errorf("%s is answered %d %s, want %d", c.name, got.Status, got.Text, c.status)
		}
		if asked := got.Header.Get("WWW-Authenticate"); (asked == "SharedAccessSignature") != (c.status == 401) {
			t.Errorf("%s is answered with WWW-Authenticate %q", c.name, asked)
		}
	}
	entries, _, err := f.Config.Audit.Entries(t.Context(), audit.Filter{Kind: audit.Enrollment})
	if err != nil || len(entries) != 1 || entries[0].ID != "pump-1" || entries[0].Actor != "policy reader" {
		t.Errorf("the audit has %+v, error %v", entries, err)
	}
}

// What an operation changes is told by its right, and the kind by its path.
func TestChanges(t *testing.T) {
	for _, c := range []struct {
		operation https.Operation
		kind      audit.Kind
		changes   bool
	}{
		{dps("PUT", "/enrollments/{id}", provisioning.EnrollmentWrite, 0, nil), audit.Enrollment, true},
		{dps("GET", "/enrollments/{id}", provisioning.EnrollmentRead, 0, nil), "", false},
		{dps("GET", "/berth/provisioning/policies", provisioning.ServiceConfig, 0, nil), audit.AccessPolicy, false},
		{dps("DELETE", "/registrations/{id}", provisioning.RegistrationStatusWrite, 0, nil), audit.Registration, true},
		{dps("POST", "/berth/elsewhere", provisioning.ServiceConfig, 0, nil), "", false},
	} {
		if kind, changes := c.operation.Changes(); changes != c.changes || changes && kind != c.kind {
			t.Errorf("%s %s changes %q, %v", c.operation.Method, c.operation.Path, kind, changes)
		}
	}
}

// A refusal is rendered as the service does that answers.
func TestRefusals(t *testing.T) {
	f := newDoor(t)
	for _, c := range []struct {
		path, token string
		status      int
		header      map[string]string
		says        string
	}{
		{"/berth/wait", f.DPSToken(), 429, map[string]string{"Retry-After": "7", "X-Ms-Error-Code": "429001"},
			"Come back later"},
		{"/berth/fails", f.DPSToken(), 500, map[string]string{"X-Ms-Error-Code": "500001"}, `"errorCode":500001`},
		{"/berth/unencodable", f.DPSToken(), 500, map[string]string{"X-Ms-Error-Code": "500001"}, `"errorCode"`},
		{"/berth/challenge", "", 401, map[string]string{"X-Ms-Error-Code": "401002",
			"WWW-Authenticate": "SharedAccessSignature"}, `"authenticationKey":"c2VhbGVk"`},
		{"/nowhere", f.HubToken(), 404, map[string]string{"Iothub-Errorcode": fault.NotFound.Name()},
			`"ExceptionMessage"`},
	} {
		got := f.Do(httpstest.Request{Method: "GET", Path: c.path, Token: c.token})
		if got.Status != c.status || !strings.Contains(got.Text, c.says) {
			t.Errorf("%s is answered %d %s, want %d %s", c.path, got.Status, got.Text, c.status, c.says)
		}
		for name, want := range c.header {
			if value := got.Header.Get(name); value != want {
				t.Errorf("%s is answered with %s %q, want %q", c.path, name, value, want)
			}
		}
		if got.Header.Get("X-Ms-Request-Id") == "" || !json.Valid([]byte(got.Text)) {
			t.Errorf("%s is answered %v %s", c.path, got.Header, got.Text)
		}
	}
}

// A connection that is to be dropped, and a stream that breaks off, end without what a
// client could take for an answer.
func TestAbortedAnswers(t *testing.T) {
	f := newDoor(t)
	for path, sent := range map[string]string{"/berth/dropped": "", "/berth/broken": "half of"} {
		asked := httptest.NewRequest("GET", "https://dps.local"+path, nil)
		asked.Header.Set("Authorization", f.DPSToken())
		answer := httptest.NewRecorder()
		func() {
			defer func() {
				if cause := recover(); cause != http.ErrAbortHandler {
					t.Errorf("%s ends with %v", path, cause)
				}
			}()
			f.Handler.ServeHTTP(answer, asked)
		}()
		if answer.Body.String() != sent {
			t.Errorf("%s is answered %s", path, answer.Body)
		}
	}
}

// A parameter that is a number has a smallest and a largest value.
func TestNumbers(t *testing.T) {
	f := newDoor(t)
	for text, want := range map[string]string{"": "100", "7": "7", "1000": "1000", "1001": "1000"} {
		got := f.Do(httpstest.Request{Method: "GET", Path: "/berth/page?top=" + text, Token: f.DPSToken()})
		if got.Text != want {
			t.Errorf("top=%s is answered %s", text, got.Text)
		}
	}
	for _, text := range []string{"0", "-1", "ten", "1e3", "99999999999999999999"} {
		got := f.Do(httpstest.Request{Method: "GET", Path: "/berth/page?top=" + text, Token: f.DPSToken()})
		if got.Status != 400 || !strings.Contains(got.Text, "a whole number from 1") {
			t.Errorf("top=%s is answered %d %s", text, got.Status, got.Text)
		}
	}
}

// TestFlags takes true and false, and refuses what could mean either.
func TestFlags(t *testing.T) {
	f := newDoor(t)
	for query, want := range map[string]string{"": "false", "on=true": "true", "on=True": "true", "on=1": "true",
		"on=false": "false", "on=0": "false"} {
		got := f.Do(httpstest.Request{Method: "GET", Path: "/berth/flag?" + query, Token: f.DPSToken()})
		if got.Text != want {
			t.Errorf("%s is answered %s", query, got.Text)
		}
	}
	for _, query := range []string{"on", "on=", "on=yes", "on=2"} {
		got := f.Do(httpstest.Request{Method: "GET", Path: "/berth/flag?" + query, Token: f.DPSToken()})
		if got.Status != 400 || !strings.Contains(got.Text, "on must be true or false, not") {
			t.Errorf("%s is answered %d %s", query, got.Status, got.Text)
		}
	}
}

// TestUnreadableParameters refuses an address of which package url would leave out a part, at
// every operation.
func TestUnreadableParameters(t *testing.T) {
	f := newDoor(t)
	for _, query := range []string{"top=%zz", "top=1;x=2", "prefix=%", "%zz", "a=1&b=%2"} {
		for _, c := range []struct{ path, token string }{
			{"/berth/page", f.DPSToken()}, {"/berth/open", ""}, {"/enrollments/pump-1", f.DPSToken()},
			{"/devices/pump-1", f.HubToken()},
		} {
			got := f.Do(httpstest.Request{Method: "GET", Path: c.path + "?" + query, Token: c.token})
			if got.Status != 400 || !strings.Contains(got.Text, "parameters in the address can't be read") {
				t.Errorf("%s?%s is answered %d %s", c.path, query, got.Status, got.Text)
			}
		}
	}
	got := f.Do(httpstest.Request{Method: "GET", Path: "/berth/page?top=%37&x=%3B", Token: f.DPSToken()})
	if got.Text != "7" {
		t.Errorf("what is encoded is answered %d %s", got.Status, got.Text)
	}
}

// What one of Berth's own operations does not go by is refused, rather than left aside and
// taken for done.
func TestUnknownConditions(t *testing.T) {
	f := newDoor(t)
	for _, c := range []struct {
		request, ifMatch string
		status           int
		says             string
	}{
		{"GET /berth/page?top=3", "", 200, "3"},
		{"GET /berth/page?top=3&prefix=a", "", 400,
			`parameter \"prefix\", which this operation does not have. It has top, x`},
		{"GET /berth/page?Top=3", "", 400, `parameter \"Top\"`},
		{"DELETE /berth/thing?force=true", "", 400, `parameter \"force\", and this operation has none`},
		{"DELETE /berth/thing", `"bad"`, 412, "no ETag"},
		{"DELETE /berth/thing", `W/"bad"`, 412, "no ETag"},
		{"DELETE /berth/thing", "*", 204, ""},
		{"GET /berth/page?top=3", `"bad"`, 200, "3"},
		{"GET /enrollments/pump-1?force=true", "", 200, "pump-1"},
	} {
		method, path, _ := strings.Cut(c.request, " ")
		r := httpstest.Request{Method: method, Path: path, Token: f.DPSToken(), Header: http.Header{}}
		if c.ifMatch != "" {
			r.Header.Set("If-Match", c.ifMatch)
		}
		if got := f.Do(r); got.Status != c.status || !strings.Contains(got.Text, c.says) {
			t.Errorf("%s under %q is answered %d %s, want %d with %q", c.request, c.ifMatch, got.Status, got.Text,
				c.status, c.says)
		}
	}
}
