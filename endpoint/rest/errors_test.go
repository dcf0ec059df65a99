package rest

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/endpoint/https/httpstest"
	endpointmqtt "github.com/berth-iot/berth/endpoint/mqtt"
	"github.com/berth-iot/berth/fault"
)

var update = flag.Bool("update", false, "write docs/errors.md and openapi.json anew")

// TestErrorsAreDocumented has every code rendered at every door, each of which says the
// same in its own form. What comes out is the documentation of the codes.
func TestErrorsAreDocumented(t *testing.T) {
	codes := fault.Codes()
	slices.Sort(codes)
	var table strings.Builder
	for _, code := range codes {
		if code.Status() < 400 || code.Status() > 599 || strings.HasPrefix(code.Name(), "Error") {
			t.Errorf("the code %d has the status %d and the name %s", int(code), code.Status(), code.Name())
		}
		problem := fault.New(code, "What was wrong; what to do")
		problem.TrackingID, problem.RetryAfter = "00000000-0000-4000-8000-000000000000", time.Second
		dps, iot := renderHTTPS(https.ProvisioningAPI, problem), renderHTTPS(https.HubAPI, problem)
		methods := rendered{httptest.NewRecorder()}
		https.WriteNestedFault(methods, problem)
		modules := rendered{httptest.NewRecorder()}
		https.WriteFlatFault(modules, problem)
		want := map[string]string{
			"the provisioning service over HTTPS": fmt.Sprintf("%d [%d] [%s] 1 %s", code.Status(), int(code),
				problem.TrackingID, detailsOf(problem, "")),
			"a hub over HTTPS": fmt.Sprintf("%d [%s] [%s] 1 %s", code.Status(), code.Name(), problem.TrackingID,
				`{"Message":"ErrorCode:`+code.Name()+`;What was wrong, what to do",`+
					`"ExceptionMessage":"Tracking ID:`+problem.TrackingID+`-TimeStamp:…"}`),
			"methods of a hub over HTTPS": fmt.Sprintf("%d [%s] [%s] 1 %s", code.Status(), code.Name(), problem.TrackingID,
				`{"Message":`+quoted(detailsOf(problem, `,"info":{}`))+`,"ExceptionMessage":""}`),
			"modules of a hub over HTTPS": fmt.Sprintf("%d [%s] [%s] 1 %s", code.Status(), code.Name(), problem.TrackingID,
				detailsOf(problem, "")),
			"registrations and twins over MQTT": detailsOf(problem, ""),
			"certificates over MQTT":            detailsOf(problem, `,"info":null`),
		}
		for door, got := range map[string]string{
			"the provisioning service over HTTPS": dps.text("x-ms-error-code"),
			"a hub over HTTPS":                    iot.text("iothub-errorcode"),
			"methods of a hub over HTTPS":         methods.text("iothub-errorcode"),
			"modules of a hub over HTTPS":         modules.text("iothub-errorcode"),
			"registrations and twins over MQTT":   timeless(endpointmqtt.ErrorBody(problem, time.Now())),
			"certificates over MQTT":              timeless(endpointmqtt.CertificateErrorBody(problem, time.Now())),
		} {
			if got != want[door] {
				t.Errorf("%d of %s: %s, want %s", int(code), door, got, want[door])
			}
		}
		if meanings[code] == "" {
			t.Errorf("the code %d has no meaning: give it one in meanings", int(code))
		}
		fmt.Fprintf(&table, "| %d | %s | %d | %d | %s |\n", int(code), code.Name(), code.Status(),
			endpointmqtt.ConnectCode(problem), meanings[code])
	}
	head := strings.NewReplacer(
		"{provisioning}", example(https.ProvisioningAPI, fault.EnrollmentNotFound, "x-ms-error-code"),
		"{hub}", example(https.HubAPI, fault.DeviceNotFound, "iothub-errorcode"),
		"{method}", nestedExample(fault.DeviceNotOnline)).Replace(errorsHead)
	page := head + table.String() + errorsTail
	const path = "../../docs/errors.md"
	if *update {
		if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(written) != page {
		t.Errorf("%s is not what the code says; write it anew: go test ./endpoint/rest -run Documented -update", path)
	}
}

// rendered is a refusal as it goes out over HTTPS.
type rendered struct{ *httptest.ResponseRecorder }

func renderHTTPS(answering https.API, problem *fault.Error) rendered {
	r := rendered{httptest.NewRecorder()}
	https.WriteFault(r, answering, problem)
	return r
}

// text is the status, the header with the code, tracking id, wait and body.
func (r rendered) text(codeHeader string) string {
	return fmt.Sprint(r.Code, asSpelled(r.Header(), codeHeader), asSpelled(r.Header(), "x-ms-request-id"), " ",
		r.Header().Get("Retry-After"), " ", timeless(r.Body.Bytes()))
}

// detailsOf is the body of the provisioning service, and of a hub over MQTT.
func detailsOf(problem *fault.Error, info string) string {
	return fmt.Sprintf(`{"errorCode":%d,"trackingId":"%s","message":"%s","timestampUtc":"…"%s}`, int(problem.Code),
		problem.TrackingID, problem.Message, info)
}

// quoted is a text as a string in JSON.
func quoted(text string) string {
	encoded, err := json.Marshal(text)
	if err != nil {
		panic(err) // a string is JSON
	}
	return string(encoded)
}

var moment = regexp.MustCompile(`\d{4}-\d{2}-\d{2}T[\d:]+\.\d{7}Z|\d{2}/\d{2}/\d{4} [\d:]{8}`)

// timeless is a body with its time left out.
func timeless(body []byte) string { return moment.ReplaceAllString(string(body), "…") }

// example is the header with the code, and the body, of a refusal whose words are left
// out.
func example(answering https.API, code fault.Code, codeHeader string) string {
	problem := fault.New(code, "…")
	problem.TrackingID = "…"
	r := renderHTTPS(answering, problem)
	return codeHeader + ": " + strings.Join(asSpelled(r.Header(), codeHeader), "") + "\n    " + timeless(r.Body.Bytes())
}

// nestedExample is the body of a refusal of a call of a method.
func nestedExample(code fault.Code) string {
	problem := fault.New(code, "…")
	problem.TrackingID = "…"
	r := httptest.NewRecorder()
	https.WriteNestedFault(r, problem)
	return timeless(r.Body.Bytes())
}

const errorsHead = `# Error codes

A refusal has a code of six digits, whose first three are the HTTP status; codes
and names are Azure's. It has a message that says what to do, and a tracking id
that also stands in the server's log and, for a refused registration, in its
attempt (` + "`berth attempts`" + `).

The provisioning service answers over HTTPS with

    {provisioning}

and over MQTT with the same body on ` + "`$dps/registrations/res/{status}/?$rid=…`" + `. A hub
answers over HTTPS with

    {hub}

to operations on modules with that header and the provisioning service's body, and to
calls of direct methods, as Azure does, with JSON in a string:

    {method}

Over MQTT it answers, for twins, with the provisioning service's body on
` + "`$iothub/twin/res/{status}/?$rid=…`" + `, and for certificates likewise on
` + "`$iothub/credentials/res/{status}/?$rid=…`" + `, [with ` + "`info`" + `](#certificate-requests-at-a-hub).
A connection that is refused gets CONNACK 5
(not authorized), or 3 (server unavailable) when trying again may help; the
reason is in the server's log.

| code | name | HTTP status | CONNACK | meaning |
|---|---|---|---|---|
`

const errorsTail = `
## Certificate requests at a hub

Azure's answers, in all of which ` + "`info`" + ` is an object or null:

| when | code | ` + "`info`" + ` |
|---|---|---|
| the request is not well formed, or is refused before it is taken | 400004, 400006, 429001 | null |
| ` + "`replace`" + ` names a request that is not under way | 412001 | ` + "`{requestId}`" + `, the one that was named |
| another request of the device is under way | 409005 | ` + "`{requestId, operationExpires, correlationId}`" + ` of that one |
| after the 202, when the request can't be met | 400040, or 503001 when that is for whoever runs the service to put right | ` + "`{correlationId, credentialError, credentialMessage}`" + `: ` + "`credentialError`" + ` is the code of what is wrong |

The correlation id is that of the 202, and stands in the log's line. There are two
sources for two of the codes: Microsoft's Java client of March 2026 (branch ` + "`feature/csr`" + `)
knows 400040 as CredentialOperationFailed and 409005 as CredentialOperationActive, and
these are what Berth answers; the scenarios written down for the C# client in January 2026
(branch ` + "`feature/iot-csr-preview`" + `) have 400037 and 409004 in their places. Clients that go
by the status, as both do, see no difference.
`

// meanings say when a code is answered.
var meanings = map[fault.Code]string{
	fault.BadRequest: "The request breaks its protocol: an address that is not percent-encoded, a body " +
		"that did not arrive whole, a WebSocket of another subprotocol",
	fault.InvalidProtocolVersion: "The api-version is missing or is none",
	fault.ArgumentInvalid:        "A value is not allowed; the message names it and what is",
	fault.ArgumentNull:           "The body, or a value that is needed, is missing",
	fault.BadFormat:              "The body is not the JSON of what is wanted; the message gives the line or the field",
	fault.InvalidRegistrationID:  "The registration id breaks the rules, or body and address name different ones",
	fault.TooManyEnrollments:     "A bulk operation has no items, or more than the service takes at once",
	fault.AllocationFailed:       "The webhook of a custom allocation did not answer, or with nothing that can be used",
	fault.HubNotSpecified: "The enrollment, or the webhook of its custom allocation, names no hub that is " +
		"linked to the service",
	fault.WebhookUnauthorized: "The webhook of a custom allocation refused the service",
	fault.InvalidTargetCondition: "The target condition of a configuration can't be read, or asks for what it " +
		"may not",
	fault.InvalidContent: "The content of a configuration is none, or can't become part of the desired properties of " +
		"a twin",
	fault.InvalidMetricsQuery:   "The query of a metric can't be read, or there are too many",
	fault.ConfigurationNotFound: "The hub has no such configuration",
	fault.ConfigurationExists:   "There is a configuration of this id already; If-Match updates it",
	fault.TooManyConfigurations: "The hub has as many configurations as it may",
	fault.Unauthorized:          "The client id does not belong to the user name",
	fault.UnauthorizedAccess: "The device could not prove that it may come in, or the token is not good for " +
		"this service or this operation",
	fault.TokenExpired: "The token has expired; make a new one and check the clock",
	fault.Forbidden: "The portal: the form was not made for this session, or the one who is logged in " +
		"may only read",
	fault.NotFound:       "There is nothing at the address, or this version does not serve it",
	fault.DeviceNotFound: "The hub has no such device",
	fault.ModuleNotFound: "The device has no such module",
	fault.SystemModuleModification: "The module is a system module of an IoT Edge device, and stays as long as that " +
		"is one",
	fault.ModuleAlreadyExists:  "The device has a module of this id already",
	fault.TooManyModules:       "The device has as many modules as it can have",
	fault.HubNotFound:          "No hub here has the host name of the request",
	fault.EnrollmentNotFound:   "There is no such enrollment",
	fault.RegistrationNotFound: "The device has not registered",
	fault.GroupNotFound:        "There is no such enrollment group",
	fault.OperationNotFound:    "The operation is not the device's last; register again",
	fault.DeviceNotOnline: "The device is not connected, or has not subscribed to methods; `info` says how long the " +
		"call has waited for it",
	fault.DeviceGone:       "The connection of the device ended before it answered the method",
	fault.MethodNotAllowed: "The address takes other methods, which the header Allow lists",
	fault.DeviceAlreadyExists: "The device id is taken; to a device that registers: it belongs to another " +
		"device, whom its group may not replace",
	fault.DigitalTwinJSONPatchInvalid: "The body is no JSON Patch, or has too many operations",
	fault.DigitalTwinPayloadInvalid:   "A value in a patch of a digital twin is none that a property of a model can have",
	fault.DigitalTwinPatchInvalid: "A patch of a digital twin asks for an operation that there is not, or that " +
		"does not fit the twin",
	fault.DigitalTwinPatchPathInvalid: "A path in a patch of a digital twin is none of a property or a component",
	fault.ConnectionRejected:          "An injected fault refuses the device for now; try again",
	fault.CredentialRequestInvalid: "The hub has taken the certificate signing request and can't meet it; message " +
		"and `info` say what is wrong with it, or with the device's enrollment",
	fault.QuotaExceeded: "There may be no more of this, by the limits that the server was given",
	fault.TooManyCalls:  "The device has as many calls of methods under way as it may: 512, or 512 KiB of payloads",
	fault.QueueFull:     "The device's queue holds as many messages as it may",
	fault.InvalidMessageExpiry: "The message expired before it was sent, or would not for longer than queues " +
		"keep messages",
	fault.InvalidContainer: "The address of a container of blobs can't be one, is not allowed, or does not " +
		"answer as one",
	fault.JobQuotaExceeded:          "There is an import or export that has not ended, and there is one at a time",
	fault.JobNotFound:               "There is no such job",
	fault.JobAlreadyExists:          "The job id is taken; a job keeps it for 30 days after its end",
	fault.OperationNotAllowed:       "A job that has begun, or ended, can't be cancelled",
	fault.TooManyActiveJobs:         "There are as many jobs that have not ended as there may be",
	fault.JobCancelled:              "In what became of a device in a job: its turn did not come, or was broken off",
	fault.Conflict:                  "What was asked for is in the way of something that is there; the message says of what",
	fault.EnrollmentConflict:        "The registration id is enrolled already",
	fault.RegistrationConflict:      "The registration was changed while the device was being assigned; register again",
	fault.CredentialOperationActive: "Another certificate signing request of the device is under way; `info` says which",
	fault.PreconditionFailed:        "The thing was changed since it was read: If-Match does not fit its ETag",
	fault.MessageLockLost:           "There is no message under the lock token: it was settled, or its time was over",
	fault.MessageTooLarge:           "The message or body is larger than the limit, which the message gives",
	fault.UnsupportedMediaType:      "The body is not application/json",
	fault.Throttled:                 "Too many requests; Retry-After says when to come back, and a hub's message",
	fault.Unavailable: "The server's disk is full, and nothing was changed: try again when there is " +
		"room. Or the portal keeps too many pages up to date already. To a device that asks for a certificate: its " +
		"credential policy, or the issuing authority of that, is missing or can't sign, which is for whoever runs the " +
		"service to put right",
	fault.BadGateway: "What the device answered to a method is no JSON, or more than 128 KiB, or has no number " +
		"as status",
	fault.GatewayTimeout: "The device did not answer the method in time",
	fault.Internal:       "The server could not do it; its log says why, under the tracking id",
}

// asSpelled is a header by its name exactly as it goes out.
func asSpelled(header http.Header, name string) []string { return header[name] }

// A hub's errors have no semicolons of their own, at which clients take them apart, and
// quote others as they were sent.
func TestHubErrorsQuoteWhatWasSent(t *testing.T) {
	h := newFixture(t)
	for path, says := range map[string]string{
		"/devices/s1;x=1":      `ErrorCode:DeviceNotFound;There is no device "s1;x=1"`,
		"/devices/s%3B%201":    `The device id "s; 1" has the character ' '`,
		"/devices/s%3B%202":    "Letters, digits and - : . + % _ # * ? ! ( ) , = @ ; $ ' are allowed",
		"/twins/%E2%82%AC":     `The device id "€" has the character '€'`,
		"/devices?top=%3B%201": `top must be a whole number from 1, not "; 1"`,
	} {
		got := h.Do(httpstest.Request{Method: "GET", Path: path, Token: h.HubToken()})
		if message, _ := got.Fields["Message"].(string); !strings.Contains(message, says) {
			t.Errorf("%s is answered %s, want %s", path, got.Text, says)
		}
	}
	got := h.Do(httpstest.Request{Method: "PATCH", Path: "/twins/d", Token: h.HubToken(), Body: `{"a":1;}`})
	message, _ := got.Fields["Message"].(string)
	if !strings.Contains(message, "';' can't stand in line 1 at character 7") {
		t.Errorf("JSON with a semicolon is answered %s", got.Text)
	}
}

// A hub that is not here is answered as Azure numbers it: 404104 is another error there.
func TestUnknownHub(t *testing.T) {
	h := newFixture(t)
	h.Config.Hubs.Add(h.Config.Hubs.All()[0]) // a hub that is alone is meant by any host
	const address = "https://other.local/devices?api-version=2021-04-12"
	request := httptest.NewRequestWithContext(t.Context(), "GET", address, nil)
	request.Header.Set("Authorization", h.HubToken())
	recorder := httptest.NewRecorder()
	h.Handler.ServeHTTP(recorder, request)
	if recorder.Code != 401 ||
		!strings.Contains(recorder.Body.String(), "ErrorCode:IotHubNotFound") || fault.HubNotFound != 401001 {
		t.Errorf("answered %d %v %s", recorder.Code, recorder.Header(), recorder.Body)
	}
}
