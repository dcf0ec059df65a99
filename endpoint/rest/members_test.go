package rest

import (
	"net/http"
	"strings"
	"testing"
)

// What is sent is used or refused, and never left aside with 200.
func TestNothingIsLeftAside(t *testing.T) {
	h := newHouse(t)
	token := h.hubToken()
	for _, id := range []string{"gateway", "other"} {
		h.do(request{method: "PUT", path: "/devices/" + id, token: token, body: `{"deviceId":"` + id + `","capabilities":{"iotEdge":true}}`})
	}
	scopeOf := func(id string) string {
		got, _ := h.do(request{method: "GET", path: "/devices/" + id, token: token}).fields["deviceScope"].(string)
		return got
	}
	gateway, other := scopeOf("gateway"), scopeOf("other")
	if got := h.do(request{method: "PUT", path: "/devices/d", token: token, body: `{"deviceScope":"` + gateway + `"}`}); got.status != 200 {
		t.Fatalf("a child is answered %d %s", got.status, got.text)
	}
	update := http.Header{"If-Match": {"*"}}
	for _, c := range []struct {
		name string
		request
		status int
		text   string
	}{
		{"desired null", request{method: "PATCH", path: "/twins/d", body: `{"properties":{"desired":null}}`}, 400, "properties.desired is null"},
		{"properties null", request{method: "PATCH", path: "/twins/d", body: `{"properties":null}`}, 400, "properties is null"},
		{"tags null", request{method: "PATCH", path: "/twins/d", body: `{"tags":null}`}, 400, "tags is null"},
		{"tags that are a list", request{method: "PATCH", path: "/twins/d", body: `{"tags":[]}`}, 400, "tags must be a JSON object"},
		{"properties that are a list", request{method: "PATCH", path: "/twins/d", body: `{"properties":[1]}`}, 400, "properties must be a JSON object"},
		{"desired beside tags", request{method: "PATCH", path: "/twins/d", body: `{"desired":{"a":1}}`}, 400, "belong into properties"},
		{"replacing by null", request{method: "PUT", path: "/twins/d", body: `{"tags":null,"properties":{"desired":null}}`}, 200, `"tags":{}`},
		{"what SDKs send back", request{method: "PATCH", path: "/twins/d", body: `{"deviceId":"d","etag":"x","version":7,"status":"enabled","properties":{"reported":{"a":1}}}`}, 200, `"reported":{"$metadata"`},
		{"two parents", request{method: "PUT", path: "/devices/d", header: update, body: `{"deviceScope":"` + gateway + `","parentScopes":["` + other + `"]}`}, 400, "A device has one parent"},
		{"two parents of a new device", request{method: "PUT", path: "/devices/e", body: `{"deviceScope":"` + gateway + `","parentScopes":["` + other + `"]}`}, 400, "A device has one parent"},
		{"the same parent twice", request{method: "PUT", path: "/devices/d", header: update, body: `{"deviceScope":"` + other + `","parentScopes":["` + other + `"]}`}, 200, other},
		{"another deviceScope, and parentScopes as they were read", request{method: "PUT", path: "/devices/d", header: update,
			body: `{"deviceScope":"` + gateway + `","parentScopes":["` + other + `"]}`},
			200, `"deviceScope":"` + gateway + `","parentScopes":["` + gateway + `"]`},
		{"no deviceScope, and parentScopes as they were read", request{method: "PUT", path: "/devices/d", header: update,
			body: `{"deviceScope":"","parentScopes":["` + gateway + `"]}`},
			200, `"capabilities":{"iotEdge":false}}`},
		{"a parent in bulk", request{method: "POST", path: "/devices",
			body: `[{"id":"d","importMode":"update","deviceScope":"` + other + `","parentScopes":[]}]`},
			200, `"isSuccessful":true`},
		{"and it is there", request{method: "GET", path: "/devices/d"}, 200, `"parentScopes":["` + other + `"]`},
		{"none in bulk", request{method: "POST", path: "/devices",
			body: `[{"id":"d","importMode":"update","deviceScope":"","parentScopes":["` + other + `"]}]`},
			200, `"isSuccessful":true`},
		{"and it is gone", request{method: "GET", path: "/devices/d"}, 200, `"capabilities":{"iotEdge":false}}`},
		{"what is said of the parent is null", request{method: "PUT", path: "/devices/d", header: update,
			body: `{"deviceScope":null,"parentScopes":["` + gateway + `"]}`},
			200, `"parentScopes":["` + gateway + `"]`},
		{"an edge device whose parent is taken away", request{method: "PUT", path: "/devices/gateway", header: update,
			body: `{"capabilities":{"iotEdge":true},"deviceScope":"` + gateway + `","parentScopes":[]}`},
			200, `"deviceScope":"` + gateway + `"}`},
		{"an edge device with another scope", request{method: "PUT", path: "/devices/gateway", header: update, body: `{"capabilities":{"iotEdge":true},"deviceScope":"` + other + `"}`}, 400, "gives an IoT Edge device its own"},
		{"a new edge device with a scope", request{method: "PUT", path: "/devices/e", body: `{"capabilities":{"iotEdge":true},"deviceScope":"` + other + `"}`}, 400, "parentScopes"},
		{"an edge device as it was read", request{method: "PUT", path: "/devices/gateway", header: update, body: `{"capabilities":{"iotEdge":true},"deviceScope":"` + gateway + `","parentScopes":["` + other + `"]}`}, 200, `"parentScopes":["` + other + `"]`},
		{"a child that becomes an edge device", request{method: "PUT", path: "/devices/d", header: update, body: `{"capabilities":{"iotEdge":true},"deviceScope":"` + other + `","parentScopes":["` + other + `"]}`}, 200, `"deviceScope":"ms-azure-iot-edge://d-`},
		{"an edge device that becomes none", request{method: "PUT", path: "/devices/other", header: update, body: `{"capabilities":{"iotEdge":false},"deviceScope":"` + other + `"}`}, 200, `"deviceId":"other"`},
		{"a device with tags", request{method: "PUT", path: "/devices/e", body: `{"tags":{"a":1}}`}, 400, "PATCH /twins/e"},
		{"a device with an empty twin", request{method: "PUT", path: "/devices/e", body: `{"tags":{},"properties":{"desired":{"$version":1}}}`}, 200, `"deviceId":"e"`},
		{"bulk with a twin", request{method: "POST", path: "/devices", body: `[{"id":"b1","importMode":"create","tags":{"z":1.0,"a":2},"properties":{"desired":{"k":1}}}]`}, 200, `"isSuccessful":true`},
		{"and it is there", request{method: "GET", path: "/twins/b1"}, 200, `"tags":{"z":1.0,"a":2},"properties":{"desired":{"k":1,"$metadata"`},
		{"bulk that creates or updates", request{method: "POST", path: "/devices", body: `[{"id":"b2","tags":{"a":1}},{"id":"b1","tags":{"a":1}}]`}, 400, `"errors":[{"deviceId":"b1","errorCode":"ArgumentInvalid","errorStatus":"The device has tags`},
		{"bulk with a twin that can't be", request{method: "POST", path: "/devices", body: `[{"id":"b3","importMode":"create","tags":{"a":1e400}}]`}, 400, "out of range"},
		{"bulk with what is the device's", request{method: "POST", path: "/devices", body: `[{"id":"b3","importMode":"create","properties":{"reported":{"a":1}}}]`}, 400, "for the device to write"},
		{"bulk with a module", request{method: "POST", path: "/devices", body: `[{"id":"b1","moduleId":"m","importMode":"delete"}]`}, 400, "modules are not served"},
		{"bulk that deletes what was exported", request{method: "POST", path: "/devices", body: `[{"id":"b1","importMode":"delete","tags":{"z":1.0}}]`}, 200, `"isSuccessful":true`},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.token = token
			if got := h.do(c.request); got.status != c.status || !strings.Contains(got.text, c.text) {
				t.Errorf("answered %d %s, want %d with %q", got.status, got.text, c.status, c.text)
			}
		})
	}
}

// An initial twin has its properties where they are looked for, or is refused: each by
// itself.
func TestInitialTwinsAreInTheirPlace(t *testing.T) {
	h := newHouse(t)
	token := h.dpsToken()
	const attested = `"attestation":{"type":"symmetricKey"}`
	update := http.Header{"If-Match": {"*"}}
	for _, path := range []string{"/enrollments/d", "/enrollmentGroups/d"} {
		for _, c := range []struct {
			twin   string
			status int
			says   string
		}{
			{`{"desired":{"a":1}}`, 400, "has desired beside tags"},
			{`{"tags":{},"Reported":{"a":1}}`, 400, "has reported beside tags"},
			{`{"properties":{"reported":{"a":1}}}`, 400, "for the device to write"},
			{`{"desired":[1]}`, 400, "has desired beside tags"},
			{`{"tags":{"a":1},"desired":{"$version":1},"reported":null,"properties":{"desired":{"b":2},"reported":{}}}`, 200,
				`"initialTwin":{"tags":{"a":1},"properties":{"desired":{"b":2}}}`},
			{`null`, 200, `"attestation"`},
		} {
			body := "{" + attested + `,"initialTwin":` + c.twin + "}"
			got := h.do(request{method: "PUT", path: path, token: token, body: body, header: update})
			if c.status == 200 && got.status == 412 { // the first one creates
				got = h.do(request{method: "PUT", path: path, token: token, body: body})
			}
			if got.status != c.status || !strings.Contains(got.text, c.says) {
				t.Errorf("%s with %s is answered %d %s", path, c.twin, got.status, got.text)
			}
		}
	}
	got := h.do(request{method: "POST", path: "/enrollments", token: token,
		body: `{"mode":"create","enrollments":[{"registrationId":"e1",` + attested +
			`,"initialTwin":{"desired":{"a":1}}},{"registrationId":"e2",` + attested + `}]}`})
	if got.status != 200 || !strings.Contains(got.text, `"errors":[{"registrationId":"e1","errorCode":400004`) {
		t.Errorf("several are answered %d %s", got.status, got.text)
	}
	if got := h.do(request{method: "GET", path: "/enrollments/e2", token: token}); got.status != 200 {
		t.Errorf("the one after it is answered %d", got.status)
	}
}
