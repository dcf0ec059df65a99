package rest

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/berth-iot/berth/hub/telemetry"
)

func TestEnrollmentsOverREST(t *testing.T) {
	h := newHouse(t)
	token := h.dpsToken()
	certificate, _ := certificatePEM(t, "d1")
	created := h.do(request{method: "PUT", path: "/enrollments/d1", token: token, body: enrollmentBody("d1", certificate)})
	etag, _ := created.fields["etag"].(string)
	if created.status != 200 || etag == "" || created.header.Get("ETag") != etag || created.header.Get("x-ms-request-id") == "" {
		t.Fatalf("created: %+v", created)
	}
	if strings.Contains(created.text, "BEGIN CERTIFICATE") || !strings.Contains(created.text, `"subjectName":"CN=d1"`) {
		t.Errorf("created: %s", created.text)
	}
	for _, c := range []struct {
		name string
		request
		status int
		text   string
	}{
		{"get, with other case in the path", request{method: "GET", path: "/ENROLLMENTS/d1", token: token}, 200, `"registrationId":"d1"`},
		{"attestation mechanism", request{method: "POST", path: "/enrollments/d1/attestationMechanism", token: token}, 200, `"type":"x509"`},
		{"query", request{method: "POST", path: "/enrollments/query", token: token, body: `{"query":"select * from Enrollments"}`}, 200, `"d1"`},
		{"query of another form", request{method: "POST", path: "/enrollments/query", token: token, body: `{"query":"SELECT * FROM enrollments WHERE x=1"}`}, 400, "has WHERE"},
		{"bulk", request{method: "POST", path: "/enrollments/", token: token, body: `{"mode":"create","enrollments":[` + enrollmentBody("d1", certificate) + `,` + enrollmentBody("d2", certificate) + `]}`}, 200, `"isSuccessful":false,"errors":[{"registrationId":"d1","errorCode":409202`},
		{"bulk of nothing", request{method: "POST", path: "/enrollments", token: token, body: `{"mode":"create","enrollments":[]}`}, 400, "1 to 10"},
		{"bulk on a condition without an ETag", request{method: "POST", path: "/enrollments", token: token, body: `{"mode":"updateIfMatchETag","enrollments":[` + enrollmentBody("d2", certificate) + `]}`}, 200, `"isSuccessful":false,"errors":[{"registrationId":"d2","errorCode":400005`},
		{"bulk on a condition that does not hold", request{method: "POST", path: "/enrollments", token: token, body: `{"mode":"updateIfMatchETag","enrollments":[` + strings.Replace(enrollmentBody("d2", certificate), "{", `{"etag":"\"other\"",`, 1) + `]}`}, 200, `"errorCode":412001`},
		{"bulk without a mode", request{method: "POST", path: "/enrollments", token: token, body: `{"enrollments":[` + enrollmentBody("d1", certificate) + `]}`}, 400, "mode is"},
		{"page", request{method: "GET", path: "/berth/provisioning/enrollments?prefix=d&top=1", token: token}, 200, `"next":"d1"`},
		{"wrong ETag", request{method: "DELETE", path: "/enrollments/d1", token: token, header: http.Header{"If-Match": {`"other"`}}}, 412, "412001"},
		{"delete", request{method: "DELETE", path: "/enrollments/d1", token: token, header: http.Header{"If-Match": {etag}}}, 204, ""},
		{"get what is gone", request{method: "GET", path: "/enrollments/d1", token: token}, 404, "404201"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := h.do(c.request); got.status != c.status || !strings.Contains(got.text, c.text) {
				t.Errorf("answered %d %s, want %d with %q", got.status, got.text, c.status, c.text)
			}
		})
	}
}

func TestQueryInPages(t *testing.T) {
	h := newHouse(t)
	token := h.dpsToken()
	certificate, _ := certificatePEM(t, "x")
	for i := range 5 {
		if got := h.do(request{method: "PUT", path: fmt.Sprintf("/enrollments/e%d", i), token: token, body: enrollmentBody(fmt.Sprintf("e%d", i), certificate)}); got.status != 200 {
			t.Fatalf("answered %+v", got)
		}
	}
	var seen int
	header := http.Header{"X-Ms-Max-Item-Count": {"2"}}
	for pages := 0; ; pages++ {
		got := h.do(request{method: "POST", path: "/enrollments/query", token: token, body: `{"query":"SELECT * FROM enrollments"}`, header: header})
		seen += strings.Count(got.text, `"registrationId"`)
		if got.header.Get("x-ms-item-type") != "enrollment" {
			t.Errorf("the item type is %q", got.header.Get("x-ms-item-type"))
		}
		next, more := got.header["X-Ms-Continuation"]
		if !more {
			break
		}
		if header["X-Ms-Continuation"] = next; pages > 5 {
			t.Fatal("the pages do not end")
		}
	}
	if seen != 5 {
		t.Errorf("saw %d enrollments", seen)
	}
	header["X-Ms-Continuation"] = []string{"?"}
	if got := h.do(request{method: "POST", path: "/enrollments/query", token: token, body: `{"query":"SELECT * FROM enrollments"}`, header: header}); got.status != 400 {
		t.Errorf("a continuation of somebody else's is answered %d", got.status)
	}
}

func TestDevicesOverREST(t *testing.T) {
	h := newHouse(t)
	token := h.hubToken()
	created := h.do(request{method: "PUT", path: "/devices/a%23b", token: token, body: `{"deviceId":"a#b","cloudToDeviceMessageCount":"0","authentication":{"type":"sas","symmetricKey":{"primaryKey":"","secondaryKey":""}}}`})
	etag, _ := created.fields["etag"].(string)
	if created.status != 200 || created.header.Get("ETag") != `"`+etag+`"` || strings.Contains(etag, `"`) {
		t.Fatalf("created: %+v", created)
	}
	twin := h.do(request{method: "GET", path: "/twins/a%23b", token: token})
	twinTag, _ := twin.fields["etag"].(string)
	for _, c := range []struct {
		name string
		request
		status int
		text   string
	}{
		{"create again", request{method: "PUT", path: "/devices/a%23b", token: token, body: `{"deviceId":"a#b"}`}, 409, `"Message":"ErrorCode:DeviceAlreadyExists;`},
		{"update", request{method: "PUT", path: "/devices/a%23b", token: token, body: `{"deviceId":"a#b","status":"disabled"}`, header: http.Header{"If-Match": {`"*"`}}}, 200, `"status":"disabled"`},
		{"update with a stale ETag", request{method: "PUT", path: "/devices/a%23b", token: token, body: `{"deviceId":"a#b"}`, header: http.Header{"If-Match": {`"` + etag + `"`}}}, 412, "PreconditionFailed"},
		{"another id in the body", request{method: "PUT", path: "/devices/a%23b", token: token, body: `{"deviceId":"c"}`}, 400, "ArgumentInvalid"},
		{"list", request{method: "GET", path: "/devices/?top=10", token: token}, 200, `"deviceId":"a#b"`},
		{"list with a bad top", request{method: "GET", path: "/devices?top=many", token: token}, 400, "whole number"},
		{"page", request{method: "GET", path: "/berth/hub/devices?prefix=a", token: token}, 200, `"items":[{"deviceId":"a#b"`},
		{"patch the twin", request{method: "PATCH", path: "/twins/a%23b", token: token, body: `{"tags":{"x":1}}`, header: http.Header{"If-Match": {`"` + twinTag + `"`}}}, 200, `"tags":{"x":1}`},
		{"patch it with a stale ETag", request{method: "PATCH", path: "/twins/a%23b", token: token, body: `{"tags":{"x":2}}`, header: http.Header{"If-Match": {`"` + twinTag + `"`}}}, 412, "PreconditionFailed"},
		{"replace the twin", request{method: "PUT", path: "/twins/a%23b", token: token, body: `{"properties":{"desired":{"y":1}}}`}, 200, `"tags":{}`},
		{"a twin over its limits", request{method: "PATCH", path: "/twins/a%23b", token: token, body: `{"tags":{"x":"` + strings.Repeat("x", 5000) + `"}}`}, 400, "4096"},
		{"a twin that is none", request{method: "PATCH", path: "/twins/a%23b", token: token, body: `[]`}, 400, "ArgumentInvalid"},
		{"statistics", request{method: "GET", path: "/statistics/devices", token: token}, 200, `{"totalDeviceCount":1,"enabledDeviceCount":0,"disabledDeviceCount":1}`},
		{"connected", request{method: "GET", path: "/statistics/service", token: token}, 200, `{"connectedDeviceCount":0}`},
		{"bulk", request{method: "POST", path: "/devices", token: token, body: `[{"id":"b1","importMode":"create"},{"id":"a#b","importMode":"Delete"},{"id":"b1","importMode":"create"}]`}, 400, `"isSuccessful":false,"errors":[{"deviceId":"b1","errorCode":"DeviceAlreadyExists"`},
		{"bulk on a condition without an ETag", request{method: "POST", path: "/devices", token: token, body: `[{"id":"b1","importMode":"DeleteIfMatchETag"},{"id":"b1","importMode":"updateIfMatchETag","eTag":""}]`}, 400, `"errors":[{"deviceId":"b1","errorCode":"ArgumentNull","errorStatus":"DeleteIfMatchETag needs an etag`},
		{"and so it is still there", request{method: "GET", path: "/devices/b1", token: token}, 200, `"deviceId":"b1"`},
		{"bulk on a condition that does not hold", request{method: "POST", path: "/devices", token: token, body: `[{"id":"b1","importMode":"deleteIfMatchETag","eTag":"other"}]`}, 400, `"errorCode":"PreconditionFailed"`},
		{"bulk without a known mode", request{method: "POST", path: "/devices", token: token, body: `[{"id":"b1","importMode":"upsert"}]`}, 400, `not \"upsert\"`},
		{"bulk of nothing", request{method: "POST", path: "/devices", token: token, body: `[]`}, 400, "1 to 100"},
		{"a query", request{method: "POST", path: "/devices/query", token: token, body: `{"query":"SELECT * FROM devices"}`}, 200, `"deviceId":"b1"`},
		{"a query with a condition", request{method: "POST", path: "/devices/query", token: token, body: `{"query":"SELECT * FROM devices WHERE tags.x = 1"}`}, 400, "has WHERE"},
		{"a query of modules", request{method: "POST", path: "/devices/query", token: token, body: `{"query":"SELECT * FROM devices.modules"}`}, 400, "not served"},
		{"new keys", request{method: "POST", path: "/devices/keys/regenerate", token: token, body: `{"policyKey":"both","devices":[{"id":"b1"},{"id":"c1"},{"id":"b1","moduleId":"m"}]}`}, 207, `"errors":[{"id":"c1","errorCode":"DeviceNotFound"`},
		{"new keys of no kind", request{method: "POST", path: "/devices/keys/regenerate", token: token, body: `{"policyKey":"third","devices":[{"id":"b1"}]}`}, 400, "policyKey must be"},
		{"new keys of nobody", request{method: "POST", path: "/devices/keys/regenerate", token: token, body: `{"policyKey":"both","devices":[]}`}, 400, "1 to 100"},
		{"a device that is nothing", request{method: "PUT", path: "/devices/c", token: token, body: "null"}, 400, "ArgumentNull"},
		{"get what is gone", request{method: "GET", path: "/devices/a%23b", token: token}, 404, `"ErrorCode:DeviceNotFound;`},
		{"delete what is gone", request{method: "DELETE", path: "/devices/a%23b", token: token}, 404, "DeviceNotFound"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := h.do(c.request)
			if got.status != c.status || !strings.Contains(got.text, c.text) {
				t.Errorf("answered %d %s, want %d with %q", got.status, got.text, c.status, c.text)
			}
			if c.status >= 400 && got.header.Get("iothub-errorcode") == "" {
				t.Error("there is no iothub-errorcode")
			}
		})
	}
}

// Who may not, who sends nonsense, and what there is not.
func TestRefusedRequests(t *testing.T) {
	h := newHouse(t)
	certificate, key := certificatePEM(t, "d1")
	good, later := h.dpsToken(), time.Now().Add(time.Hour)
	tamper := func(token string) string { return strings.Replace(token, "&se=", "0&se=", 1) }
	body := enrollmentBody("d1", certificate)
	put := func(token, body string) request {
		return request{method: "PUT", path: "/enrollments/d1", token: token, body: body}
	}
	for _, c := range []struct {
		name string
		request
		status int
		code   string
		says   string
	}{
		{"no token", put("", body), 401, "401002", "Authorization"},
		{"malformed token", put("Basic x", body), 401, "401002", "malformed"},
		{"a token of Entra ID", put("Bearer "+strings.Repeat("eyJ0eXAi", 1000), body), 401, "401002",
			"Entra ID is not known here"},
		{"expired token", put(h.token("dps.local", "provisioningserviceowner", time.Now().Add(-time.Hour)), body), 401, "401003", "expired"},
		{"token for another service", put(h.token("other.local", "provisioningserviceowner", later), body), 401, "401002", "other.local"},
		{"wrong signature", put(tamper(good), body), 401, "401002", ""},
		{"policy of the hub", put(h.token("dps.local", "iothubowner", later), body), 401, "401002", "policy"},
		{"malformed JSON", put(good, "{\n\"registrationId\": d1}"), 400, "400006", "line 2"},
		{"malformed JSON of other letters", put(good, "{\"é\":1,\n\"é\": é}"), 400, "400006",
			"'é' can't stand in line 2 at character 6"},
		{"JSON that is cut off", put(good, "{\"é\":"), 400, "400006", "it ends too early"},
		{"JSON of another shape", put(good, `{"registrationId":["d1"]}`), 400, "400006", "registrationId"},
		{"empty body", put(good, " "), 400, "400005", "no body"},
		{"oversized JSON", put(good, `{"x":"`+strings.Repeat("x", smallBody)+`"}`), 413, "413001", "larger than"},
		{"not JSON", request{method: "PUT", path: "/enrollments/d1", token: good, body: body, header: http.Header{"Content-Type": {"text/xml"}}}, 415, "415000", "application/json"},
		{"unreadable certificate", put(good, enrollmentBody("d1", "not a certificate")), 400, "400004", "no certificate"},
		{"a private key", put(good, enrollmentBody("d1", key)), 400, "400004", "private key"},
		{"PKCS #12", put(good, enrollmentBody("d1", "MIACAQMwgAYJKoZIhvcNAQcBoIA=")), 400, "400004", "openssl pkcs12 -in FILE -clcerts -nokeys"},
		{"certificate and key", put(good, enrollmentBody("d1", certificate+key)), 400, "400004", "private key"},
		{"id that breaks the rules", request{method: "PUT", path: "/enrollments/d%2F1", token: good, body: enrollmentBody("d/1", certificate)}, 400, "400202", "character"},
		{"another id in the body", put(good, enrollmentBody("d2", certificate)), 400, "400202", "d2"},
		{"wrong ETag", request{method: "PUT", path: "/enrollments/d1", token: good, body: body, header: http.Header{"If-Match": {`"x"`}}}, 412, "412001", ""},
		{"unknown path", request{method: "GET", path: "/nothing/here", token: good}, 404, "404000", "/nothing/here"},
		{"an api-version that is none", request{method: "GET", path: "/enrollments/d1?api-version=latest", token: good}, 400, "400001", "latest"},
		{"JSON that is nothing", put(good, "null"), 400, "400005", "no body"},
		{"JSON of a wrong kind", put(good, "[]"), 400, "400006", "it can't be a JSON array"},
		{"JSON and more", put(good, body+"x"), 400, "400006", "something follows its end, at byte"},
		{"a time that is none", put(good, `{"createdDateTimeUtc":"yesterday"}`), 400, "400006", "yesterday"},
		{"enrollment groups", request{method: "PUT", path: "/enrollmentGroups/g", token: good, body: "{}"}, 400, "400004", "attestation.type is missing"},
		{"registrations of a group", request{method: "POST", path: "/registrations/g/query", token: good}, 404, "404204", "no enrollment group"},
		{"method that is not possible", request{method: "PATCH", path: "/enrollments/d1", token: good}, 405, "405000", "GET, PUT, DELETE"},
		{"a device without certificate", request{method: "PUT", path: "/" + scope + "/registrations/d1/register", body: `{"registrationId":"d1"}`}, 401, "401002", "certificate"},
		{"a reader that asks for nonsense", request{method: "GET", path: "/berth/hub/telemetry?from=yesterday", token: h.hubToken()}, 400, "", "earliest"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := h.do(c.request)
			if got.status != c.status || c.code != "" && got.header.Get("x-ms-error-code") != c.code || !strings.Contains(got.text, c.says) {
				t.Errorf("answered %d, code %s, %s; want %d, %s, %q", got.status, got.header.Get("x-ms-error-code"), got.text, c.status, c.code, c.says)
			}
			if strings.Contains(got.text, `"info"`) {
				t.Errorf("%s has what is meant for forms", got.text)
			}
		})
	}
	if counts, _ := h.config.Provisioning.Counts(context.Background()); counts.Enrollments != 0 {
		t.Errorf("%d enrollments were stored", counts.Enrollments)
	}
	recorded := h.do(request{method: "GET", path: "/berth/provisioning/attempts?refused=true&max=5", token: good})
	if recorded.status != 200 || !strings.Contains(recorded.text, `"name":"client certificate"`) {
		t.Errorf("the attempts are %+v", recorded)
	}
}

// A device registers by HTTPS with its certificate in the TLS handshake.
func TestADeviceRegistersByHTTPS(t *testing.T) {
	h := newHouse(t)
	certificate, key := certificatePEM(t, "d1")
	if got := h.do(request{method: "PUT", path: "/enrollments/d1", token: h.dpsToken(), body: enrollmentBody("d1", certificate)}); got.status != 200 {
		t.Fatalf("enrolling is answered %+v", got)
	}
	pair, err := tls.X509KeyPair([]byte(certificate), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	client := h.server.Client()
	client.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{pair}
	send := func(method, path, body string) (int, map[string]any) {
		t.Helper()
		request, err := http.NewRequest(method, h.server.URL+path+"?api-version=2019-03-31", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json; charset=utf-8")
		answer, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		var fields map[string]any
		if err := json.NewDecoder(answer.Body).Decode(&fields); err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, fields
	}
	status, operation := send("PUT", "/"+scope+"/registrations/d1/register", `{"registrationId":"d1"}`)
	if status != 202 || operation["status"] != "assigned" { // never 200: see register
		t.Fatalf("registering is answered %d %v", status, operation)
	}
	if status, again := send("GET", fmt.Sprintf("/%s/registrations/d1/operations/%s", scope, operation["operationId"]), "{}"); status != 200 || again["status"] != "assigned" {
		t.Errorf("polling is answered %d %v", status, again)
	}
	if status, state := send("POST", "/"+scope+"/registrations/d1", `{"registrationId":"d1"}`); status != 200 || state["assignedHub"] != "hub.local" {
		t.Errorf("looking up is answered %d %v", status, state)
	}
}

func TestWebSockets(t *testing.T) {
	h := newHouse(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, c := range []struct {
		path, protocol string
		ok             bool
	}{
		{"/$iothub/websocket", "mqtt", true},
		{"/%24iothub/websocket?iothub-no-client-cert=true", "MQTT", true},
		{"/", "mqtt", true},
		{"/$iothub/websocket", "AMQPWSB10", false},
		{"/$iothub/websocket", "", false},
	} {
		options := &websocket.DialOptions{HTTPClient: h.server.Client()}
		if c.protocol != "" {
			options.Subprotocols = []string{c.protocol}
		}
		socket, answer, err := websocket.Dial(ctx, h.server.URL+c.path, options)
		if !c.ok {
			if err == nil || answer == nil || answer.StatusCode != 400 {
				t.Errorf("%s with %q is answered %v, error %v", c.path, c.protocol, answer, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s with %q: %v", c.path, c.protocol, err)
			continue
		}
		if socket.Subprotocol() != c.protocol {
			t.Errorf("%s: the subprotocol is %q, asked for %q", c.path, socket.Subprotocol(), c.protocol)
		}
		conn := websocket.NetConn(ctx, socket, websocket.MessageBinary)
		if _, err := conn.Write([]byte("hello")); err != nil {
			t.Error(err)
		}
		echoed := make([]byte, 5)
		if _, err := io.ReadFull(conn, echoed); err != nil || string(echoed) != "hello" {
			t.Errorf("%s: read %q, error %v", c.path, echoed, err)
		}
		conn.Close()
	}
}

func TestTelemetryIsStreamed(t *testing.T) {
	h := newHouse(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	send := h.sender(ctx, "d")
	send("before")
	request, err := http.NewRequestWithContext(ctx, "GET", h.server.URL+"/berth/hub/telemetry?from=earliest", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "hub.local"
	request.Header.Set("Authorization", h.hubToken())
	answer, err := h.server.Client().Do(request)
	if err != nil || answer.StatusCode != 200 {
		t.Fatalf("answered %v, error %v", answer, err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	for _, want := range []string{"before", "one", "two"} {
		if !lines.Scan() {
			t.Fatalf("the stream ended: %v", lines.Err())
		}
		var message telemetry.Message
		if err := json.Unmarshal(lines.Bytes(), &message); err != nil || message.Body != want {
			t.Fatalf("read %s, error %v, want %s", lines.Bytes(), err, want)
		}
		switch want { // each is sent after the one before has come through
		case "before":
			send("one")
		case "one":
			send("two")
		}
	}
}

// FuzzRequest sends requests that have passed authorization: every answer is a
// status, and JSON where it is an error.
func FuzzRequest(f *testing.F) {
	h := newHouse(f)
	certificate, _ := certificatePEM(f, "d1")
	f.Add("PUT", "/enrollments/d1", `"*"`, enrollmentBody("d1", certificate))
	f.Add("POST", "/enrollments/query", "", `{"query":"SELECT * FROM enrollments"}`)
	f.Add("POST", "/enrollments", "", `{"mode":"delete","enrollments":[{"registrationId":"d1"}]}`)
	f.Add("PUT", "/devices/d1", "", `{"deviceId":"d1"}`)
	f.Add("PATCH", "/twins/d1", "*", `{"tags":{"a":{"b":null}},"properties":{"desired":{"c":[1]}}}`)
	f.Add("POST", "/devices", "", `[{"id":"b1","importMode":"create"}]`)
	f.Add("PUT", "/"+scope+"/registrations/d1/register", "", `{"registrationId":"d1"}`)
	dps, iot := h.dpsToken(), h.hubToken()
	f.Fuzz(func(t *testing.T, method, path, ifMatch, body string) {
		for _, token := range []string{dps, iot} {
			request, err := http.NewRequest(method, "https://dps.local"+path+"?api-version=2021-10-01", strings.NewReader(body))
			if err != nil || strings.Contains(strings.ToLower(request.URL.Path), "telemetry") { // which never ends by itself
				return
			}
			if token == iot {
				request.Host = "hub.local"
			}
			request.Header.Set("Authorization", token)
			request.Header.Set("If-Match", ifMatch)
			recorder := httptest.NewRecorder()
			h.handler.ServeHTTP(recorder, request)
			if recorder.Code >= 500 {
				t.Errorf("%s %q is answered %d %s", method, path, recorder.Code, recorder.Body)
			}
			if recorder.Code >= 400 && !json.Valid(recorder.Body.Bytes()) {
				t.Errorf("%s %q is answered %d %s", method, path, recorder.Code, recorder.Body)
			}
		}
	})
}
