package rest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/berth-iot/berth/endpoint/https/httpstest"
)

// A body is text in UTF-8, or it is refused with what to do; it is never changed.
func TestBodiesThatAreNoText(t *testing.T) {
	h := newFixture(t)
	token := h.HubToken()
	h.Do(httpstest.Request{Method: "PUT", Path: "/devices/d", Token: token, Body: `{"deviceId":"d"}`})
	latin := "{\"tags\":{\"city\":\"K\xf6ln\"}}"
	utf8 := `{"tags":{"city":"Köln"}}`
	utf16 := "\xff\xfe{\x00}\x00"
	for _, c := range []struct {
		name, contentType, body string
		status                  int
		says                    string
	}{
		{"UTF-8", "application/json; charset=utf-8", utf8, 200, "Köln"},
		{"UTF-8 in quotation marks", `application/json;charset="UTF-8"`, utf8, 200, "Köln"},
		{"UTF-8 that says nothing", "application/json", utf8, 200, "Köln"},
		{"no type", "", utf8, 200, "Köln"},
		{"a byte order mark", "application/json", "\uFEFF" + utf8, 200, "Köln"},
		{"ASCII", "application/json; charset=us-ascii", `{"tags":{"city":"K\u00f6ln"}}`, 200, "ln"},
		{"Latin-1 that says so", "application/json; charset=iso-8859-1", latin, 415, `iso-8859-1\". Send it in UTF-8`},
		{"Latin-1 by name alone", "application/json; charset=iso-8859-1", `{"tags":{"city":"Koeln"}}`, 415, "UTF-8"},
		{"UTF-16 that says so", "application/json; charset=utf-16", utf16, 415, "UTF-8"},
		{"Latin-1", "application/json; charset=utf-8", latin, 400, "byte 19 is not UTF-8"},
		{"Latin-1 that says nothing", "", latin, 400, "byte 19 is not UTF-8"},
		{"UTF-16", "application/json", utf16, 400, "byte 1 is not UTF-8"},
		{"half a character", "application/json", `{"tags":{"city":"\ud800"}}`, 400, `\\ud800`},
		{"half a character in a name", "application/json", `{"tags":{"\udc00":1}}`, 400, "half a character"},
		{"halves in the wrong order", "application/json", `{"tags":{"a":"\ude00\ud83d"}}`, 400, "half a character"},
	} {
		t.Run(c.name, func(t *testing.T) {
			header := http.Header{}
			if c.contentType != "" {
				header.Set("Content-Type", c.contentType)
			}
			if got := h.Do(httpstest.Request{Method: "PATCH", Path: "/twins/d", Token: token, Body: c.body,
				Header: header}); got.Status != c.status ||
				!strings.Contains(got.Text, c.says) {
				t.Errorf("a twin is answered %d %s, want %d and %q", got.Status, got.Text, c.status, c.says)
			}
			if c.status == 200 {
				return
			}
			for _, r := range []httpstest.Request{
				{Method: "PUT", Path: "/enrollments/e", Token: h.DPSToken(),
					Body: `{"attestation":{"type":"symmetricKey"},"initialTwin":` + c.body + `}`},
				{Method: "PUT", Path: "/enrollmentGroups/e", Token: h.DPSToken(),
					Body: `{"attestation":{"type":"symmetricKey"},"initialTwin":` + c.body + `}`},
				{Method: "POST", Path: "/enrollments", Token: h.DPSToken(),
					Body: `{"mode":"create","enrollments":[{"registrationId":"e","initialTwin":` + c.body + `}]}`},
				{Method: "PUT", Path: "/devices/e", Token: token, Body: `{"statusReason":` + c.body + `}`},
				{Method: "POST", Path: "/devices", Token: token, Body: `[{"id":"e","tags":` + c.body + `}]`},
				{Method: "PUT", Path: "/" + httpstest.Scope + "/registrations/e/register",
					Body: `{"payload":` + c.body + `}`},
			} {
				r.Header = header
				if got := h.Do(r); got.Status != c.status {
					t.Errorf("%s %s is answered %d %s", r.Method, r.Path, got.Status, got.Text)
				}
			}
		})
	}
}
