package rest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/berth-iot/berth/endpoint/https/httpstest"
)

// What is sent is used or refused, and never left aside with 200.
func TestUnknownMembers(t *testing.T) {
	h := newFixture(t)
	token := h.HubToken()
	for _, id := range []string{"gateway", "other"} {
		h.Do(httpstest.Request{Method: "PUT", Path: "/devices/" + id, Token: token,
			Body: `{"deviceId":"` + id + `","capabilities":{"iotEdge":true}}`})
	}
	scopeOf := func(id string) string {
		got, _ := h.Do(httpstest.Request{Method: "GET", Path: "/devices/" + id,
			Token: token}).Fields["deviceScope"].(string)
		return got
	}
	gateway, other := scopeOf("gateway"), scopeOf("other")
	if got := h.Do(httpstest.Request{Method: "PUT", Path: "/devices/d", Token: token,
		Body: `{"deviceScope":"` + gateway + `"}`}); got.Status != 200 {
		t.Fatalf("a child is answered %d %s", got.Status, got.Text)
	}
	update := http.Header{"If-Match": {"*"}}
	bulk := func(members string) httpstest.Request {
		return httpstest.Request{Method: "POST", Path: "/devices", Body: `[{"id":"b1","importMode":"updateTwin",` +
			members + `}]`}
	}
	for _, c := range []struct {
		name string
		httpstest.Request
		status int
		text   string
	}{
		{"desired null", httpstest.Request{Method: "PATCH", Path: "/twins/d",
			Body: `{"properties":{"desired":null}}`}, 400, "properties.desired is null"},
		{"properties null", httpstest.Request{Method: "PATCH", Path: "/twins/d", Body: `{"properties":null}`}, 400,
			"properties is null"},
		{"tags null", httpstest.Request{Method: "PATCH", Path: "/twins/d", Body: `{"tags":null}`}, 400, "tags is null"},
		{"tags that are a list", httpstest.Request{Method: "PATCH", Path: "/twins/d", Body: `{"tags":[]}`}, 400,
			"tags must be a JSON object"},
		{"properties that are a list", httpstest.Request{Method: "PATCH", Path: "/twins/d",
			Body: `{"properties":[1]}`}, 400, "properties must be a JSON object"},
		{"desired beside tags", httpstest.Request{Method: "PATCH", Path: "/twins/d", Body: `{"desired":{"a":1}}`},
			400, "belong into properties"},
		{"replacing by null", httpstest.Request{Method: "PUT", Path: "/twins/d",
			Body: `{"tags":null,"properties":{"desired":null}}`}, 200, `"tags":{}`},
		{"what SDKs send back", httpstest.Request{Method: "PATCH", Path: "/twins/d",
			Body: `{"deviceId":"d","etag":"x","version":7,"status":"enabled","properties":{"reported":{"a":1}}}`},
			200, `"reported":{"$metadata"`},
		{"two parents", httpstest.Request{Method: "PUT", Path: "/devices/d", Header: update,
			Body: `{"deviceScope":"` + gateway + `","parentScopes":["` + other + `"]}`}, 400,
			"A device has one parent"},
		{"two parents of a new device", httpstest.Request{Method: "PUT", Path: "/devices/e",
			Body: `{"deviceScope":"` + gateway + `","parentScopes":["` + other + `"]}`}, 400,
			"A device has one parent"},
		{"the same parent twice", httpstest.Request{Method: "PUT", Path: "/devices/d", Header: update,
			Body: `{"deviceScope":"` + other + `","parentScopes":["` + other + `"]}`}, 200, other},
		{"another deviceScope, and parentScopes as they were read", httpstest.Request{Method: "PUT",
			Path: "/devices/d", Header: update,
			Body: `{"deviceScope":"` + gateway + `","parentScopes":["` + other + `"]}`},
			200, `"deviceScope":"` + gateway + `","parentScopes":["` + gateway + `"]`},
		{"no deviceScope, and parentScopes as they were read", httpstest.Request{Method: "PUT", Path: "/devices/d",
			Header: update,
			Body:   `{"deviceScope":"","parentScopes":["` + gateway + `"]}`},
			200, `"capabilities":{"iotEdge":false}}`},
		{"a parent in bulk", httpstest.Request{Method: "POST", Path: "/devices",
			Body: `[{"id":"d","importMode":"update","deviceScope":"` + other + `","parentScopes":[]}]`},
			200, `"isSuccessful":true`},
		{"and it is there", httpstest.Request{Method: "GET", Path: "/devices/d"}, 200,
			`"parentScopes":["` + other + `"]`},
		{"none in bulk", httpstest.Request{Method: "POST", Path: "/devices",
			Body: `[{"id":"d","importMode":"update","deviceScope":"","parentScopes":["` + other + `"]}]`},
			200, `"isSuccessful":true`},
		{"and it is gone", httpstest.Request{Method: "GET", Path: "/devices/d"}, 200,
			`"capabilities":{"iotEdge":false}}`},
		{"what is said of the parent is null", httpstest.Request{Method: "PUT", Path: "/devices/d", Header: update,
			Body: `{"deviceScope":null,"parentScopes":["` + gateway + `"]}`},
			200, `"parentScopes":["` + gateway + `"]`},
		{"an edge device whose parent is taken away", httpstest.Request{Method: "PUT", Path: "/devices/gateway",
			Header: update,
			Body:   `{"capabilities":{"iotEdge":true},"deviceScope":"` + gateway + `","parentScopes":[]}`},
			200, `"deviceScope":"` + gateway + `"}`},
		{"an edge device with another scope", httpstest.Request{Method: "PUT", Path: "/devices/gateway",
			Header: update, Body: `{"capabilities":{"iotEdge":true},"deviceScope":"` + other + `"}`}, 400,
			"gives an IoT Edge device its own"},
		{"a new edge device with a scope", httpstest.Request{Method: "PUT", Path: "/devices/e",
			Body: `{"capabilities":{"iotEdge":true},"deviceScope":"` + other + `"}`}, 400, "parentScopes"},
		{"an edge device as it was read", httpstest.Request{Method: "PUT", Path: "/devices/gateway", Header: update,
			Body: `{"capabilities":{"iotEdge":true},"deviceScope":"` + gateway + `","parentScopes":["` + other + `"]}`},
			200, `"parentScopes":["` + other + `"]`},
		{"a child that becomes an edge device", httpstest.Request{Method: "PUT", Path: "/devices/d", Header: update,
			Body: `{"capabilities":{"iotEdge":true},"deviceScope":"` + other + `","parentScopes":["` + other + `"]}`},
			200, `"deviceScope":"ms-azure-iot-edge://d-`},
		{"an edge device that becomes none", httpstest.Request{Method: "PUT", Path: "/devices/other", Header: update,
			Body: `{"capabilities":{"iotEdge":false},"deviceScope":"` + other + `"}`}, 200, `"deviceId":"other"`},
		{"a device with tags", httpstest.Request{Method: "PUT", Path: "/devices/e", Body: `{"tags":{"a":1}}`}, 400,
			"PATCH /twins/e"},
		{"a device with an empty twin", httpstest.Request{Method: "PUT", Path: "/devices/e",
			Body: `{"tags":{},"properties":{"desired":{"$version":1}}}`}, 200, `"deviceId":"e"`},
		{"bulk with a twin", httpstest.Request{Method: "POST", Path: "/devices",
			Body: `[{"id":"b1","importMode":"create","tags":{"z":1.0,"a":2},"properties":{"desired":{"k":1}}}]`}, 200,
			`"isSuccessful":true`},
		{"and it is there", httpstest.Request{Method: "GET", Path: "/twins/b1"}, 200,
			`"tags":{"z":1.0,"a":2},"properties":{"desired":{"k":1,"$metadata"`},
		{"bulk that creates or updates", httpstest.Request{Method: "POST", Path: "/devices",
			Body: `[{"id":"b2","tags":{"a":1}},{"id":"b1","tags":{"a":1}}]`}, 400,
			`"errors":[{"deviceId":"b1","errorCode":"ArgumentInvalid","errorStatus":"The device has tags`},
		{"bulk with a twin that can't be", httpstest.Request{Method: "POST", Path: "/devices",
			Body: `[{"id":"b3","importMode":"create","tags":{"a":1e400}}]`}, 400, "out of range"},
		{"bulk with what is the device's", httpstest.Request{Method: "POST", Path: "/devices",
			Body: `[{"id":"b3","importMode":"create","properties":{"reported":{"a":1}}}]`}, 400,
			"for the device to write"},
		{"bulk that changes a twin", bulk(`"tags":{"b":1},"properties":{"desired":{"k":2}}`), 200,
			`"isSuccessful":true`},
		{"with what an SDK sends of a device", bulk(`"status":"enabled","authentication":{"type":"sas"},` +
			`"properties":{"desired":{"k":3,"$version":1},"reported":{"$metadata":{},"$version":1}}`), 200,
			`"isSuccessful":true`},
		{"and it is changed", httpstest.Request{Method: "GET", Path: "/twins/b1"}, 200,
			`"tags":{"z":1.0,"a":2,"b":1},"properties":{"desired":{"k":3,"$metadata"`},
		{"with tags that are null", bulk(`"tags":null`), 400, "tags is null"},
		{"with properties that are null", bulk(`"properties":null`), 400, "properties is null"},
		{"with desired that is null", bulk(`"properties":{"desired":null}`), 400, "properties.desired is null"},
		{"with desired beside tags", bulk(`"desired":{"k":4}`), 400, "belong into properties"},
		{"with tags that are a list", bulk(`"tags":[]`), 400, "tags must be a JSON object"},
		{"with what the device reported once", bulk(`"properties":{"reported":{"a":1}}`), 200, `"isSuccessful":true`},
		{"with a status", bulk(`"status":"Disabled"`), 400, "Disable it with importMode update"},
		{"of a device that is not there", httpstest.Request{Method: "POST", Path: "/devices",
			Body: `[{"id":"nobody","importMode":"updateTwin","status":"disabled"}]`}, 400, "DeviceNotFound"},
		{"and nothing of all that is done", httpstest.Request{Method: "GET", Path: "/twins/b1"}, 200,
			`"tags":{"z":1.0,"a":2,"b":1},"properties":{"desired":{"k":3,"$metadata"`},
		{"bulk with a module", httpstest.Request{Method: "POST", Path: "/devices",
			Body: `[{"id":"b1","moduleId":"m","importMode":"delete"}]`}, 400, "ModuleNotFound"},
		{"bulk that deletes what was exported", httpstest.Request{Method: "POST", Path: "/devices",
			Body: `[{"id":"b1","importMode":"delete","tags":{"z":1.0}}]`}, 200, `"isSuccessful":true`},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.Token = token
			if got := h.Do(c.Request); got.Status != c.status || !strings.Contains(got.Text, c.text) {
				t.Errorf("answered %d %s, want %d with %q", got.Status, got.Text, c.status, c.text)
			}
		})
	}
}

// An initial twin has its properties where they are looked for, or is refused: each by
// itself.
func TestInitialTwinsAreInTheirPlace(t *testing.T) {
	h := newFixture(t)
	token := h.DPSToken()
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
			{`{"tags":{"a":1},"desired":{"$version":1},"reported":null,"properties":{"desired":{"b":2},"reported":{}}}`,
				200, `"initialTwin":{"tags":{"a":1},"properties":{"desired":{"b":2}}}`},
			{`null`, 200, `"attestation"`},
		} {
			body := "{" + attested + `,"initialTwin":` + c.twin + "}"
			got := h.Do(httpstest.Request{Method: "PUT", Path: path, Token: token, Body: body, Header: update})
			if c.status == 200 && got.Status == 412 { // the first one creates
				got = h.Do(httpstest.Request{Method: "PUT", Path: path, Token: token, Body: body})
			}
			if got.Status != c.status || !strings.Contains(got.Text, c.says) {
				t.Errorf("%s with %s is answered %d %s", path, c.twin, got.Status, got.Text)
			}
		}
	}
	got := h.Do(httpstest.Request{Method: "POST", Path: "/enrollments", Token: token,
		Body: `{"mode":"create","enrollments":[{"registrationId":"e1",` + attested +
			`,"initialTwin":{"desired":{"a":1}}},{"registrationId":"e2",` + attested + `}]}`})
	if got.Status != 200 || !strings.Contains(got.Text, `"errors":[{"registrationId":"e1","errorCode":400004`) {
		t.Errorf("several are answered %d %s", got.Status, got.Text)
	}
	if got := h.Do(httpstest.Request{Method: "GET", Path: "/enrollments/e2", Token: token}); got.Status != 200 {
		t.Errorf("the one after it is answered %d", got.Status)
	}
}

// TestEmptyHubs refuses hubs that are null or empty, of which none could take a device, and
// addresses that none can call.
func TestEmptyHubs(t *testing.T) {
	h := newFixture(t)
	token := h.DPSToken()
	const attested = `"attestation":{"type":"symmetricKey"},`
	for _, c := range []struct{ settings, says string }{
		{`"iotHubs":[null]`, "iotHubs has an entry that is empty"},
		{`"iotHubs":[""]`, "iotHubs has an entry that is empty"},
		{`"iotHubs":["hub.local",null]`, "iotHubs has an entry that is empty"},
		{`"allocationPolicy":"custom","customAllocationDefinition":{"webhookUrl":"https://x.example:99999/"}`,
			"has the port 99999"},
	} {
		for _, path := range []string{"/enrollments/d", "/enrollmentGroups/d"} {
			got := h.Do(httpstest.Request{Method: "PUT", Path: path, Token: token,
				Body: "{" + attested + c.settings + "}"})
			if got.Status != 400 || !strings.Contains(got.Text, c.says) {
				t.Errorf("%s with %s is answered %d %s", path, c.settings, got.Status, got.Text)
			}
		}
		got := h.Do(httpstest.Request{Method: "POST", Path: "/enrollments", Token: token,
			Body: `{"mode":"create","enrollments":[{"registrationId":"d",` + attested + c.settings + `}]}`})
		if !strings.Contains(got.Text, `"isSuccessful":false`) || !strings.Contains(got.Text, c.says) {
			t.Errorf("several with %s are answered %d %s", c.settings, got.Status, got.Text)
		}
	}
}

// TestReadOnlyMembers: what only the service writes is left aside, whatever is in its place;
// what else does not fit is named.
func TestReadOnlyMembers(t *testing.T) {
	h := newFixture(t)
	const attestation = `"attestation":{"type":"symmetricKey"}`
	update := http.Header{"If-Match": {"*"}}
	for _, aside := range []string{`"2026-01-01T00:00:00"`, `""`, `5`, `{"status":5}`, `{"lastUpdatedDateTimeUtc":"x"}`,
		`[]`, `null`, `"1999-01-01T00:00:00Z"`} {
		members := `"createdDateTimeUtc":` + aside + `,"LASTUPDATEDDATETIMEUTC":` + aside + `,"registrationState":` +
			aside
		for _, path := range []string{"/enrollments/e", "/enrollmentGroups/g"} {
			for _, header := range []http.Header{{}, update} {
				got := h.Do(httpstest.Request{Method: "PUT", Path: path, Token: h.DPSToken(), Header: header,
					Body: `{` + attestation + `,` + members + `}`})
				if got.Status != 200 || strings.Contains(got.Text, "1999") ||
					!strings.Contains(got.Text, "createdDateTimeUtc") {
					t.Errorf("%s with %s is answered %d %s", path, aside, got.Status, got.Text)
				}
			}
			h.Do(httpstest.Request{Method: "DELETE", Path: path, Token: h.DPSToken()})
		}
		got := h.Do(httpstest.Request{Method: "POST", Path: "/enrollments", Token: h.DPSToken(),
			Body: `{"mode":"create","enrollments":[{"registrationId":"e",` + attestation + `,` + members + `}]}`})
		if got.Status != 200 || !strings.Contains(got.Text, `"isSuccessful":true`) {
			t.Errorf("in bulk %s is answered %d %s", aside, got.Status, got.Text)
		}
		h.Do(httpstest.Request{Method: "DELETE", Path: "/enrollments/e", Token: h.DPSToken()})
	}
	got := h.Do(httpstest.Request{Method: "PUT", Path: "/enrollments/e", Token: h.DPSToken(),
		Body: `{"createdDateTimeUtc":5,"deviceId":5}`})
	if got.Status != 400 || !strings.Contains(got.Text, "deviceId must be a string, not a number") {
		t.Errorf("a device id that is a number is answered %d %s", got.Status, got.Text)
	}
}
