package rest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/endpoint/https/httpstest"
	"github.com/berth-iot/berth/hub/identity"
)

// The tests of this file hold the server against how Azure's services behave over
// HTTP where clients depend on it, byte by byte on a connection.

// contractTest is a server with a device, an enrollment and a group on it.
type contractTest struct {
	*httpstest.Fixture
	dps, iot string // tokens of back ends
	client   tls.Config
}

func newContractTest(t *testing.T) *contractTest {
	c := &contractTest{Fixture: newFixture(t), client: tls.Config{InsecureSkipVerify: true}}
	c.dps, c.iot = c.DPSToken(), c.HubToken()
	const attestation = `"attestation":{"type":"symmetricKey"}`
	for path, body := range map[string]string{
		"/enrollments/e1":      `{"registrationId":"e1",` + attestation + `}`,
		"/enrollments/e2":      `{"registrationId":"e2",` + attestation + `}`,
		"/enrollmentGroups/g1": `{"enrollmentGroupId":"g1",` + attestation + `}`,
	} {
		if got := c.Do(httpstest.Request{Method: "PUT", Path: path, Token: c.dps, Body: body}); got.Status != 200 {
			t.Fatalf("%s is answered %+v", path, got)
		}
	}
	if _, err := c.Config.Hubs.All()[0].CreateDevice(context.Background(),
		identity.Device{DeviceID: "d1"}); err != nil {
		t.Fatal(err)
	}
	return c
}

// answered is an answer as it came over the wire, header names in their spelling.
type answered struct {
	status  int
	headers map[string]string
	body    string
}

// send sends a request line with its header lines and a body, and reads what comes until
// the end. The address gets an api-version unless it has a query.
func (c *contractTest) send(line, body string, headers ...string) answered {
	c.T.Helper()
	method, target, _ := strings.Cut(line, " ")
	if !strings.Contains(target, "?") {
		target += "?api-version=2021-10-01"
	}
	conn, err := tls.Dial("tcp", c.Server.Listener.Addr().String(), &c.client)
	if err != nil {
		c.T.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	text := method + " " + target + " HTTP/1.1\r\nConnection: close\r\n"
	if host := "dps.local"; !strings.Contains(strings.ToLower(strings.Join(headers, "\n")), "host:") {
		if strings.Contains(strings.Join(headers, "\n"), "sr=hub.local") {
			host = "hub.local"
		}
		text += "Host: " + host + "\r\n"
	}
	if body != "" || method != "GET" {
		text += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	for _, header := range headers {
		text += header + "\r\n"
	}
	if _, err := io.WriteString(conn, text+"\r\n"+body); err != nil {
		c.T.Fatal(err)
	}
	received, err := io.ReadAll(conn)
	if err != nil {
		c.T.Fatalf("%s: %v", line, err)
	}
	head, rest, _ := strings.Cut(string(received), "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	got := answered{headers: make(map[string]string), body: rest}
	if _, err := fmt.Sscanf(lines[0], "HTTP/1.1 %d", &got.status); err != nil {
		c.T.Fatalf("%s is answered %q", line, head)
	}
	for _, header := range lines[1:] {
		name, value, _ := strings.Cut(header, ": ")
		got.headers[name] = value
	}
	return got
}

func authorization(token string) string { return "Authorization: " + token }

var guid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// TestHeaderNames looks for headers by the spelling that the C and C# clients compare
// with, and sees that every answer has those that all have.
func TestHeaderNames(t *testing.T) {
	c := newContractTest(t)
	dps, iot := authorization(c.dps), authorization(c.iot)
	for _, example := range []struct {
		line, body string
		headers    []string
		status     int
		named      []string
	}{
		{"GET /devices/d1", "", []string{iot}, 200, []string{"ETag"}},
		{"GET /twins/d1", "", []string{iot}, 200, []string{"ETag"}},
		{"PATCH /twins/d1", `{"tags":{"a":1}}`, []string{iot}, 200, []string{"ETag"}},
		{"GET /devices/nobody", "", []string{iot}, 404, []string{"iothub-errorcode"}},
		{"GET /devices/d1", "", []string{"Host: hub.local"}, 401, []string{"iothub-errorcode", "WWW-Authenticate"}},
		{"DELETE /devices/nobody", "", []string{iot}, 404, []string{"iothub-errorcode"}},
		{"GET /enrollments/e1", "", []string{dps}, 200, []string{"ETag"}},
		{"GET /enrollmentGroups/g1", "", []string{dps}, 200, []string{"ETag"}},
		{"GET /enrollments/nobody", "", []string{dps}, 404, []string{"x-ms-error-code"}},
		{"PATCH /enrollments/e1", "", []string{dps}, 405, []string{"x-ms-error-code", "Allow"}},
		{"POST /enrollments/query", `{"query":"*"}`, []string{dps, "x-ms-max-item-count: 1"}, 200,
			[]string{"x-ms-continuation", "x-ms-max-item-count", "x-ms-item-type"}},
		{"PUT /" + httpstest.Scope + "/registrations/e1/register", "{}", nil, 401, []string{"x-ms-error-code",
			"WWW-Authenticate"}},
		{"DELETE /enrollments/e2", "", []string{dps}, 204, nil},
	} {
		got := c.send(example.line, example.body, example.headers...)
		if got.status != example.status {
			t.Errorf("%s is answered %d %s", example.line, got.status, got.body)
			continue
		}
		for _, name := range append(example.named, "x-ms-request-id", "Server", "Date") {
			if got.headers[name] == "" {
				t.Errorf("the answer to %s has no header spelt %s: %v", example.line, name, got.headers)
			}
		}
		if !guid.MatchString(got.headers["x-ms-request-id"]) {
			t.Errorf("the answer to %s has the request id %q", example.line, got.headers["x-ms-request-id"])
		}
		if kind := got.headers["Content-Type"]; got.body != "" && kind != "application/json; charset=utf-8" {
			t.Errorf("the answer to %s is of the type %q", example.line, kind)
		}
	}
}

// TestMethodOverride sends PATCH as clients do that have no such method.
func TestMethodOverride(t *testing.T) {
	c := newContractTest(t)
	iot := authorization(c.iot)
	reader := authorization(c.Token("hub.local", "registryReadWrite", time.Now().Add(time.Hour)))
	const ignored = "ErrorCode:ArgumentInvalid;X-HTTP-Method-Override"
	for i, example := range []struct {
		line, override string
		token          string
		status         int
		says           string // of a refusal
	}{
		{"POST /twins/d1", "X-HTTP-Method-Override: PATCH", iot, 200, ""},
		{"POST /twins/d1", "x-http-method-override: patch", iot, 200, ""},
		{"PATCH /twins/d1", "X-HTTP-Method-Override: PATCH", iot, 200, ""},
		{"PATCH /twins/d1", "X-HTTP-Method-Override:", iot, 200, ""},
		{"POST /twins/d1", "X-HTTP-Method-Override: PATCH", reader, 401, "ErrorCode:"},
		{"POST /twins/d1", "X-HTTP-Method-Override: PUT", iot, 400, ignored},
		{"POST /twins/d1", "X-HTTP-Method-Override: DELETE", iot, 400, ignored},
		{"POST /devices/d1", "X-HTTP-Method-Override: DELETE", iot, 400, ignored},
		{"PUT /twins/d1", "X-HTTP-Method-Override: PATCH", iot, 400, ignored},
		{"POST /devices/d1", "X-HTTP-Method-Override: PATCH", iot, 405, "PATCH is not possible here"},
		{"POST /twins/d1", "X-Unknown: PATCH", iot, 405, "POST is not possible here"},
	} {
		tags := fmt.Sprintf(`"tags":{"n":%d}`, i)
		got := c.send(example.line, "{"+tags+"}", example.token, example.override)
		if example.status == 200 {
			example.says = tags
		}
		if got.status != example.status || !strings.Contains(got.body, example.says) {
			t.Errorf("%s with %s is answered %d %s, want %d with %s", example.line, example.override, got.status,
				got.body, example.status, example.says)
		}
	}
	if got := c.send("GET /devices/d1", "", iot); got.status != 200 {
		t.Errorf("the device is answered %d afterwards", got.status)
	}
}

// TestPathsByMeaning writes paths as one client or another does.
func TestPathsByMeaning(t *testing.T) {
	c := newContractTest(t)
	const id = "a+b#c:d'e(f)"
	if _, err := c.Config.Hubs.All()[0].CreateDevice(t.Context(), identity.Device{DeviceID: id}); err != nil {
		t.Fatal(err)
	}
	dps, iot := authorization(c.dps), authorization(c.iot)
	for _, example := range []struct {
		line, token string
		status      int
	}{
		{"GET /devices/a+b%23c:d'e(f)", iot, 200}, // + is itself in a path
		{"GET /devices/a%2Bb%23c%3Ad%27e%28f%29", iot, 200},
		{"GET /devices/a%2bb%23c%3ad%27e%28f%29", iot, 200},
		{"GET /devices/a%20b%23c:d'e(f)", iot, 400}, // no id has a space
		{"GET /Devices/d1/", iot, 200},
		{"GET /devices/D1", iot, 404}, // ids of devices have case
		{"GET /devices/?top=1&api-version=2021-04-12", iot, 200},
		{"GET /devices/?api-version=2021-04-12&top=1", iot, 200},
		{"GET /TWINS/d1", iot, 200},
		{"GET /Statistics/Devices/", iot, 200},
		{"GET /enrollments/E1", dps, 200},
		{"GET /enrollmentgroups/g1", dps, 200},
		{"POST /enrollmentgroups/g1/attestationmechanism", dps, 200},
		{"POST /enrollments/e1/AttestationMechanism/", dps, 200},
		{"POST /enrollments/%65%31/attestationmechanism", dps, 200},
		{"GET https://hub.local/devices/d1", iot, 200}, // the absolute form
		{"GET /devices/%zz", iot, 400},
	} {
		if got := c.send(example.line, "", example.token); got.status != example.status {
			t.Errorf("%s is answered %d %s, want %d", example.line, got.status, got.body, example.status)
		}
	}
}

// TestAPIVersions has those that clients were seen to send, and what is none.
func TestAPIVersions(t *testing.T) {
	c := newContractTest(t)
	dps, iot := authorization(c.dps), authorization(c.iot)
	for _, version := range []string{"2016-11-14", "2018-06-28", "2018-06-30", "2018-09-01-preview", "2018-11-01",
		"2019-03-31", "2019-10-01",
		"2020-05-31-preview", "2020-09-30", "2021-04-12", "2021-06-01", "2021-10-01", "2024-03-31",
		"2025-07-01-preview", "2026-11-01"} {
		for path, token := range map[string]string{"/devices/d1": iot, "/enrollments/e1": dps} {
			if got := c.send("GET "+path+"?api-version="+version, "", token); got.status != 200 {
				t.Errorf("%s of the version %s is answered %d %s", path, version, got.status, got.body)
			}
		}
	}
	for _, query := range []string{"?api-version=", "?api-version=latest", "?api-version=2021-4-12",
		"?api-version=2021-04-12-beta", "?version=2021-04-12", "?"} {
		if got := c.send("GET /devices/d1"+query, "", iot); got.status != 400 ||
			got.headers["iothub-errorcode"] != "InvalidProtocolVersion" {
			t.Errorf("the hub answers %s with %d %v", query, got.status, got.headers)
		}
		if got := c.send("GET /enrollments/e1"+query, "", dps); got.status != 400 ||
			got.headers["x-ms-error-code"] != "400001" {
			t.Errorf("the provisioning service answers %s with %d %v", query, got.status, got.headers)
		}
	}
}

// TestErrorEnvelopes has one refusal of each status, as each service has it: the name or
// number in the header and in the body are the same.
func TestErrorEnvelopes(t *testing.T) {
	c := newContractTest(t)
	dps, iot := authorization(c.dps), authorization(c.iot)
	stale, xml := `If-Match: "c3RhbGU="`, "Content-Type: text/xml"
	for _, example := range []struct {
		line, body string
		headers    []string
		status     int
	}{
		{"PUT /devices/d2", `{"deviceId":"d2","status":"maybe"}`, []string{iot}, 400},
		{"PUT /devices/d2", `{`, []string{iot}, 400},
		{"GET /devices/d1", "", []string{"Host: hub.local", authorization("nonsense")}, 401},
		{"GET /twins/nobody", "", []string{iot}, 404},
		{"GET /nothing", "", []string{iot}, 404},
		{"DELETE /twins/d1", "", []string{iot}, 405},
		{"PUT /devices/d1", `{"deviceId":"d1"}`, []string{iot}, 409},
		{"PUT /devices/d1", `{"deviceId":"d1"}`, []string{iot, stale}, 412},
		{"PATCH /twins/d1", `{"tags":{"a":1}}`, []string{iot, stale}, 412},
		{"PATCH /twins/d1", strings.Repeat(" ", https.TwinBody+1), []string{iot}, 413},
		{"PUT /devices/d2", `<device/>`, []string{iot, xml}, 415},

		{"PUT /enrollments/e3", `{"attestation":{"type":"trust"}}`, []string{dps}, 400},
		{"PUT /enrollments/e3", `{`, []string{dps}, 400},
		{"GET /enrollments/e1", "", []string{authorization("nonsense")}, 401},
		{"GET /registrations/nobody", "", []string{dps}, 404},
		{"GET /nothing", "", []string{dps}, 404},
		{"PATCH /enrollments/e1", "", []string{dps}, 405},
		{"PUT /enrollments/e1", `{"attestation":{"type":"symmetricKey"}}`, []string{dps}, 409},
		{"DELETE /enrollmentGroups/g1", "", []string{dps, stale}, 412},
		{"PUT /enrollments/e3", strings.Repeat(" ", https.SmallBody+1), []string{dps}, 413},
		{"PUT /enrollments/e3", `<enrollment/>`, []string{dps, xml}, 415},
	} {
		got := c.send(example.line, example.body, example.headers...)
		if got.status != example.status {
			t.Errorf("%s is answered %d %s, want %d", example.line, got.status, got.body, example.status)
			continue
		}
		var fields map[string]any
		if err := json.Unmarshal([]byte(got.body), &fields); err != nil {
			t.Errorf("%s is answered %s: %v", example.line, got.body, err)
			continue
		}
		if name, ofHub := got.headers["iothub-errorcode"]; ofHub {
			message, _ := fields["Message"].(string)
			if !strings.HasPrefix(message, "ErrorCode:"+name+";") || strings.Count(message, ";") != 1 ||
				!strings.HasPrefix(fmt.Sprint(fields["ExceptionMessage"]), "Tracking ID:") {
				t.Errorf("%s is answered %s with the code %s", example.line, got.body, name)
			}
			continue
		}
		code, _ := fields["errorCode"].(float64)
		if got.headers["x-ms-error-code"] != fmt.Sprint(int(code)) || int(code)/1000 != got.status ||
			fields["trackingId"] != got.headers["x-ms-request-id"] ||
			fields["message"] == "" || !contractTime.MatchString(fmt.Sprintf("%q", fields["timestampUtc"])) {
			t.Errorf("%s is answered %s with %v", example.line, got.body, got.headers)
		}
	}
}

// TestIfMatchByMeaning writes the condition in the forms of clients: quoted, bare, weak,
// the wildcard with quotes and without.
func TestIfMatchByMeaning(t *testing.T) {
	c := newContractTest(t)
	dps, iot := authorization(c.dps), authorization(c.iot)
	c.register()
	for _, thing := range []struct{ token, path, write, body string }{
		{iot, "/devices/d1", "PUT", `{"deviceId":"d1"}`},
		{iot, "/twins/d1", "PATCH", `{"tags":{"a":1}}`},
		{dps, "/enrollments/e1", "PUT", `{"registrationId":"e1","attestation":{"type":"symmetricKey"}}`},
		{dps, "/enrollmentGroups/g1", "PUT", `{"enrollmentGroupId":"g1","attestation":{"type":"symmetricKey"}}`},
	} {
		for _, form := range []string{`"*"`, `*`, `TAG`, `"TAG"`, `W/"TAG"`} {
			etag := strings.Trim(c.send("GET "+thing.path, "", thing.token).headers["ETag"], `"`)
			header := "If-Match: " + strings.ReplaceAll(form, "TAG", etag)
			if got := c.send(thing.write+" "+thing.path, thing.body, thing.token, header); got.status != 200 {
				t.Errorf("%s %s with %s is answered %d %s", thing.write, thing.path, header, got.status, got.body)
			}
			if again := c.send("GET "+thing.path, "", thing.token).headers["ETag"]; strings.Trim(again, `"`) == etag {
				t.Errorf("%s %s with %s leaves the ETag %s", thing.write, thing.path, header, again)
			}
		}
		for _, stale := range []string{`"AAAA"`, `AAAA`, `W/"AAAA"`, `""`} {
			if got := c.send(thing.write+" "+thing.path, thing.body, thing.token,
				"If-Match: "+stale); got.status != 412 {
				t.Errorf("%s %s with If-Match: %s is answered %d %s", thing.write, thing.path, stale, got.status,
					got.body)
			}
		}
	}
	for path, token := range map[string]string{"/devices/d1": iot, "/enrollments/e2": dps, "/registrations/e1": dps,
		"/enrollmentGroups/g1": dps} {
		etag := strings.Trim(c.send("GET "+path, "", token).headers["ETag"], `"`)
		if got := c.send("DELETE "+path, "", token, `If-Match: "AAAA"`); got.status != 412 {
			t.Errorf("DELETE %s of another state is answered %d", path, got.status)
		}
		if got := c.send("DELETE "+path, "", token, `If-Match: W/"`+etag+`"`); got.status != 204 {
			t.Errorf("DELETE %s is answered %d %s", path, got.status, got.body)
		}
		if got := c.send("DELETE "+path, "", token, `If-Match: "*"`); got.status != 404 {
			t.Errorf("DELETE %s once more is answered %d %s", path, got.status, got.body)
		}
	}
}

// operationOfDevice is what a device is told of its registration.
type operationOfDevice struct {
	OperationID, Status string
	RegistrationState   map[string]any
}

// register has the device e1 register over HTTPS, and waits until that is done.
func (c *contractTest) register() (operation operationOfDevice) {
	c.T.Helper()
	mechanism := c.Do(httpstest.Request{Method: "POST", Path: "/enrollments/e1/attestationmechanism", Token: c.dps})
	key := mechanism.Fields["symmetricKey"].(map[string]any)["primaryKey"].(string)
	token := authorization(signed(c.T, url.QueryEscape(httpstest.Scope+"/registrations/e1"), key, "&skn=registration"))
	for line := "PUT /" + httpstest.Scope + "/registrations/e1/register"; ; line = "GET /" + httpstest.Scope +
		"/registrations/e1/operations/" + operation.OperationID {
		got := c.send(line, "", token)
		if err := json.Unmarshal([]byte(got.body), &operation); err != nil || got.status >= 300 {
			c.T.Fatalf("%s is answered %d %s", line, got.status, got.body)
		}
		poll := "https://dps.local/" + httpstest.Scope + "/registrations/e1/operations/" + operation.OperationID +
			"?api-version=2021-10-01"
		if where, told := got.headers["Location"]; told != (got.status == http.StatusAccepted) || told &&
			where != poll {
			c.T.Errorf("%s is answered %d, and is to be polled at %q, want %q", line, got.status, where, poll)
		}
		if operation.Status != "assigning" {
			return operation
		}
	}
}

// signed is a token over a resource as it is written, whatever its encoding.
func signed(t testing.TB, resource, key, more string) string {
	t.Helper()
	secret, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	expiry := fmt.Sprint(time.Now().Add(time.Hour).Unix())
	mac := hmac.New(sha256.New, secret)
	io.WriteString(mac, resource+"\n"+expiry)
	signature := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	return "SharedAccessSignature sr=" + resource + "&sig=" + url.QueryEscape(signature) + "&se=" + expiry + more
}

// TestBodiesThatNobodyAskedFor come with requests that have none, and are left aside.
func TestBodiesThatNobodyAskedFor(t *testing.T) {
	c := newContractTest(t)
	dps, iot := authorization(c.dps), authorization(c.iot)
	for _, example := range []struct{ line, body, token string }{
		{"GET /devices/d1", "{}", iot},
		{"GET /enrollments/e1", "{}", dps},
		{"GET /enrollments/e1", "x", dps},
		{"POST /enrollments/e1/attestationmechanism", "", dps},
		{"POST /enrollments/e1/attestationmechanism", "{}", dps},
		{"POST /registrations/g1/query", "", dps},
		{"DELETE /enrollments/e2", "\x00", dps},
		{"DELETE /devices/d1", "{}", iot},
	} {
		if got := c.send(example.line, example.body, example.token); got.status >= 300 {
			t.Errorf("%s with the body %q is answered %d %s", example.line, example.body, got.status, got.body)
		}
	}
	for _, kind := range []string{"application/json", "application/json; charset=utf-8",
		"Application/JSON;charset=UTF-8", `application/json; charset="utf-8"`} {
		if got := c.send("POST /enrollments/query", `{"query":"*"}`, dps, "Content-Type: "+kind,
			"Accept: application/json"); got.status != 200 {
			t.Errorf("a body of the type %s is answered %d %s", kind, got.status, got.body)
		}
	}
}

// TestItemTypes has the words that C# and Java make values of, and sees that the last
// page has no continuation: for Node and Java one that is there, if empty, means more.
func TestItemTypes(t *testing.T) {
	c := newContractTest(t)
	c.register()
	for path, want := range map[string]string{"/enrollments/query": "enrollment",
		"/enrollmentGroups/query": "enrollmentGroup", "/registrations/g1/query": "deviceRegistration"} {
		got := c.send("POST "+path, `{"query":"*"}`, authorization(c.dps), "x-ms-max-item-count: 100")
		continuation, more := got.headers["x-ms-continuation"]
		if got.status != 200 || got.headers["x-ms-item-type"] != want || more || !strings.HasPrefix(got.body, "[") {
			t.Errorf("%s is answered %d with the item type %q and the continuation %q: %s", path, got.status,
				got.headers["x-ms-item-type"], continuation, got.body)
		}
	}
}

// TestTokenAsSigned has the resource of a token in the encodings of clients: what counts
// is the text that was signed. C# writes %2f, Java nothing encoded, others %2F.
func TestTokenAsSigned(t *testing.T) {
	c := newContractTest(t)
	keys := map[string]string{}
	policies, err := c.Config.Provisioning.Access().List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, policy := range policies {
		keys[policy.Name] = policy.PrimaryKey
	}
	mechanism := c.Do(httpstest.Request{Method: "POST", Path: "/enrollments/e1/attestationmechanism", Token: c.dps})
	device := mechanism.Fields["symmetricKey"].(map[string]any)["primaryKey"].(string)
	const owner, own = "provisioningserviceowner", "/registrations/e1"
	for _, example := range []struct{ line, resource, key, more string }{
		{"GET /enrollments/e1", "dps.local", keys[owner], "&skn=" + owner},
		{"GET /enrollments/e1", "dps.local%2fenrollments%2fe1", keys[owner], "&skn=" + owner},
		{"GET /enrollments/e1", "dps.local/enrollments", keys[owner], "&skn=" + owner},
		{"PUT /" + httpstest.Scope + own + "/register", httpstest.Scope + own, device, "&skn="},
		{"PUT /" + httpstest.Scope + own + "/register", httpstest.Scope + "%2fregistrations%2fe1", device,
			"&skn=registration"},
		{"PUT /" + httpstest.Scope + own + "/register", httpstest.Scope + "%2Fregistrations%2Fe1", device,
			"&skn=registration"},
		{"PUT /" + httpstest.Scope + own + "/register", httpstest.Scope + "%2Fregistrations%2Fe1", device, ""},
	} {
		token := signed(t, example.resource, example.key, example.more)
		if got := c.send(example.line, "", authorization(token)); got.status >= 300 {
			t.Errorf("%s with sr=%s is answered %d %s", example.line, example.resource, got.status, got.body)
		}
	}
}

// TestRegistrationIsWhole has what clients read of a finished registration without
// looking whether it is there: Python joins the fields as text.
func TestRegistrationIsWhole(t *testing.T) {
	c := newContractTest(t)
	operation := c.register()
	if !regexp.MustCompile(`^[0-9a-z.-]+$`).MatchString(operation.OperationID) { // it goes into addresses as it is
		t.Errorf("the operation id is %q", operation.OperationID)
	}
	for _, name := range []string{"registrationId", "deviceId", "assignedHub", "status", "substatus",
		"createdDateTimeUtc", "lastUpdatedDateTimeUtc", "etag"} {
		if text, ok := operation.RegistrationState[name].(string); !ok || text == "" {
			t.Errorf("%s is %v", name, operation.RegistrationState[name])
		}
	}
}

// TestAnyClientCertificate sees that the handshake takes whatever certificate a client
// has, and that a back end's token counts all the same.
func TestAnyClientCertificate(t *testing.T) {
	c := newContractTest(t)
	certificate, key := httpstest.CertificatePEM(t, "somebody")
	pair, err := tls.X509KeyPair([]byte(certificate), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	c.client.Certificates = []tls.Certificate{pair}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c.client.MaxVersion = version
		if got := c.send("GET /enrollments/e1", "", authorization(c.dps)); got.status != http.StatusOK {
			t.Errorf("%s is answered %d %s", tls.VersionName(version), got.status, got.body)
		}
	}
}
