package rest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/berth-iot/berth/endpoint/https/httpstest"
	"github.com/berth-iot/berth/hub/identity"
)

// TestModuleIdentities sends the requests that az iot hub module-identity and the SDKs send,
// and reads what they read.
func TestModuleIdentities(t *testing.T) {
	h := newFixture(t)
	if _, err := h.Config.Hubs.All()[0].CreateDevice(t.Context(), identity.Device{DeviceID: "d"}); err != nil {
		t.Fatal(err)
	}
	const sas = `"authentication":{"type":"sas","symmetricKey":{"primaryKey":"MDEyMzQ1Njc4OWFiY2RlZg==",` +
		`"secondaryKey":"ZmVkY2JhOTg3NjU0MzIxMA=="}}`
	const thumbprint = "A909502DD82AE41433E6F83886B00D4277A32A7B"
	var etag string
	for _, c := range []struct {
		method, path, ifMatch, body string
		status                      int
		want                        string // in the answer
	}{
		{"PUT", "/devices/d/modules/m", "", `{"deviceId":"d","moduleId":"m","managedBy":"",` + sas + `}`, 200,
			`"managedBy":null`},
		{"PUT", "/devices/d/modules/m", "", `{"deviceId":"d","moduleId":"m"}`, 409, `{"errorCode":409301,"trackingId":`},
		{"GET", "/devices/d/modules/m", "", "", 200, "MDEyMzQ1Njc4OWFiY2RlZg=="},
		{"GET", "/devices/d/modules", "", "", 200, `"cloudToDeviceMessageCount":0`},
		{"PUT", "/devices/d/modules/m", `"{etag}"`, `{"moduleId":"m","managedBy":"me","authentication":{"type":` +
			`"selfSigned","x509Thumbprint":{"primaryThumbprint":"` + thumbprint + `","secondaryThumbprint":null}}}`, 200,
			thumbprint},
		{"PUT", "/devices/d/modules/m", `"{stale}"`, `{}`, 412, "its ETag is"},
		{"PUT", "/devices/d/modules/m", `"*"`, `{"authentication":{"type":"none"}}`, 200, `"type":"sas"`},
		{"PUT", "/devices/d/modules/m", "*", `{"moduleId":"other"}`, 400, "The body names the module"},
		{"PUT", "/devices/d/modules/$edgeHub", "", `{}`, 400, "begins with $"},
		{"PUT", "/devices/none/modules/m", "", `{}`, 404, "There is no device"},
		{"PUT", "/devices/d/modules/none", `"*"`, `{}`, 404, "has no module"},
		{"GET", "/devices/d%2Fm", "", "", 400, "has the character '/'"},
		{"GET", "/twins/d%2Fm", "", "", 400, "has the character '/'"},
		{"GET", "/twins/d/modules/m", "", "", 200, `"moduleId":"m"`},
		{"PATCH", "/twins/d/modules/m", `"*"`, `{"tags":{"a":1},"properties":{"desired":{"interval":5}}}`, 200,
			`"interval":5`},
		{"PUT", "/twins/d/modules/m", "", `{"properties":{"desired":{"mode":"slow"}}}`, 200, `"tags":{}`},
		{"GET", "/twins/d/modules/none", "", "", 404, "has no module"},
		{"POST", "/devices", "", `[{"id":"d","moduleId":"bulk","importMode":"create","managedBy":"me",` + sas +
			`,"tags":{"site":"quay"}}]`, 200, `"isSuccessful":true`},
		{"GET", "/twins/d/modules/bulk", "", "", 200, `"site":"quay"`},
		{"POST", "/devices", "", `[{"id":"d","moduleId":"bulk","importMode":"updateTwin","tags":{"site":"pier"}}]`, 200,
			`"isSuccessful":true`},
		{"GET", "/twins/d/modules/bulk", "", "", 200, `"site":"pier"`},
		{"POST", "/devices", "", `[{"id":"d","moduleId":"bulk","importMode":"create"},` +
			`{"id":"d","moduleId":"bulk","importMode":"update","managedBy":"you"}]`, 400,
			`"moduleId":"bulk","errorCode":"ModuleAlreadyExistsOnDevice"`},
		{"GET", "/devices/d/modules/bulk", "", "", 200, `"managedBy":"you"`},
		{"POST", "/devices", "", `[{"id":"d","moduleId":"bulk","importMode":"createOrUpdate"},` +
			`{"id":"d","moduleId":"new","importMode":"createOrUpdate"}]`, 200, `"isSuccessful":true`},
		{"POST", "/devices", "", `[{"id":"d","moduleId":"new","importMode":"createOrUpdate","tags":{"a":1}}]`, 400,
			`PATCH /twins/d/modules/new`},
		{"POST", "/devices", "", `[{"id":"d","moduleId":"new","importMode":"delete"},` +
			`{"id":"d","moduleId":"bulk","importMode":"deleteIfMatchETag","eTag":"AAAA"}]`, 400,
			`"errorCode":"PreconditionFailed"`},
		{"POST", "/devices/keys/regenerate", "", `{"policyKey":"primaryKey","devices":[{"id":"d","moduleId":"bulk"}]}`,
			200, `"id":"d","moduleId":"bulk","primaryKey":`},
		{"DELETE", "/devices/d/modules/m", `"stale"`, "", 412, "its ETag is"},
		{"DELETE", "/devices/d/modules/m", `"*"`, "", 204, ""},
		{"DELETE", "/devices/d/modules/m", `"*"`, "", 404, "has no module"},
		{"GET", "/statistics/devices", "", "", 200, `"totalDeviceCount":1`},
	} {
		request := httpstest.Request{Method: c.method, Path: c.path, Token: h.HubToken(), Body: c.body}
		if c.ifMatch != "" {
			request.Header = http.Header{"If-Match": {strings.NewReplacer("{etag}", etag, "{stale}", etag).Replace(c.ifMatch)}}
		}
		got := h.Do(request)
		if got.Status != c.status || !strings.Contains(got.Text, c.want) {
			t.Errorf("%s %s with %s is answered %d %s, want %d %s", c.method, c.path, c.body, got.Status, got.Text, c.status,
				c.want)
		}
		if strings.HasPrefix(c.path, "/devices/d/modules/m") && got.Status == 200 && etag == "" {
			etag = etagOf(t, got.Text)
		}
	}
}

// etagOf is the ETag in the body of an identity.
func etagOf(t *testing.T, body string) string {
	t.Helper()
	var read struct{ ETag string }
	if err := json.Unmarshal([]byte(body), &read); err != nil || read.ETag == "" {
		t.Fatalf("no ETag in %s: %v", body, err)
	}
	return read.ETag
}

// TestTooManyModules is the code that clients know.
func TestTooManyModules(t *testing.T) {
	h := newFixture(t)
	hub := h.Config.Hubs.All()[0]
	if _, err := hub.CreateDevice(t.Context(), identity.Device{DeviceID: "d"}); err != nil {
		t.Fatal(err)
	}
	for i := range identity.MaxModules {
		module := identity.Module{DeviceID: "d", ModuleID: strconv.Itoa(i)}
		if _, err := hub.CreateModule(t.Context(), module); err != nil {
			t.Fatal(err)
		}
	}
	got := h.Do(httpstest.Request{Method: "PUT", Path: "/devices/d/modules/more", Token: h.HubToken(), Body: `{}`})
	if got.Status != 413 || got.Header.Get("iothub-errorcode") != "TooManyModulesOnDevice" {
		t.Errorf("one module more is answered %d %v %s", got.Status, got.Header, got.Text)
	}
}
