package rest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/endpoint/https/httpstest"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/guard"
)

// TestOpenAPIHoldsLive carries out every operation of the document on a live
// server, and holds what is sent and answered against it: field for field, so that
// one that was added or removed shows.
func TestOpenAPIHoldsLive(t *testing.T) {
	l := newLive(t)
	l.registers()
	l.enrolls()
	l.groups()
	l.operatesTheHub()
	l.uploadsAuthorities("/berth/provisioning/certificates")
	l.uploadsAuthorities("/berth/hub/certificates")
	l.allocates()
	l.issues()
	l.managesPolicies()

	l.do("GET /berth/openapi.json", nil, nil)
	l.do("GET /berth/provisioning/service", nil, nil)
	l.do("POST /berth/portal/links", nil, object{"role": "reader"})
	injected := l.do("POST /berth/provisioning/misbehaviours", nil,
		object{"kind": "delay", "times": 2, "seconds": 1, "registrationId": "d1"})
	l.do("POST /berth/provisioning/misbehaviours", nil,
		object{"kind": "wrongHub", "times": 1, "iotHubHostName": "wrong.example"})
	l.do("GET /berth/provisioning/misbehaviours", nil, nil)
	l.do("DELETE /berth/provisioning/misbehaviours/{id}", params{"id": injected.fields["id"].(string)}, nil)
	l.do("DELETE /berth/provisioning/misbehaviours", nil, nil)

	held := l.do("POST /berth/hub/faults", nil, object{"kind": "delay", "times": 2, "seconds": 1, "deviceId": "d1"})
	l.do("GET /berth/hub/faults", nil, nil)
	l.do("DELETE /berth/hub/faults/{id}", params{"id": held.fields["id"].(string)}, nil)
	l.refused("DELETE /berth/hub/faults/{id}", params{"id": "none"}, nil)
	l.refused("POST /berth/hub/faults", nil, object{"kind": "fail", "times": 1, "seconds": 1})
	l.do("DELETE /berth/hub/faults", nil, nil)
	l.do("GET /berth/provisioning/attempts/{sequence}", params{"sequence": "0"}, nil)
	chain, _ := httpstest.CertificatePEM(t, "d1")
	l.do("POST /berth/provisioning/checkchain", nil, object{"certificates": chain, "registrationId": "d1"})
	l.do("GET /berth/provisioning/audit", params{"kind": "enrollment", "top": "5"}, nil)
	l.do("GET /berth/provisioning/audit", nil, nil)
	l.do("GET /berth/provisioning/audit/{bulk}", params{"bulk": l.bulkName()}, nil)
	l.refused("GET /berth/provisioning/audit/{bulk}", params{"bulk": "none"}, nil)
	l.isLockedOut()
	l.Damage(enroll.EnrollmentRecords, "damaged")
	l.do("GET /berth/provisioning/enrollments", nil, nil)
	l.do("GET /berth/unreadable", nil, nil)
	l.do("DELETE /berth/unreadable", params{"collection": enroll.EnrollmentRecords, "key": "damaged"}, nil)
	l.refused("DELETE /berth/unreadable", params{"collection": enroll.EnrollmentRecords, "key": "damaged"}, nil)

	for path, item := range l.document.Paths.Map() {
		for method := range item.Operations() {
			if name := method + " " + path; !l.done[name] {
				t.Errorf("nothing here carries out %s: give it a place", name)
			}
		}
	}
}

// TestOpenAPIHoldsLiveFails proves that a field too many, or too few, is found.
func TestOpenAPIHoldsLiveFails(t *testing.T) {
	l := newLive(t)
	schema := l.document.Components.Schemas["RegistryStatistics"].Value
	for text, fits := range map[string]bool{
		`{"totalDeviceCount":1,"enabledDeviceCount":1,"disabledDeviceCount":0}`:             true,
		`{"totalDeviceCount":1,"enabledDeviceCount":1}`:                                     false,
		`{"totalDeviceCount":1,"enabledDeviceCount":1,"disabledDeviceCount":0,"another":1}`: false,
		`{"totalDeviceCount":"1","enabledDeviceCount":1,"disabledDeviceCount":0}`:           false,
	} {
		var value any
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		if err := schema.VisitJSON(value); (err == nil) != fits {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// live is a server and the document that it is held against.
type live struct {
	*httpstest.Fixture
	document *openapi3.T
	done     map[string]bool // operations, by method and pattern
}

type params map[string]string

func newLive(t *testing.T) *live {
	h := newFixture(t, func(config *provisioning.Config) {
		config.Limits.Lockout = guard.Lockout{Failures: 3, Within: time.Minute, For: time.Minute}
	})
	document, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err == nil {
		err = document.Validate(context.Background())
	}
	if err != nil {
		t.Fatalf("openapi.json is not a document of OpenAPI: %v", err)
	}
	for name, schema := range document.Components.Schemas {
		if len(schema.Value.Properties) == 0 {
			t.Errorf("%s has no fields", name)
		}
		no := false
		schema.Value.AdditionalProperties.Has = &no // clients must stand new fields, this test must not
	}
	openapi3filter.RegisterBodyDecoder(lines,
		func(body io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (value any, err error) {
			err = json.NewDecoder(body).Decode(&value) // the first line stands for all
			return value, err
		})
	openapi3filter.RegisterBodyDecoder(batchType, openapi3filter.JSONBodyDecoder)
	return &live{Fixture: h, document: document, done: make(map[string]bool)}
}

// reply is what came back, its JSON decoded.
type reply struct {
	fields map[string]any
	items  []any
	header http.Header
}

// do carries out an operation, named as in operations, which must succeed.
func (l *live) do(name string, values params, body any, more ...string) reply {
	l.T.Helper()
	answer, ok := l.try(name, values, body, more...)
	if !ok {
		l.T.Fatalf("%s was refused: %v", name, answer.fields)
	}
	return answer
}

// refused carries out an operation that must be refused in the documented form.
func (l *live) refused(name string, values params, body any, more ...string) {
	l.T.Helper()
	if answer, ok := l.try(name, values, body, more...); ok {
		l.T.Fatalf("%s was done: %v", name, answer.fields)
	}
}

// try sends the request. values are those of the path and, by the names that the
// operation has for them, of the query; more are headers, name and value by turns.
func (l *live) try(name string, values params, body any, more ...string) (reply, bool) {
	l.T.Helper()
	method, pattern, _ := strings.Cut(name, " ")
	item := l.document.Paths.Value(pattern)
	if item == nil || item.GetOperation(method) == nil {
		l.T.Fatalf("the document has no %s", name)
	}
	operation := item.GetOperation(method)
	query := url.Values{}
	for _, parameter := range operation.Parameters {
		if value, ok := values[parameter.Value.Name]; ok && parameter.Value.In == "query" {
			query.Set(parameter.Value.Name, value)
		}
	}
	path := regexp.MustCompile(`\{\w+\}`).ReplaceAllStringFunc(pattern, func(part string) string {
		value, ok := values[part[1:len(part)-1]]
		if !ok {
			l.T.Fatalf("%s: no value of %s", name, part)
		}
		return url.PathEscape(value)
	})
	if !strings.HasPrefix(pattern, "/berth/") {
		query.Set("api-version", "2021-10-01")
	}
	var sent []byte
	if body != nil {
		sent, _ = json.Marshal(body)
	}
	request, err := http.NewRequest(method, l.Server.URL+path+"?"+query.Encode(), bytes.NewReader(sent))
	if err != nil {
		l.T.Fatal(err)
	}
	request.Host = "dps.local"
	request.Header.Set("Authorization", l.DPSToken())
	if slices.Contains(operation.Tags, "IoT Hub") || strings.HasPrefix(pattern, "/berth/hub/") {
		request.Host = "hub.local"
		request.Header.Set("Authorization", l.HubToken())
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json; charset=utf-8")
	}
	for pair := range slices.Chunk(more, 2) {
		request.Header.Set(pair[0], pair[1])
	}
	input := &openapi3filter.RequestValidationInput{Request: request, PathParams: values, QueryParams: query,
		Route: &routers.Route{Spec: l.document, Path: pattern, PathItem: item, Method: method, Operation: operation},
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
			IncludeResponseStatus: true}}
	if err := openapi3filter.ValidateRequest(l.T.Context(), input); err != nil {
		l.T.Errorf("the request %s %s: %v", name, sent, err)
	}
	request.Body = io.NopCloser(bytes.NewReader(sent))
	response, err := l.Server.Client().Do(request)
	if err != nil {
		l.T.Fatalf("%s: %v", name, err)
	}
	defer response.Body.Close()
	received, err := io.ReadAll(response.Body)
	if err != nil {
		l.T.Fatalf("%s: %v", name, err)
	}
	success := response.StatusCode < 300
	output := &openapi3filter.ResponseValidationInput{RequestValidationInput: input, Status: response.StatusCode,
		Header: response.Header, Options: input.Options}
	output.SetBodyBytes(received)
	if err := openapi3filter.ValidateResponse(l.T.Context(), output); err != nil {
		l.T.Errorf("the answer to %s, %d %s: %v", name, response.StatusCode, received, err)
	}
	if success && operation.Responses.Status(response.StatusCode) == nil {
		l.T.Errorf("%s answers %d, which is not in the document", name, response.StatusCode)
	}
	if success {
		l.done[name] = true
	}
	if !strings.HasPrefix(pattern, "/berth/") {
		for _, text := range anyTime.FindAllString(string(received), -1) {
			if !contractTime.MatchString(text) {
				l.T.Errorf("%s answers the time %s, without seven fractional digits: %s", name, text, received)
			}
		}
	}
	answer := reply{header: response.Header}
	var decoded any
	if len(received) > 0 && json.Unmarshal(bytes.SplitN(received, []byte("\n"), 2)[0], &decoded) == nil {
		answer.fields, _ = decoded.(map[string]any)
		answer.items, _ = decoded.([]any)
	}
	return answer, success
}

var (
	anyTime      = regexp.MustCompile(`"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[^"\\]*\\?"`)
	contractTime = regexp.MustCompile(`^"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z|0001-01-01T00:00:00Z)\\?"$`)
)

// etag is the one that an answer has in its body.
func (r reply) etag() string { return fmt.Sprint(r.fields["etag"]) }

var attested = object{"type": "symmetricKey", "symmetricKey": object{}}

// deviceToken is what a device signs with its key.
func (l *live) deviceToken(id, key string) string {
	token, err := credential.NewToken(httpstest.Scope+"/registrations/"+id, "registration", key,
		time.Now().Add(time.Hour))
	if err != nil {
		l.T.Fatal(err)
	}
	return token
}

func keyOf(enrollment reply) string {
	return enrollment.fields["attestation"].(map[string]any)["symmetricKey"].(map[string]any)["primaryKey"].(string)
}

// registers has a device with a csr get in, and one that nobody knows not.
func (l *live) registers() {
	d1 := params{"scope": httpstest.Scope, "id": "d1"}
	enrolled := l.do("PUT /enrollments/{id}", d1,
		object{"registrationId": "d1", "attestation": attested, "credentialPolicyName": "default",
			"initialTwin": object{"tags": object{"site": "harbour"},
				"properties": object{"desired": object{"interval": 5}}},
			"capabilities": object{"iotEdge": true}, "optionalDeviceInformation": object{"model": "A1"}})
	token := l.deviceToken("d1", keyOf(enrolled))
	registration := l.do("PUT /{scope}/registrations/{id}/register", d1, object{"registrationId": "d1",
		"payload": object{"a": 1}, "csr": newCSR(l.T, "d1")}, "Authorization", token)
	d1["operation"] = registration.fields["operationId"].(string)
	l.do("GET /{scope}/registrations/{id}/operations/{operation}", d1, nil, "Authorization", token)
	l.do("POST /{scope}/registrations/{id}", d1, object{"registrationId": "d1"}, "Authorization", token)
	l.refused("PUT /{scope}/registrations/{id}/register", params{"scope": httpstest.Scope, "id": "stranger"},
		object{"registrationId": "stranger"}, "Authorization", token)
	l.do("GET /berth/provisioning/attempts", params{"max": "10"}, nil)
	l.do("GET /berth/provisioning/attempts", params{"registrationId": "stranger", "refused": "true"}, nil)
}

func newCSR(t testing.TB, name string) string {
	der, err := x509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

// enrolls goes through individual enrollments; d1 is there and registered.
func (l *live) enrolls() {
	d2 := params{"id": "d2"}
	first, _ := httpstest.CertificatePEM(l.T, "d2")
	second, _ := httpstest.CertificatePEM(l.T, "d2")
	x509 := object{"clientCertificates": object{"primary": object{"certificate": first},
		"secondary": object{"certificate": second}}}
	created := l.do("PUT /enrollments/{id}", d2,
		object{"registrationId": "d2", "deviceId": "device-2", "attestation": object{"type": "x509", "x509": x509},
			"provisioningStatus": "disabled", "allocationPolicy": "custom", "iotHubs": []any{"hub.local"},
			"customAllocationDefinition": object{"webhookUrl": "https://hook.example/", "apiVersion": "2021-10-01"},
			"reprovisionPolicy":          object{"updateHubAssignment": true, "migrateDeviceData": false}})
	l.refused("PUT /enrollments/{id}", d2, object{"registrationId": "d2", "attestation": attested}, "If-Match", `"old"`)
	l.do("GET /enrollments/{id}", d2, nil)
	l.do("GET /enrollments/{id}", params{"id": "d1"}, nil)
	l.do("POST /enrollments/{id}/attestationmechanism", d2, nil)
	l.do("POST /enrollments/{id}/attestationmechanism", params{"id": "d1"}, nil)
	query := object{"query": "SELECT * FROM enrollments"}
	page := l.do("POST /enrollments/query", nil, query, "x-ms-max-item-count", "1")
	l.do("POST /enrollments/query", nil, query, "x-ms-max-item-count", "1", "x-ms-continuation",
		page.header.Get("x-ms-continuation"))
	l.do("GET /berth/provisioning/enrollments", params{"prefix": "d", "top": "1"}, nil)
	l.do("DELETE /enrollments/{id}", d2, nil, "If-Match", created.etag())
	bulk := object{"mode": "create",
		"enrollments": []any{object{"registrationId": "d1", "attestation": attested},
			object{"registrationId": "d3", "attestation": attested}}}
	l.do("POST /berth/provisioning/enrollments/dryrun", params{"symmetricKey": "2"}, bulk)
	l.do("POST /enrollments", nil, bulk)
}

// bulkName is that of the bulk operation in the audit.
func (l *live) bulkName() string {
	l.T.Helper()
	entries := l.do("GET /berth/provisioning/audit", params{"id": "D3"}, nil).fields["items"].([]any)
	for _, entry := range entries {
		if bulk, ok := entry.(map[string]any)["bulk"].(map[string]any); ok && bulk["ended"] == true {
			return bulk["name"].(string)
		}
	}
	l.T.Fatalf("the audit has no bulk operation on d3: %v", entries)
	return ""
}

// groups goes through enrollment groups and the registrations of their devices.
func (l *live) groups() {
	g1 := params{"id": "g1"}
	group := l.do("PUT /enrollmentGroups/{id}", g1,
		object{"enrollmentGroupId": "g1", "attestation": attested, "iotHubHostName": "hub.local",
			"allocationPolicy": "static"})
	key := attest.DeriveKey(keyOf(group), "member")
	member := params{"scope": httpstest.Scope, "id": "member"}
	l.do("PUT /{scope}/registrations/{id}/register", member, object{"registrationId": "member"}, "Authorization",
		l.deviceToken("member", key))
	l.do("POST /registrations/{id}/query", g1, object{"query": "*"})
	state := l.do("GET /registrations/{id}", member, nil)
	l.do("GET /berth/provisioning/registrations", params{"prefix": "m"}, nil)
	l.do("DELETE /registrations/{id}", member, nil, "If-Match", state.etag())
	l.refused("GET /registrations/{id}", member, nil)

	l.do("GET /enrollmentGroups/{id}", g1, nil)
	l.do("POST /enrollmentGroups/{id}/attestationmechanism", g1, nil)
	l.do("POST /enrollmentGroups/query", nil, object{"query": "SELECT * FROM enrollmentGroups"})
	l.do("GET /berth/provisioning/groups", params{"top": "1"}, nil)
	signing := object{"signingCertificates": object{"primary": object{"certificate": l.authority("Group").text}}}
	g2 := object{"enrollmentGroupId": "g2", "attestation": object{"type": "x509", "x509": signing}}
	groups := object{"mode": "create",
		"enrollmentGroups": []any{g2, object{"enrollmentGroupId": "g1", "attestation": attested}}}
	l.do("POST /berth/provisioning/groups/dryrun", nil, groups)
	l.do("POST /enrollmentGroups", nil, groups)
	l.do("GET /enrollmentGroups/{id}", params{"id": "g2"}, nil)
	l.do("DELETE /enrollmentGroups/{id}", params{"id": "g2"}, nil)
}

// operatesTheHub goes through devices, twins and telemetry.
func (l *live) operatesTheHub() {
	l.Sender(l.T.Context(), "sends")("21.5")
	l.do("GET /berth/hub/telemetry", params{"from": "earliest", "max": "1", "device": "sends"}, nil)
	l.do("GET /berth/hub/events", params{"from": "earliest", "max": "1", "device": "sends"}, nil)
	one := params{"id": "one"}
	created := l.do("PUT /devices/{id}", one, object{"deviceId": "one", "status": "enabled", "statusReason": "new"})
	l.do("PUT /devices/{id}", one,
		object{"deviceId": "one", "status": "disabled", "capabilities": object{"iotEdge": true}}, "If-Match", `"`+
			created.etag()+`"`)
	l.refused("PUT /devices/{id}", one, object{"deviceId": "one"})
	l.sendsMessages()
	l.hasModules()
	l.schedulesJobs()
	l.do("GET /devices/{id}", one, nil)
	l.do("GET /devices", params{"top": "10"}, nil)
	l.do("GET /berth/hub/devices", params{"prefix": "o"}, nil)
	twin := object{"tags": object{"site": "harbour"}, "properties": object{"desired": object{"interval": 5}}}
	l.do("PATCH /twins/{id}", one, twin, "If-Match", "*")
	l.do("PUT /twins/{id}", one, twin)
	l.do("GET /twins/{id}", one, nil)
	l.do("GET /statistics/devices", nil, nil)
	l.do("GET /statistics/service", nil, nil)
	l.do("POST /devices", nil, []any{object{"id": "two", "importMode": "create"}})
	l.refused("POST /devices", nil, []any{object{"id": "one", "importMode": "create"}})
	l.configures()
	l.do("POST /devices/query", nil, object{"query": "SELECT * FROM devices"}, "x-ms-max-item-count", "1")
	l.do("PUT /berth/hub/twinindexes/{name}", params{"name": "tags.site"}, nil)
	l.do("GET /berth/hub/twinindexes", nil, nil)
	l.refused("PUT /berth/hub/twinindexes/{name}", params{"name": "deviceId"}, nil)
	l.do("DELETE /berth/hub/twinindexes/{name}", params{"name": "tags.site"}, nil)
	l.do("POST /devices/keys/regenerate", nil, object{"policyKey": "primaryKey", "devices": []any{object{"id": "two"}}})
	l.do("DELETE /devices/{id}", one, nil, "If-Match", "*")
	l.Answerer(l.T.Context(), "answerer", "200")
	l.do("POST /twins/{id}/methods", params{"id": "answerer"}, object{"methodName": "reboot",
		"payload": object{"delay": 1}, "responseTimeoutInSeconds": 5, "connectTimeoutInSeconds": 1})
	answerer := params{"id": "answerer", "component": "thermostat1", "command": "report"}
	l.do("PATCH /digitaltwins/{id}", answerer, []any{object{"op": "add", "path": "/thermostat1/target", "value": 21.5}})
	l.do("GET /digitaltwins/{id}", answerer, nil)
	l.do("POST /digitaltwins/{id}/commands/{command}", answerer, 1.5)
	l.do("POST /digitaltwins/{id}/components/{component}/commands/{command}", answerer, object{"since": "now"})
	l.refused("PATCH /digitaltwins/{id}", answerer, []any{object{"op": "test", "path": "/a", "value": 21.5}})
	l.refused("POST /digitaltwins/{id}/commands/{command}", params{"id": "two", "command": "report"}, 1)
	l.refused("POST /twins/{id}/methods", params{"id": "two"}, object{"methodName": "reboot", "payload": nil})
	l.ModuleAnswerer(l.T.Context(), "answerer", "m", "201")
	l.do("POST /twins/{id}/modules/{module}/methods", params{"id": "answerer", "module": "m"},
		object{"methodName": "reboot", "payload": "now"})
	l.refused("POST /twins/{id}/modules/{module}/methods", params{"id": "answerer", "module": "none"},
		object{"methodName": "reboot"})
}

// hasModules goes through the modules of a device.
func (l *live) hasModules() {
	const module, twins = "/devices/{id}/modules/{module}", "/twins/{id}/modules/{module}"
	const messages = "/berth/hub/devices/{id}/modules/{module}/messages"
	one, none := params{"id": "receiver", "module": "m"}, params{"id": "receiver", "module": "none"}
	created := l.do("PUT "+module, one, object{"deviceId": "receiver", "moduleId": "m", "managedBy": "somebody"})
	l.do("PUT "+module, one, object{"authentication": object{"type": "sas"}}, "If-Match", `"`+created.etag()+`"`)
	l.refused("PUT "+module, one, object{"moduleId": "m"})
	l.do("GET "+module, one, nil)
	l.refused("GET "+module, none, nil)
	l.do("GET /devices/{id}/modules", params{"id": "receiver"}, nil)
	l.do("PATCH "+twins, one, object{"properties": object{"desired": object{"interval": 5}}}, "If-Match", "*")
	l.do("PUT "+twins, one, object{"tags": object{"site": "harbour"}})
	l.do("GET "+twins, one, nil)
	l.refused("GET "+twins, none, nil)
	l.do("POST "+messages, one, object{"messageId": "1", "payload": "open"})
	l.refused("POST "+messages, none, object{"payload": "open"})
	l.do("DELETE "+messages, one, nil)
	l.do("DELETE "+module, one, nil, "If-Match", `"*"`)
}

// schedulesJobs has the twins of devices updated.
func (l *live) schedulesJobs() {
	job := func(id string) params { return params{"id": id} }
	update := object{"type": "scheduleUpdateTwin", "updateTwin": object{"etag": "*", "tags": object{"site": "quay"}},
		"queryCondition": "*"}
	l.do("PUT /jobs/v2/{id}", job("now"), update)
	update["startTime"], update["maxExecutionTimeInSeconds"] = "2999-01-01T00:00:00Z", 60
	l.refused("PUT /jobs/v2/{id}", job("later"), update)
	update["startTime"] = time.Now().Add(time.Hour).Format(time.RFC3339)
	for _, id := range []string{"later", "stopped"} {
		l.do("PUT /jobs/v2/{id}", job(id), update)
	}
	l.do("GET /jobs/v2/{id}", job("later"), nil)
	l.do("GET /jobs/v2/{id}", job("none"), nil)
	l.do("GET /jobs/v2/query", params{"jobType": "scheduleUpdateTwin", "jobStatus": "scheduled"}, nil,
		"x-ms-max-item-count", "1")
	l.do("POST /jobs/v2/{id}/cancel", job("later"), nil)
	l.refused("POST /jobs/v2/{id}/cancel", job("later"), nil)
	l.do("POST /berth/hub/jobs/{id}/stop", job("stopped"), nil)
	l.refused("POST /berth/hub/jobs/{id}/stop", job("none"), nil)
	for range 2000 {
		if l.do("GET /jobs/v2/{id}", job("now"), nil).fields["status"] == "completed" {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	l.do("GET /berth/hub/jobs/{id}/devices", job("now"), nil)

	const container = "https://blobs.example/container?sig=x"
	l.refused("POST /jobs/create", nil, object{"type": "export", "outputBlobContainerUri": container + "&refused"})
	export := l.do("POST /jobs/create", nil, object{"type": "export", "outputBlobContainerUri": container})
	exported := job(export.fields["jobId"].(string))
	l.do("GET /jobs", nil, nil)
	l.do("GET /jobs/{id}", exported, nil)
	l.refused("GET /jobs/{id}", job("now"), nil)
	l.do("DELETE /jobs/{id}", exported, nil)
	l.refused("GET /berth/hub/jobs/{id}/devices", job("none"), nil)
}

// configures goes through configurations.
func (l *live) configures() {
	one := params{"id": "fan"}
	body := object{"id": "fan", "targetCondition": "tags.site = 'harbour'", "priority": 10,
		"labels": object{"stage": "test"}, "content": object{"deviceContent": object{"properties.desired.fan": 3}},
		"metrics": object{"queries": object{"slow": "SELECT deviceId FROM devices WHERE properties.reported.fan < 3"}}}
	created := l.do("PUT /configurations/{id}", one, body)
	l.refused("PUT /configurations/{id}", one, body)
	body["priority"] = 11
	l.do("PUT /configurations/{id}", one, body, "If-Match", `"`+created.etag()+`"`)
	l.do("GET /configurations/{id}", one, nil)
	l.do("GET /configurations", nil, nil)
	l.do("POST /configurations/testQueries", nil, object{"targetCondition": "tags.site =",
		"customMetricQueries": object{"slow": "SELECT"}})
	l.do("POST /berth/hub/configurations/targets", nil, object{"targetCondition": "*"})
	l.do("DELETE /configurations/{id}", one, nil, "If-Match", "*")
	modules := object{"modulesContent": object{"$edgeAgent": object{"properties.desired": object{"modules": object{}}}}}
	l.do("POST /devices/{id}/applyConfigurationContent", params{"id": "one"}, modules)
	l.refused("POST /devices/{id}/applyConfigurationContent", params{"id": "two"}, modules)
}

// sendsMessages has a device receive messages, and a back end read what became of them.
func (l *live) sendsMessages() {
	receiver := params{"id": "receiver"}
	keys := l.do("PUT /devices/{id}", receiver,
		object{"deviceId": "receiver"}).fields["authentication"].(map[string]any)
	token, err := credential.NewToken("hub.local/devices/receiver", "",
		keys["symmetricKey"].(map[string]any)["primaryKey"].(string), time.Now().Add(time.Hour))
	if err != nil {
		l.T.Fatal(err)
	}
	const events = "POST /devices/{id}/messages/events"
	l.do(events, receiver, []object{{"body": "AA==", "properties": object{"iothub-app-level": "high"}}},
		"Authorization", token, "Content-Type", batchType)
	module := params{"id": "receiver", "module": "sender"}
	moduleKeys := l.do("PUT /devices/{id}/modules/{module}", module,
		object{"deviceId": "receiver", "moduleId": "sender"}).fields["authentication"].(map[string]any)
	moduleToken, err := credential.NewToken("hub.local/devices/receiver/modules/sender", "",
		moduleKeys["symmetricKey"].(map[string]any)["primaryKey"].(string), time.Now().Add(time.Hour))
	if err != nil {
		l.T.Fatal(err)
	}
	const moduleEvents = "POST /devices/{id}/modules/{module}/messages/events"
	l.do(moduleEvents, module, []object{{"body": "AA=="}}, "Authorization", moduleToken, "Content-Type", batchType)
	l.refused(moduleEvents, module, []object{{"body": "AA=="}}, "Authorization", token, "Content-Type", batchType)
	l.refused(events, receiver, []object{{"body": "?"}}, "Authorization", token, "Content-Type", batchType)
	const messages, one = "/devices/{id}/messages/devicebound", "/devices/{id}/messages/devicebound/{lockToken}"
	locked := func() params {
		answer := l.do("GET "+messages, receiver, nil, "Authorization", token)
		return params{"id": "receiver", "lockToken": strings.Trim(answer.header.Get("ETag"), `"`)}
	}
	l.do("GET "+messages, receiver, nil, "Authorization", token)
	for _, payload := range []string{"first", "second"} {
		l.do("POST /berth/hub/devices/{id}/messages", receiver, object{"messageId": payload, "ack": "full",
			"payload": payload, "properties": object{"level": "high"}})
	}
	l.do("POST "+one+"/abandon", locked(), nil, "Authorization", token)
	l.do("DELETE "+one, locked(), nil, "Authorization", token)
	l.refused("DELETE "+one, params{"id": "receiver", "lockToken": "none"}, nil, "Authorization", token)
	l.refused("POST /berth/hub/devices/{id}/messages", params{"id": "none"}, object{"payload": "x"})
	l.do("DELETE /devices/{id}/commands", receiver, nil)
	const feedback = "/messages/serviceBound/feedback"
	batch := func() params {
		return params{"lockToken": strings.Trim(l.do("GET "+feedback, nil, nil).header.Get("ETag"), `"`)}
	}
	l.do("POST "+feedback+"/{lockToken}/abandon", batch(), nil)
	l.do("DELETE "+feedback+"/{lockToken}", batch(), nil)
	l.do("GET "+feedback, nil, nil)
}

// signer is an authority's key and certificate.
type signer struct {
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
	text        string // base64 of DER
}

func (l *live) authority(name string) signer {
	made := signer{key: newKey(l.T)}
	made.certificate = &x509.Certificate{IsCA: true, KeyUsage: x509.KeyUsageCertSign}
	made.text = made.sign(l.T, name, made.certificate)
	return made
}

// sign makes a certificate of the template with this name.
func (s signer) sign(t testing.TB, name string, template *x509.Certificate) string {
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.Subject = pkix.Name{CommonName: name}
	template.BasicConstraintsValid = true
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, s.certificate, s.key.Public(), s.key)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

// uploadsAuthorities goes through the certificate authorities of a service.
func (l *live) uploadsAuthorities(all string) {
	one := all + "/{id}"
	factory, root := params{"id": "factory"}, l.authority("Factory")
	l.do("PUT "+one, factory, object{"certificate": root.text, "isVerified": false})
	code := l.do("POST "+one+"/generateVerificationCode", factory, nil)
	l.do("POST "+one+"/verify", factory, object{"certificate": root.sign(l.T,
		code.fields["verificationCode"].(string), &x509.Certificate{})})
	l.do("GET "+all, nil, nil)
	read := l.do("GET "+one, factory, nil)
	l.do("DELETE "+one, factory, nil, "If-Match", read.etag())
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// allocates goes through links of hubs, networks, and where a device would go.
func (l *live) allocates() {
	const hubs, networks = "/berth/provisioning/hubs", "/berth/provisioning/networks"
	host := params{"host": "hub.local", "count": "true", "force": "true"}
	l.do("GET "+hubs, nil, nil)
	l.do("POST "+hubs, nil, object{"hub": "east", "name": "east.example.com"})
	l.do("GET "+hubs+"/{host}", host, nil)
	l.do("PUT "+hubs+"/{host}", host,
		object{"allocationWeight": 3, "location": "westeurope", "applyAllocationPolicy": true})
	office := params{"prefix": "10.1.0.0/16"}
	l.do("PUT "+networks+"/{prefix}", office, object{"latencies": object{"westeurope": 12.5}})
	l.do("GET "+networks, nil, nil)
	l.do("POST /berth/provisioning/allocate", nil, object{"registrationId": "d1", "remoteAddress": "10.1.2.3"})
	l.do("DELETE "+networks+"/{prefix}", office, nil)
	l.do("DELETE "+hubs+"/{host}", host, nil)
	l.do("POST /berth/provisioning/allocate", nil, object{"registrationId": "d3"})
	l.do("GET "+hubs, nil, nil)
}

// issues goes through operational certificates, of which d1 has one.
func (l *live) issues() {
	const (
		policies     = "/berth/provisioning/credentialpolicies"
		authorities  = "/berth/provisioning/issuingauthorities"
		certificates = "/berth/provisioning/issuedcertificates"
	)
	plant := params{"name": "plant"}
	l.do("PUT "+authorities+"/{name}", plant, nil)
	l.do("PUT "+policies+"/{name}", plant,
		object{"issuingAuthority": "plant", "validityMinutes": 60, "keyTypes": []any{"ec-p256"},
			"dnsNames": []any{"{registrationId}.plant.example"}})
	l.do("GET "+policies, nil, nil)
	l.do("GET "+policies+"/{name}", plant, nil)
	l.do("DELETE "+policies+"/{name}", plant, nil)
	l.do("GET "+authorities, nil, nil)
	l.do("GET "+authorities+"/{name}", plant, nil)
	l.do("POST "+authorities+"/{name}/revoke", plant, nil)
	l.do("DELETE "+authorities+"/{name}", plant, nil)
	l.refused("DELETE "+authorities+"/{name}", params{"name": "default"}, nil)
	factory := params{"name": "factory"}
	made := l.do("POST "+authorities+"/{name}/request", factory, object{"commonName": "Factory"})
	l.refused("POST "+authorities+"/{name}/activate", factory, object{"certificates": "nothing"})
	l.do("POST "+authorities+"/{name}/activate", factory,
		object{"certificates": signedChain(l.T, made.fields["request"].(string))})
	l.do("GET "+certificates, params{"top": "10"}, nil)
	issued := l.do("GET "+certificates, params{"registrationId": "d1"}, nil)
	thumbprint := params{"thumbprint": issued.fields["items"].([]any)[0].(map[string]any)["thumbprint"].(string)}
	l.do("GET "+certificates+"/{thumbprint}", thumbprint, nil)
	l.do("POST "+certificates+"/{thumbprint}/revoke", thumbprint, nil)
	l.do("POST "+certificates+"/revoke", params{"registrationId": "d1"}, nil)
	l.refused("POST "+certificates+"/revoke", params{"registrationId": "nobody"}, nil)
}

// signedChain is the chain of an authority whose request is signed by one of a company's
// own.
func signedChain(t testing.TB, requestPEM string) string {
	t.Helper()
	block, _ := pem.Decode([]byte(requestPEM))
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	root, err := credential.NewAuthority("Company root", time.Now().Add(-time.Hour), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader,
		&x509.Certificate{SerialNumber: big.NewInt(7), Subject: request.Subject,
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
			BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true}, root.Certificate, request.PublicKey,
		root.Key)
	if err != nil {
		t.Fatal(err)
	}
	rootPEM, _, err := root.PEM()
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) + string(rootPEM)
}

// managesPolicies goes through shared access policies.
func (l *live) managesPolicies() {
	const all, one = "/berth/provisioning/policies", "/berth/provisioning/policies/{name}"
	dashboard := params{"name": "dashboard"}
	created := l.do("POST "+all, nil, object{"keyName": "dashboard", "rights": []any{"EnrollmentRead"}})
	l.do("PUT "+one, dashboard, object{"rights": []any{"RegistrationStatusRead"}}, "If-Match", created.etag())
	l.refused("POST "+one+"/regenerateKey", dashboard, object{"key": "primary"}, "If-Match", created.etag())
	l.do("POST "+one+"/regenerateKey", dashboard, object{"key": "secondary"})
	l.do("GET "+all, nil, nil)
	read := l.do("GET "+one, dashboard, nil)
	l.do("DELETE "+one, dashboard, nil, "If-Match", read.etag())
	l.refused("DELETE "+one, params{"name": "provisioningserviceowner"}, nil)
}

// isLockedOut has this source fail until it is locked out, and waits until that is over.
func (l *live) isLockedOut() {
	for range 3 {
		l.refused("PUT /{scope}/registrations/{id}/register", params{"scope": httpstest.Scope, "id": "stranger"},
			object{"registrationId": "stranger"}, "Authorization", l.deviceToken("stranger", "c3RyYW5nZXI="))
	}
	source := l.do("GET /berth/provisioning/lockouts", nil, nil).items[0].(map[string]any)["source"].(string)
	l.do("DELETE /berth/provisioning/lockouts/{source}", params{"source": source}, nil)
}
