package rest

import (
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

	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/endpoint/https/httpstest"
)

func TestEnrollmentsOverREST(t *testing.T) {
	h := newFixture(t)
	token := h.DPSToken()
	certificate, _ := httpstest.CertificatePEM(t, "d1")
	created := h.Do(httpstest.Request{Method: "PUT", Path: "/enrollments/d1", Token: token,
		Body: httpstest.EnrollmentBody("d1", certificate)})
	etag, _ := created.Fields["etag"].(string)
	if created.Status != 200 || etag == "" || created.Header.Get("ETag") != etag ||
		created.Header.Get("x-ms-request-id") == "" {
		t.Fatalf("created: %+v", created)
	}
	if strings.Contains(created.Text, "BEGIN CERTIFICATE") || !strings.Contains(created.Text, `"subjectName":"CN=d1"`) {
		t.Errorf("created: %s", created.Text)
	}
	for _, c := range []struct {
		name string
		httpstest.Request
		status int
		text   string
	}{
		{"get, with other case in the path", httpstest.Request{Method: "GET", Path: "/ENROLLMENTS/d1", Token: token},
			200, `"registrationId":"d1"`},
		{"attestation mechanism", httpstest.Request{Method: "POST", Path: "/enrollments/d1/attestationMechanism",
			Token: token}, 200, `"type":"x509"`},
		{"query", httpstest.Request{Method: "POST", Path: "/enrollments/query", Token: token,
			Body: `{"query":"select * from Enrollments"}`}, 200, `"d1"`},
		{"query of another form", httpstest.Request{Method: "POST", Path: "/enrollments/query", Token: token,
			Body: `{"query":"SELECT * FROM enrollments WHERE x=1"}`}, 400, "has WHERE"},
		{"bulk", httpstest.Request{Method: "POST", Path: "/enrollments/", Token: token,
			Body: `{"mode":"create","enrollments":[` + httpstest.EnrollmentBody("d1",
				certificate) + `,` + httpstest.EnrollmentBody("d2", certificate) + `]}`}, 200,
			`"isSuccessful":false,"errors":[{"registrationId":"d1","errorCode":409202`},
		{"bulk of nothing", httpstest.Request{Method: "POST", Path: "/enrollments", Token: token,
			Body: `{"mode":"create","enrollments":[]}`}, 400, "1 to 10"},
		{"bulk on a condition without an ETag", httpstest.Request{Method: "POST", Path: "/enrollments", Token: token,
			Body: `{"mode":"updateIfMatchETag","enrollments":[` + httpstest.EnrollmentBody("d2", certificate) + `]}`},
			200, `"isSuccessful":false,"errors":[{"registrationId":"d2","errorCode":400005`},
		{"bulk on a condition that does not hold", httpstest.Request{Method: "POST", Path: "/enrollments",
			Token: token, Body: `{"mode":"updateIfMatchETag","enrollments":[` +
				strings.Replace(httpstest.EnrollmentBody("d2", certificate), "{", `{"etag":"\"other\"",`, 1) + `]}`},
			200, `"errorCode":412001`},
		{"bulk without a mode", httpstest.Request{Method: "POST", Path: "/enrollments", Token: token,
			Body: `{"enrollments":[` + httpstest.EnrollmentBody("d1", certificate) + `]}`}, 400, "mode must be"},
		{"page", httpstest.Request{Method: "GET", Path: "/berth/provisioning/enrollments?prefix=d&top=1",
			Token: token}, 200, `"next":"d1"`},
		{"wrong ETag", httpstest.Request{Method: "DELETE", Path: "/enrollments/d1", Token: token,
			Header: http.Header{"If-Match": {`"other"`}}}, 412, "412001"},
		{"delete", httpstest.Request{Method: "DELETE", Path: "/enrollments/d1", Token: token,
			Header: http.Header{"If-Match": {etag}}}, 204, ""},
		{"get what is gone", httpstest.Request{Method: "GET", Path: "/enrollments/d1", Token: token}, 404, "404201"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := h.Do(c.Request); got.Status != c.status || !strings.Contains(got.Text, c.text) {
				t.Errorf("answered %d %s, want %d with %q", got.Status, got.Text, c.status, c.text)
			}
		})
	}
}

func TestQueryInPages(t *testing.T) {
	h := newFixture(t)
	token := h.DPSToken()
	certificate, _ := httpstest.CertificatePEM(t, "x")
	for i := range 5 {
		if got := h.Do(httpstest.Request{Method: "PUT", Path: fmt.Sprintf("/enrollments/e%d", i), Token: token,
			Body: httpstest.EnrollmentBody(fmt.Sprintf("e%d", i), certificate)}); got.Status != 200 {
			t.Fatalf("answered %+v", got)
		}
	}
	var seen int
	header := http.Header{"X-Ms-Max-Item-Count": {"2"}}
	for pages := 0; ; pages++ {
		got := h.Do(httpstest.Request{Method: "POST", Path: "/enrollments/query", Token: token,
			Body: `{"query":"SELECT * FROM enrollments"}`, Header: header})
		seen += strings.Count(got.Text, `"registrationId"`)
		if got.Header.Get("x-ms-item-type") != "enrollment" {
			t.Errorf("the item type is %q", got.Header.Get("x-ms-item-type"))
		}
		next, more := got.Header["X-Ms-Continuation"]
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
	if got := h.Do(httpstest.Request{Method: "POST", Path: "/enrollments/query", Token: token,
		Body: `{"query":"SELECT * FROM enrollments"}`, Header: header}); got.Status != 400 {
		t.Errorf("a continuation of somebody else's is answered %d", got.Status)
	}
}

func TestDevicesOverREST(t *testing.T) {
	h := newFixture(t)
	token := h.HubToken()
	created := h.Do(httpstest.Request{Method: "PUT", Path: "/devices/a%23b", Token: token,
		Body: `{"deviceId":"a#b","cloudToDeviceMessageCount":"0","authentication":{"type":"sas","symmetricKey":{"primaryKey":"","secondaryKey":""}}}`})
	etag, _ := created.Fields["etag"].(string)
	if created.Status != 200 || created.Header.Get("ETag") != `"`+etag+`"` || strings.Contains(etag, `"`) {
		t.Fatalf("created: %+v", created)
	}
	twin := h.Do(httpstest.Request{Method: "GET", Path: "/twins/a%23b", Token: token})
	twinTag, _ := twin.Fields["etag"].(string)
	for _, c := range []struct {
		name string
		httpstest.Request
		status int
		text   string
	}{
		{"create again", httpstest.Request{Method: "PUT", Path: "/devices/a%23b", Token: token,
			Body: `{"deviceId":"a#b"}`}, 409, `"Message":"ErrorCode:DeviceAlreadyExists;`},
		{"update", httpstest.Request{Method: "PUT", Path: "/devices/a%23b", Token: token,
			Body: `{"deviceId":"a#b","status":"disabled"}`, Header: http.Header{"If-Match": {`"*"`}}}, 200,
			`"status":"disabled"`},
		{"update with a stale ETag", httpstest.Request{Method: "PUT", Path: "/devices/a%23b", Token: token,
			Body: `{"deviceId":"a#b"}`, Header: http.Header{"If-Match": {`"` + etag + `"`}}}, 412,
			"PreconditionFailed"},
		{"another id in the body", httpstest.Request{Method: "PUT", Path: "/devices/a%23b", Token: token,
			Body: `{"deviceId":"c"}`}, 400, "ArgumentInvalid"},
		{"list", httpstest.Request{Method: "GET", Path: "/devices/?top=10", Token: token}, 200, `"deviceId":"a#b"`},
		{"list with a bad top", httpstest.Request{Method: "GET", Path: "/devices?top=many", Token: token}, 400,
			"whole number"},
		{"page", httpstest.Request{Method: "GET", Path: "/berth/hub/devices?prefix=a", Token: token}, 200,
			`"items":[{"deviceId":"a#b"`},
		{"patch the twin", httpstest.Request{Method: "PATCH", Path: "/twins/a%23b", Token: token,
			Body: `{"tags":{"x":1}}`, Header: http.Header{"If-Match": {`"` + twinTag + `"`}}}, 200, `"tags":{"x":1}`},
		{"patch it with a stale ETag", httpstest.Request{Method: "PATCH", Path: "/twins/a%23b", Token: token,
			Body: `{"tags":{"x":2}}`, Header: http.Header{"If-Match": {`"` + twinTag + `"`}}}, 412,
			"PreconditionFailed"},
		{"replace the twin", httpstest.Request{Method: "PUT", Path: "/twins/a%23b", Token: token,
			Body: `{"properties":{"desired":{"y":1}}}`}, 200, `"tags":{}`},
		{"a twin over its limits", httpstest.Request{Method: "PATCH", Path: "/twins/a%23b", Token: token,
			Body: `{"tags":{"x":"` + strings.Repeat("x", 5000) + `"}}`}, 400, "4096"},
		{"a twin that is none", httpstest.Request{Method: "PATCH", Path: "/twins/a%23b", Token: token, Body: `[]`},
			400, "ArgumentInvalid"},
		{"statistics", httpstest.Request{Method: "GET", Path: "/statistics/devices", Token: token}, 200,
			`{"totalDeviceCount":1,"enabledDeviceCount":0,"disabledDeviceCount":1}`},
		{"connected", httpstest.Request{Method: "GET", Path: "/statistics/service", Token: token}, 200,
			`{"connectedDeviceCount":0}`},
		{"bulk", httpstest.Request{Method: "POST", Path: "/devices", Token: token,
			Body: `[{"id":"b1","importMode":"create"},{"id":"a#b","importMode":"Delete"},{"id":"b1","importMode":"create"}]`}, 400, `"isSuccessful":false,"errors":[{"deviceId":"b1","errorCode":"DeviceAlreadyExists"`},
		{"bulk on a condition without an ETag", httpstest.Request{Method: "POST", Path: "/devices", Token: token,
			Body: `[{"id":"b1","importMode":"DeleteIfMatchETag"},{"id":"b1","importMode":"updateIfMatchETag","eTag":""}]`}, 400, `"errors":[{"deviceId":"b1","errorCode":"ArgumentNull","errorStatus":"DeleteIfMatchETag needs an etag`},
		{"and so it is still there", httpstest.Request{Method: "GET", Path: "/devices/b1", Token: token}, 200,
			`"deviceId":"b1"`},
		{"bulk on a condition that does not hold", httpstest.Request{Method: "POST", Path: "/devices", Token: token,
			Body: `[{"id":"b1","importMode":"deleteIfMatchETag","eTag":"other"}]`}, 400,
			`"errorCode":"PreconditionFailed"`},
		{"bulk without a known mode", httpstest.Request{Method: "POST", Path: "/devices", Token: token,
			Body: `[{"id":"b1","importMode":"upsert"}]`}, 400, `not \"upsert\"`},
		{"bulk of nothing", httpstest.Request{Method: "POST", Path: "/devices", Token: token, Body: `[]`}, 400,
			"1 to 100"},
		{"a query", httpstest.Request{Method: "POST", Path: "/devices/query", Token: token,
			Body: `{"query":"SELECT * FROM devices"}`}, 200, `"deviceId":"b1"`},
		{"a query with a condition", httpstest.Request{Method: "POST", Path: "/devices/query", Token: token,
			Body: `{"query":"SELECT * FROM devices WHERE tags.x = 1"}`}, 200, "[]"},
		{"a query of members", httpstest.Request{Method: "POST", Path: "/devices/query", Token: token,
			Body: `{"query":"SELECT deviceId AS id, status FROM devices WHERE deviceId IN ['b1']"}`}, 200,
			`[{"id":"b1","status":"enabled"}]`},
		{"a query that can't be read", httpstest.Request{Method: "POST", Path: "/devices/query", Token: token,
			Body: `{"query":"SELECT * FROM devices WHERE tags.x LIKE 1"}`}, 400,
			`ErrorCode:ArgumentInvalid;The query can't be read at line 1, column 36`},
		{"a query without text", httpstest.Request{Method: "POST", Path: "/devices/query", Token: token, Body: `{}`}, 400,
			"must be SELECT"},
		{"a page that this hub did not give", httpstest.Request{Method: "POST", Path: "/devices/query", Token: token,
			Body:   `{"query":"SELECT * FROM devices"}`,
			Header: http.Header{"X-Ms-Continuation": {"YjE="}}}, 400, "The continuation is not one"},
		{"new keys", httpstest.Request{Method: "POST", Path: "/devices/keys/regenerate", Token: token,
			Body: `{"policyKey":"both","devices":[{"id":"b1"},{"id":"c1"},{"id":"b1","moduleId":"m"}]}`}, 207,
			`"errors":[{"id":"c1","errorCode":"DeviceNotFound"`},
		{"new keys of no kind", httpstest.Request{Method: "POST", Path: "/devices/keys/regenerate", Token: token,
			Body: `{"policyKey":"third","devices":[{"id":"b1"}]}`}, 400, "policyKey must be"},
		{"new keys of nobody", httpstest.Request{Method: "POST", Path: "/devices/keys/regenerate", Token: token,
			Body: `{"policyKey":"both","devices":[]}`}, 400, "1 to 100"},
		{"a device that is nothing", httpstest.Request{Method: "PUT", Path: "/devices/c", Token: token, Body: "null"},
			400, "ArgumentNull"},
		{"get what is gone", httpstest.Request{Method: "GET", Path: "/devices/a%23b", Token: token}, 404,
			`"ErrorCode:DeviceNotFound;`},
		{"delete what is gone", httpstest.Request{Method: "DELETE", Path: "/devices/a%23b", Token: token}, 404,
			"DeviceNotFound"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := h.Do(c.Request)
			if got.Status != c.status || !strings.Contains(got.Text, c.text) {
				t.Errorf("answered %d %s, want %d with %q", got.Status, got.Text, c.status, c.text)
			}
			if c.status >= 400 && got.Header.Get("iothub-errorcode") == "" {
				t.Error("there is no iothub-errorcode")
			}
		})
	}
}

// Who may not, who sends nonsense, and what there is not.
func TestRefusedRequests(t *testing.T) {
	h := newFixture(t)
	certificate, key := httpstest.CertificatePEM(t, "d1")
	good, later := h.DPSToken(), time.Now().Add(time.Hour)
	tamper := func(token string) string { return strings.Replace(token, "&se=", "0&se=", 1) }
	body := httpstest.EnrollmentBody("d1", certificate)
	put := func(token, body string) httpstest.Request {
		return httpstest.Request{Method: "PUT", Path: "/enrollments/d1", Token: token, Body: body}
	}
	info := func(member string) string {
		return `{"attestation":{"type":"x509","x509":{"clientCertificates":{"primary":{"info":{` + member + `}}}}}}`
	}
	for _, c := range []struct {
		name string
		httpstest.Request
		status int
		code   string
		says   string
	}{
		{"no token", put("", body), 401, "401002", "Authorization"},
		{"malformed token", put("Basic x", body), 401, "401002", "malformed"},
		{"a token of Entra ID", put("Bearer "+strings.Repeat("eyJ0eXAi", 1000), body), 401, "401002",
			"Entra ID is not known here"},
		{"expired token", put(h.Token("dps.local", "provisioningserviceowner", time.Now().Add(-time.Hour)), body),
			401, "401003", "expired"},
		{"token for another service", put(h.Token("other.local", "provisioningserviceowner", later), body), 401,
			"401002", "other.local"},
		{"wrong signature", put(tamper(good), body), 401, "401002", ""},
		{"policy of the hub", put(h.Token("dps.local", "iothubowner", later), body), 401, "401002", "policy"},
		{"malformed JSON", put(good, "{\n\"registrationId\": d1}"), 400, "400006", "line 2"},
		{"malformed JSON of other letters", put(good, "{\"é\":1,\n\"é\": é}"), 400, "400006",
			"'é' can't stand in line 2 at character 6"},
		{"JSON that is cut off", put(good, "{\"é\":"), 400, "400006", "it ends too early"},
		{"JSON of another shape", put(good, `{"registrationId":["d1"]}`), 400, "400006", "registrationId"},
		{"empty body", put(good, " "), 400, "400005", "no body"},
		{"oversized JSON", put(good, `{"x":"`+strings.Repeat("x", https.SmallBody)+`"}`), 413, "413001", "larger than"},
		{"not JSON", httpstest.Request{Method: "PUT", Path: "/enrollments/d1", Token: good, Body: body,
			Header: http.Header{"Content-Type": {"text/xml"}}}, 415, "415000", "application/json"},
		{"unreadable certificate", put(good, httpstest.EnrollmentBody("d1", "not a certificate")), 400, "400004",
			"no certificate"},
		{"a private key", put(good, httpstest.EnrollmentBody("d1", key)), 400, "400004", "private key"},
		{"PKCS #12", put(good, httpstest.EnrollmentBody("d1", "MIACAQMwgAYJKoZIhvcNAQcBoIA=")), 400, "400004",
			"openssl pkcs12 -in FILE -clcerts -nokeys"},
		{"certificate and key", put(good, httpstest.EnrollmentBody("d1", certificate+key)), 400, "400004",
			"private key"},
		{"id that breaks the rules", httpstest.Request{Method: "PUT", Path: "/enrollments/d%2F1", Token: good,
			Body: httpstest.EnrollmentBody("d/1", certificate)}, 400, "400202", "character"},
		{"another id in the body", put(good, httpstest.EnrollmentBody("d2", certificate)), 400, "400202", "d2"},
		{"wrong ETag", httpstest.Request{Method: "PUT", Path: "/enrollments/d1", Token: good, Body: body,
			Header: http.Header{"If-Match": {`"x"`}}}, 412, "412001", ""},
		{"unknown path", httpstest.Request{Method: "GET", Path: "/nothing/here", Token: good}, 404, "404000",
			"/nothing/here"},
		{"an api-version that is none", httpstest.Request{Method: "GET", Path: "/enrollments/d1?api-version=latest",
			Token: good}, 400, "400001", "latest"},
		{"JSON that is nothing", put(good, "null"), 400, "400005", "no body"},
		{"JSON of a wrong kind", put(good, "[]"), 400, "400006", "it must be an object, not an array"},
		{"JSON and more", put(good, body+"x"), 400, "400006", "something follows its end, at byte"},
		{"a time that is a number", put(good, `{"attestation":{"x509":{"clientCertificates":{"primary":{"info":`+
			`{"notAfterUtc":5}}}}}}`), 400, "400006",
			"primary.info.notAfterUtc must be a time such as 2026-11-23T12:00:00Z, not a number"},
		{"hubs that are a string", put(good, `{"iotHubs":"x"}`), 400, "400006",
			"fit: iotHubs must be an array, not a string"},
		{"a hub that is a number", put(good, `{"iotHubs":["x",1]}`), 400, "400006",
			"fit: iotHubs[1] must be a string, not a number"},
		{"an id that is a number", put(good, `{"deviceId":5}`), 400, "400006",
			"fit: deviceId must be a string, not a number"},
		{"a version that is no whole number", put(good, info(`"version":3.0`)), 400, "400006",
			"fit: attestation.x509.clientCertificates.primary.info.version must be a whole number, not 3.0"},
		{"a time that is none", put(good, `{"attestation":{"x509":{"clientCertificates":{"primary":{"info":`+
			`{"notAfterUtc":"yesterday"}}}}}}`), 400, "400006", "yesterday"},
		{"enrollment groups", httpstest.Request{Method: "PUT", Path: "/enrollmentGroups/g", Token: good, Body: "{}"},
			400, "400004", "attestation.type is missing"},
		{"registrations of a group", httpstest.Request{Method: "POST", Path: "/registrations/g/query", Token: good},
			404, "404204", "no enrollment group"},
		{"method that is not possible", httpstest.Request{Method: "PATCH", Path: "/enrollments/d1", Token: good}, 405,
			"405000", "GET, PUT, DELETE"},
		{"a device without certificate", httpstest.Request{Method: "PUT",
			Path: "/" + httpstest.Scope + "/registrations/d1/register", Body: `{"registrationId":"d1"}`}, 401,
			"401002", "certificate"},
		{"a reader that asks for nonsense", httpstest.Request{Method: "GET",
			Path: "/berth/hub/telemetry?from=yesterday", Token: h.HubToken()}, 400, "", "earliest"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := h.Do(c.Request)
			if got.Status != c.status || c.code != "" && got.Header.Get("x-ms-error-code") != c.code ||
				!strings.Contains(got.Text, c.says) {
				t.Errorf("answered %d, code %s, %s; want %d, %s, %q", got.Status, got.Header.Get("x-ms-error-code"),
					got.Text, c.status, c.code, c.says)
			}
			if strings.Contains(got.Text, `"info"`) {
				t.Errorf("%s has what is meant for forms", got.Text)
			}
		})
	}
	if counts, _ := h.Config.Provisioning.Counts(context.Background()); counts.Enrollments != 0 {
		t.Errorf("%d enrollments were stored", counts.Enrollments)
	}
	recorded := h.Do(httpstest.Request{Method: "GET", Path: "/berth/provisioning/attempts?refused=true&max=5",
		Token: good})
	if recorded.Status != 200 || !strings.Contains(recorded.Text, `"name":"client certificate"`) {
		t.Errorf("the attempts are %+v", recorded)
	}
}

// A device registers by HTTPS with its certificate in the TLS handshake.
func TestRegisterHTTPS(t *testing.T) {
	h := newFixture(t)
	certificate, key := httpstest.CertificatePEM(t, "d1")
	if got := h.Do(httpstest.Request{Method: "PUT", Path: "/enrollments/d1", Token: h.DPSToken(),
		Body: httpstest.EnrollmentBody("d1", certificate)}); got.Status != 200 {
		t.Fatalf("enrolling is answered %+v", got)
	}
	pair, err := tls.X509KeyPair([]byte(certificate), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	client := h.Server.Client()
	client.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{pair}
	send := func(method, path, body string) (int, map[string]any) {
		t.Helper()
		request, err := http.NewRequest(method, h.Server.URL+path+"?api-version=2019-03-31", strings.NewReader(body))
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
	status, operation := send("PUT", "/"+httpstest.Scope+"/registrations/d1/register", `{"registrationId":"d1"}`)
	if status != 202 || operation["status"] != "assigned" { // never 200: see register
		t.Fatalf("registering is answered %d %v", status, operation)
	}
	if status, again := send("GET", fmt.Sprintf("/%s/registrations/d1/operations/%s", httpstest.Scope,
		operation["operationId"]), "{}"); status != 200 || again["status"] != "assigned" {
		t.Errorf("polling is answered %d %v", status, again)
	}
	if status, state := send("POST", "/"+httpstest.Scope+"/registrations/d1",
		`{"registrationId":"d1"}`); status != 200 || state["assignedHub"] != "hub.local" {
		t.Errorf("looking up is answered %d %v", status, state)
	}
}

func TestWebSockets(t *testing.T) {
	h := newFixture(t)
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
		options := &websocket.DialOptions{HTTPClient: h.Server.Client()}
		if c.protocol != "" {
			options.Subprotocols = []string{c.protocol}
		}
		socket, answer, err := websocket.Dial(ctx, h.Server.URL+c.path, options)
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

// FuzzRequest sends requests that have passed authorization: every answer is a
// status, and JSON where it is an error.
func FuzzRequest(f *testing.F) {
	h := newFixture(f)
	certificate, _ := httpstest.CertificatePEM(f, "d1")
	f.Add("PUT", "/enrollments/d1", `"*"`, httpstest.EnrollmentBody("d1", certificate))
	f.Add("POST", "/enrollments/query", "", `{"query":"SELECT * FROM enrollments"}`)
	f.Add("POST", "/enrollments", "", `{"mode":"delete","enrollments":[{"registrationId":"d1"}]}`)
	f.Add("PUT", "/devices/d1", "", `{"deviceId":"d1"}`)
	f.Add("PATCH", "/twins/d1", "*", `{"tags":{"a":{"b":null}},"properties":{"desired":{"c":[1]}}}`)
	f.Add("POST", "/devices", "", `[{"id":"b1","importMode":"create"}]`)
	f.Add("PUT", "/"+httpstest.Scope+"/registrations/d1/register", "", `{"registrationId":"d1"}`)
	dps, iot := h.DPSToken(), h.HubToken()
	f.Fuzz(func(t *testing.T, method, path, ifMatch, body string) {
		for _, token := range []string{dps, iot} {
			request, err := http.NewRequest(method, "https://dps.local"+path+"?api-version=2021-10-01",
				strings.NewReader(body))
			// which never ends by itself
			if err != nil || strings.Contains(strings.ToLower(request.URL.Path), "telemetry") {
				return
			}
			if token == iot {
				request.Host = "hub.local"
			}
			request.Header.Set("Authorization", token)
			request.Header.Set("If-Match", ifMatch)
			recorder := httptest.NewRecorder()
			h.Handler.ServeHTTP(recorder, request)
			if recorder.Code >= 500 {
				t.Errorf("%s %q is answered %d %s", method, path, recorder.Code, recorder.Body)
			}
			if recorder.Code >= 400 && !json.Valid(recorder.Body.Bytes()) {
				t.Errorf("%s %q is answered %d %s", method, path, recorder.Code, recorder.Body)
			}
		}
	})
}
