package rest

import (
	"encoding/json"

	"github.com/berth-iot/berth/access"
	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/authority"
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/endpoint/own"
	"github.com/berth-iot/berth/hub/configuration"
	"github.com/berth-iot/berth/hub/connection"
	"github.com/berth-iot/berth/hub/identity"
	hubinject "github.com/berth-iot/berth/hub/inject"
	"github.com/berth-iot/berth/hub/telemetry"
	"github.com/berth-iot/berth/hub/twin"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/guard"
	"github.com/berth-iot/berth/provisioning/inject"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// operation is what the route does not say of an operation. What is sent and
// answered is named by values of the types.
type operation struct {
	id      string // the name of the function that carries it out when empty
	summary string
	query   []parameter
	request any
	answer  any
	failed  any  // what is answered with 400 when some of it failed; nil for nothing of the kind
	status  int  // of the answer; 200 when 0, 204 without an answer
	ifMatch bool // takes If-Match
	etag    bool // answers with an ETag
	orEmpty bool // answers 204 when there is nothing
	kind    string
}

// parameter is one of an address's, or a header.
type parameter struct{ name, description string }

// Bodies that have no type of their own in the server: it reads them where they go.
type (
	// registerBody is what a device sends when it registers.
	registerBody struct {
		RegistrationID string                `json:"registrationId"`
		TPM            enroll.TPMAttestation `json:"tpm"`     // of a device that proves itself by its TPM
		Payload        json.RawMessage       `json:"payload"` // for custom allocation
		// base64 of a PKCS #10 request for an operational certificate, its common name the registration id
		CSR string `json:"csr"`
	}
	// lookUpBody is registerBody without what only a registration may have.
	lookUpBody struct {
		RegistrationID string                `json:"registrationId"`
		TPM            enroll.TPMAttestation `json:"tpm"`     // as in a registration
		Payload        json.RawMessage       `json:"payload"` // which is not used
	}
	// digitalOperation is one of a JSON Patch of a digital twin.
	digitalOperation struct {
		Op    string          `json:"op"`    // add, replace or remove
		Path  string          `json:"path"`  // /property, /component or /component/property
		Value json.RawMessage `json:"value"` // of a component with "$metadata": {}; none to remove
	}
	// twinBody is what back ends may change of a twin.
	twinBody struct {
		Tags       map[string]any `json:"tags"`
		Properties twinProperties `json:"properties"`
	}
	// twinProperties are the properties that back ends may change.
	twinProperties struct {
		Desired map[string]any `json:"desired"`
	}
)

const (
	jsonBody = "application/json"
	lines    = "application/x-ndjson" // JSON values, one a line
)

var (
	commandTimes = []parameter{{"responseTimeoutInSeconds",
		"How long the device has to answer, 5 to 300; 30 when left out"},
		{"connectTimeoutInSeconds", "How long to wait for a device that is not online, 0 to 300"}}
	paging = []parameter{{"prefix", "Only names that start with this"},
		{"after", "Begin after this name: the next of the page before"},
		{"top", "At most so many items, up to 1,000; 100 when left out"}}
	continued = []parameter{{"x-ms-max-item-count",
		"At most so many items, up to 1,000, or 100 twins; 100 when left out"},
		{"x-ms-continuation", "As the answer before had it in its header of this name"}}
)

// dryRunCounts are what earlier requests of the same dry run would have created.
var dryRunCounts = []parameter{
	{"x509", "So many with X.509 earlier requests of the same dry run would have created"},
	{"symmetricKey", "So many with symmetric keys"},
	{"tpm", "So many with a TPM"},
}

// operations has every operation by method and pattern.
var operations = map[string]operation{
	// Devices that register.
	"PUT /{scope}/registrations/{id}/register": {summary: "Register a device", request: registerBody{},
		answer: provisioning.Operation{}, status: 202},
	"GET /{scope}/registrations/{id}/operations/{operation}": {summary: "Ask how a registration goes on",
		answer: provisioning.Operation{}},
	"POST /{scope}/registrations/{id}": {summary: "Look up the registration state of the device itself",
		request: lookUpBody{}, answer: provisioning.DeviceRegistration{}},

	// The provisioning service's back ends.
	"POST /enrollments": {summary: "Create, update or delete several individual " +
		"enrollments", request: bulkOfEnrollments{}, answer: contract.BulkResult{}},
	"POST /enrollments/query": {summary: "List individual enrollments, page by page",
		query: continued, request: querySpecification{}, answer: []enroll.Enrollment{}},
	"GET /enrollments/{id}": {summary: "Read an individual enrollment",
		answer: enroll.Enrollment{}, etag: true},
	"PUT /enrollments/{id}": {summary: "Create or update an individual enrollment",
		request: sentEnrollment{}, answer: enroll.Enrollment{}, etag: true, ifMatch: true},
	"DELETE /enrollments/{id}": {summary: "Delete an individual enrollment", ifMatch: true},
	"POST /enrollments/{id}/attestationmechanism": {summary: "Read how an individual enrollment attests, with " +
		"its keys", answer: enroll.AttestationMechanism{}},
	"POST /enrollmentGroups": {summary: "Create, update or delete several enrollment groups",
		request: bulkOfGroups{}, answer: contract.BulkResult{}},
	"POST /enrollmentGroups/query": {summary: "List enrollment groups, page by page",
		query: continued, request: querySpecification{}, answer: []enroll.Group{}},
	"GET /enrollmentGroups/{id}": {summary: "Read an enrollment group", answer: enroll.Group{},
		etag: true},
	"PUT /enrollmentGroups/{id}": {summary: "Create or update an enrollment group",
		request: sentGroup{}, answer: enroll.Group{}, etag: true, ifMatch: true},
	"DELETE /enrollmentGroups/{id}": {summary: "Delete an enrollment group", ifMatch: true},
	"POST /enrollmentGroups/{id}/attestationmechanism": {summary: "Read how an enrollment group attests, with its keys",
		answer: enroll.AttestationMechanism{}},
	"POST /registrations/{id}/query": {summary: "List the registration states of an enrollment group's devices, page by page", query: continued, request: querySpecification{}, answer: []provisioning.Registration{}},
	"GET /registrations/{id}": {summary: "Read the registration state of a device",
		answer: provisioning.Registration{}, etag: true},
	"DELETE /registrations/{id}": {summary: "Delete the registration state of a device", ifMatch: true},

	// The hub's back ends.
	"GET /devices": {summary: "List devices",
		query: []parameter{{"top", "At most so many, up to 1,000"}}, answer: []identity.Device{}},
	"POST /devices": {summary: "Create, update or delete several devices", request: []deviceBody{},
		answer: contract.BulkDeviceResult{}, failed: contract.BulkDeviceResult{}},
	"POST /devices/query": {summary: "Query twins, page by page", query: continued,
		request: querySpecification{}, answer: []json.RawMessage{}},
	"POST /devices/keys/regenerate": {summary: "Regenerate keys of several devices", request: keyRenewal{},
		answer: keyRenewalResult{}},
	"GET /devices/{id}": {summary: "Read a device", answer: identity.Device{}, etag: true},
	"PUT /devices/{id}": {summary: "Create a device, or update one with If-Match", request: deviceBody{},
		answer: identity.Device{}, etag: true, ifMatch: true},
	"DELETE /devices/{id}": {summary: "Delete a device", ifMatch: true},
	"GET /twins/{id}":      {summary: "Read a twin", answer: twin.Twin{}, etag: true},
	"PATCH /twins/{id}": {summary: "Change parts of a twin", request: twinBody{}, answer: twin.Twin{}, etag: true,
		ifMatch: true},
	"PUT /twins/{id}": {summary: "Replace the tags and desired properties of a twin", request: twinBody{},
		answer: twin.Twin{}, etag: true, ifMatch: true},

	// Modules of devices.
	"GET /devices/{id}/modules": {summary: "List the modules of a device", answer: []identity.Module{}},
	"GET /devices/{id}/modules/{module}": {summary: "Read a module", answer: identity.Module{},
		etag: true},
	"PUT /devices/{id}/modules/{module}": {summary: "Create a module, or update one with If-Match",
		request: moduleBody{}, answer: identity.Module{}, etag: true, ifMatch: true},
	"DELETE /devices/{id}/modules/{module}": {summary: "Delete a module", ifMatch: true},
	"GET /twins/{id}/modules/{module}": {id: "getModuleTwin", summary: "Read the twin of a module",
		answer: twin.Twin{}, etag: true},
	"PATCH /twins/{id}/modules/{module}": {id: "patchModuleTwin", summary: "Change parts of the twin of a module",
		request: twinBody{}, answer: twin.Twin{}, etag: true, ifMatch: true},
	"PUT /twins/{id}/modules/{module}": {id: "replaceModuleTwin",
		summary: "Replace the tags and desired properties of the twin of a module", request: twinBody{},
		answer: twin.Twin{}, etag: true, ifMatch: true},
	"POST /berth/hub/devices/{id}/modules/{module}/messages": {id: "sendModuleMessage",
		summary: "Send a message to a module", request: contract.DeviceMessage{}, answer: contract.SentMessage{}},
	"DELETE /berth/hub/devices/{id}/modules/{module}/messages": {
		summary: "Remove all messages from the queue of a module", answer: contract.PurgeResult{}},

	"GET /statistics/devices": {summary: "Count the devices", answer: identity.Statistics{}},
	"GET /statistics/service": {summary: "Count the connected devices", answer: connection.Statistics{}},

	// Configurations.
	"GET /configurations": {summary: "List all configurations, with their metrics",
		answer: []configuration.Configuration{}},
	"POST /configurations/testQueries": {summary: "Say what is wrong with a target condition and the queries of metrics",
		request: contract.ConfigurationTest{}, answer: contract.ConfigurationTestResult{}},
	"GET /configurations/{id}": {summary: "Read a configuration, with its metrics",
		answer: configuration.Configuration{}, etag: true},
	"PUT /configurations/{id}": {summary: "Create a configuration, or with If-Match update all of one but its content",
		request: configurationBody{}, answer: configuration.Configuration{}, etag: true, ifMatch: true},
	"DELETE /configurations/{id}": {summary: "Delete a configuration. What it has written into twins stays",
		ifMatch: true},
	"POST /devices/{id}/applyConfigurationContent": {summary: "Write content to the modules of one IoT Edge device",
		request: configuration.Content{}},
	"POST /berth/hub/configurations/targets": {summary: "Say which devices or modules a configuration would target, in " +
		"parts: next is the after of the next request",
		request: contract.ConfigurationTargets{}, answer: configuration.Preview{}},

	// Imports and exports.
	"POST /jobs/create": {summary: "Import identities from a container of blobs, or export them to one",
		request: contract.RegistryJob{}, answer: contract.RegistryJob{}},
	"GET /jobs":         {summary: "List imports and exports", answer: []contract.RegistryJob{}},
	"GET /jobs/{id}":    {summary: "Read an import or export", answer: contract.RegistryJob{}},
	"DELETE /jobs/{id}": {summary: "Cancel an import or export"},

	// Scheduled jobs.
	"PUT /jobs/v2/{id}": {summary: "Schedule a job", request: contract.JobRequest{}, answer: contract.Job{}},
	"GET /jobs/v2/{id}": {summary: "Read a job; of one that is not there, type and status are unknown",
		answer: contract.Job{}},
	"POST /jobs/v2/{id}/cancel": {summary: "Cancel a job that has not begun", answer: contract.Job{}},
	"GET /jobs/v2/query": {summary: "List jobs, page by page", query: append([]parameter{
		{"jobType", "Only those of this type"}, {"jobStatus", "Only those in this state"}}, continued...),
		answer: []contract.Job{}},
	"GET /berth/hub/jobs/{id}/devices": {summary: "List the devices of a job, page by page", query: paging[1:],
		answer: contract.Page[contract.DeviceJob]{}},
	"POST /berth/hub/jobs/{id}/stop": {summary: "Cancel a job, also one that has begun", answer: contract.Job{}},

	// Messages of devices, and to them.
	"POST /devices/{id}/messages/events": {summary: "Send a message, as the device, with its properties as " +
		"headers; or a batch of messages", request: []batchItem{}},
	"POST /devices/{id}/modules/{module}/messages/events": {id: "sendModuleTelemetry", summary: "Send a message, or a " +
		"batch of messages, as the module", request: []batchItem{}},
	"GET /devices/{id}/messages/devicebound": {summary: "Receive a message, as the device: its " +
		"payload, with its properties as headers", answer: "", kind: "application/octet-stream", etag: true,
		orEmpty: true},
	"DELETE /devices/{id}/messages/devicebound/{lockToken}": {summary: "Complete a message, as the device, or " +
		"reject it with the parameter reject"},
	"POST /devices/{id}/messages/devicebound/{lockToken}/abandon": {summary: "Give a message back, as the device"},
	"DELETE /devices/{id}/commands":                               {summary: "Remove all messages from the queue of a device", answer: contract.PurgeResult{}},
	"GET /messages/serviceBound/feedback": {summary: "Receive feedback on messages",
		answer: []contract.Feedback{}, etag: true, orEmpty: true},
	"DELETE /messages/serviceBound/feedback/{lockToken}":       {summary: "Complete feedback that was received"},
	"POST /messages/serviceBound/feedback/{lockToken}/abandon": {summary: "Give feedback back"},
	"GET /berth/hub/twinindexes":                               {summary: "List the indexes by which queries find twins", answer: []twin.Index{}},
	"PUT /berth/hub/twinindexes/{name}":                        {summary: "Index twins by a path such as tags.site", answer: twin.Index{}},
	"DELETE /berth/hub/twinindexes/{name}":                     {summary: "Delete an index of twins"},
	"POST /berth/hub/devices/{id}/messages": {summary: "Send a message to a device",
		request: contract.DeviceMessage{}, answer: contract.SentMessage{}},

	// Digital twins.
	"GET /digitaltwins/{id}": {summary: "Read a twin by the conventions of IoT Plug and Play", answer: map[string]any{},
		etag: true},
	"PATCH /digitaltwins/{id}": {summary: "Set what is desired, by a JSON Patch of the digital twin",
		request: []digitalOperation{}, status: 202, etag: true, ifMatch: true},
	"POST /digitaltwins/{id}/commands/{command}": {summary: "Have a device carry out a command; its status is in the " +
		"header " + contract.CommandStatusHeader, query: commandTimes, request: json.RawMessage{}, answer: json.RawMessage{}},
	"POST /digitaltwins/{id}/components/{component}/commands/{command}": {summary: "Have a device carry out a command " +
		"of a component; its status is in the header " + contract.CommandStatusHeader, query: commandTimes,
		request: json.RawMessage{}, answer: json.RawMessage{}},

	// Direct methods.
	"POST /twins/{id}/methods": {summary: "Call a method of a device, and wait for its answer",
		request: contract.MethodCall{}, answer: contract.MethodAnswer{}},
	"POST /twins/{id}/modules/{module}/methods": {id: "invokeModuleMethod",
		summary: "Call a method of a module, and wait for its answer",
		request: contract.MethodCall{}, answer: contract.MethodAnswer{}},
	"GET /berth/hub/faults": {summary: "List the faults that are still to be injected into what devices do",
		answer: []hubinject.DeviceFault{}},
	"POST /berth/hub/faults": {summary: "Inject a fault into what devices do next",
		request: hubinject.DeviceFault{}, answer: hubinject.DeviceFault{}},
	"DELETE /berth/hub/faults":      {summary: "Remove all injected faults"},
	"DELETE /berth/hub/faults/{id}": {summary: "Remove an injected fault"},

	// Berth's own.
	"GET /berth/openapi.json": {summary: "Read this document", answer: map[string]any{}},
	"GET /berth/provisioning/service": {summary: "Read what the provisioning service is",
		answer: provisioning.Summary{}},
	"GET /berth/provisioning/enrollments": {summary: "List individual enrollments by prefix", query: paging,
		answer: contract.Page[enroll.Enrollment]{}},
	"GET /berth/provisioning/groups": {summary: "List enrollment groups by prefix", query: paging,
		answer: contract.Page[enroll.Group]{}},
	"GET /berth/provisioning/registrations": {summary: "List registration states by prefix", query: paging,
		answer: contract.Page[provisioning.Registration]{}},
	"POST /berth/provisioning/enrollments/dryrun": {summary: "Say what would fail if individual enrollments were " +
		"created, updated or deleted, and change nothing",
		query: dryRunCounts, request: bulkOfEnrollments{}, answer: contract.BulkResult{}},
	"POST /berth/provisioning/groups/dryrun": {summary: "Say what would fail if enrollment groups were created, " +
		"updated or deleted, and change nothing",
		query: dryRunCounts, request: bulkOfGroups{}, answer: contract.BulkResult{}},
	"GET /berth/provisioning/attempts": {summary: "List attempts to register with their traces, the latest first",
		answer: []attest.Attempt{},
		query: []parameter{{"registrationId", "Only those of this device"},
			{"refused", "true: only those that were refused"},
			{"max", "At most so many, up to 1,000; 100 when left out"}}},
	"POST /berth/portal/links": {summary: "Make a link that logs in to the portal, once", request: own.PortalLogin{},
		answer: credential.LoginLink{}},
	"GET /berth/hub/devices": {summary: "List a hub's devices by prefix", query: paging,
		answer: contract.Page[identity.Device]{}},
	"GET /berth/hub/telemetry": {id: "telemetry", kind: lines, answer: telemetry.Message{},
		summary: "Follow a hub's telemetry: one message a line, until the client leaves",
		query: []parameter{{"from",
			"earliest, latest (when left out), or a time of the years 1678 to 2262 such as 2026-11-23T12:00:00Z"},
			{"device", "Only messages of this device"}, {"max", "End after so many messages"}}},
	"GET /berth/hub/events": {id: "events", kind: lines, answer: telemetry.Message{},
		summary: "Follow what happens to a hub's devices: one event a line, until the client leaves",
		query: []parameter{{"from",
			"earliest, latest (when left out), or a time of the years 1678 to 2262 such as 2026-11-23T12:00:00Z"},
			{"device", "Only events of this device"}, {"max", "End after so many events"}}},

	"GET /berth/provisioning/attempts/{sequence}": {summary: "Read an attempt, with all that its judgement depended on",
		answer: attest.Attempt{}},
	"POST /berth/provisioning/checkchain": {summary: "Judge a chain of certificates before any device comes with it",
		request: own.ChainBody{}, answer: provisioning.Decision{}},
	"GET /berth/provisioning/audit": {summary: "List who changed what, the latest first",
		answer: contract.Page[audit.Entry]{},
		query: []parameter{{"kind", "Only changes of things of this kind"}, {"id", "Only changes of this thing"},
			{"actor", "Only changes by this actor"},
			{"since", "Only changes from this time on"}, {"until", "Only changes before this time"}, paging[1],
			paging[2]}},
	"GET /berth/provisioning/audit/{bulk}": {summary: "List the things of a bulk operation, by the name in its entry",
		answer: contract.Page[audit.Item]{},
		query:  []parameter{paging[1]}},
	"GET /berth/unreadable": {summary: "Read all records of the server, and list those that can't be read",
		answer: []contract.Unreadable{}},
	"DELETE /berth/unreadable": {summary: "Delete a record that can't be read, with what belongs to it",
		query: []parameter{{"collection", "The record's collection, as it is listed"},
			{"key", "The record's key, as it is listed"}}},

	"GET /berth/provisioning/lockouts": {summary: "List the sources that are locked out",
		answer: []guard.LockedOut{}},
	"DELETE /berth/provisioning/lockouts/{source}": {summary: "Hear a source again that is locked out"},

	"GET /berth/provisioning/certificates": {id: "pageOfAuthorities", summary: "List certificate authorities",
		query: paging, answer: contract.Page[authority.Authority]{}},
	"GET /berth/provisioning/certificates/{id}": {id: "getAuthority", summary: "Read a certificate authority",
		answer: authority.Authority{}, etag: true},
	"PUT /berth/provisioning/certificates/{id}": {id: "putAuthority", summary: "Upload a certificate authority, " +
		"or replace its certificate", request: own.CertificateUpload{}, answer: authority.Authority{}, etag: true,
		ifMatch: true},
	"DELETE /berth/provisioning/certificates/{id}": {id: "deleteAuthority", summary: "Delete a certificate authority",
		query: []parameter{{"force", "true: though enrollment groups name it"}}, ifMatch: true},
	"POST /berth/provisioning/certificates/{id}/generateVerificationCode": {id: "newVerificationCode", summary: "Make the code that proves " +
		"possession of the authority's key", answer: authority.Authority{}, etag: true, ifMatch: true},
	"POST /berth/provisioning/certificates/{id}/verify": {id: "verifyAuthority", summary: "Hand in the certificate that proves possession",
		request: own.CertificateUpload{}, answer: authority.Authority{}, etag: true, ifMatch: true},

	"GET /berth/hub/certificates": {id: "pageOfHubAuthorities", summary: "List the certificate authorities of a hub",
		query: paging, answer: contract.Page[authority.Authority]{}},
	"GET /berth/hub/certificates/{id}": {id: "getHubAuthority", summary: "Read a certificate authority of a hub",
		answer: authority.Authority{}, etag: true},
	"PUT /berth/hub/certificates/{id}": {id: "putHubAuthority", summary: "Upload a certificate authority of a hub, " +
		"or replace its certificate", request: own.CertificateUpload{}, answer: authority.Authority{}, etag: true,
		ifMatch: true},
	"DELETE /berth/hub/certificates/{id}": {id: "deleteHubAuthority", summary: "Delete a certificate authority of a hub", ifMatch: true},
	"POST /berth/hub/certificates/{id}/generateVerificationCode": {id: "newHubVerificationCode", summary: "Make the code that proves " +
		"possession of the authority's key", answer: authority.Authority{}, etag: true, ifMatch: true},
	"POST /berth/hub/certificates/{id}/verify": {id: "verifyHubAuthority", summary: "Hand in the certificate that proves possession",
		request: own.CertificateUpload{}, answer: authority.Authority{}, etag: true, ifMatch: true},

	"GET /berth/provisioning/misbehaviours": {summary: "List the faults that are still to be injected",
		answer: []inject.Fault{}},
	"POST /berth/provisioning/misbehaviours": {summary: "Inject a fault into the next registrations",
		request: inject.Fault{}, answer: inject.Fault{}},
	"DELETE /berth/provisioning/misbehaviours":      {summary: "Remove all injected faults"},
	"DELETE /berth/provisioning/misbehaviours/{id}": {summary: "Remove an injected fault"},

	"GET /berth/provisioning/hubs": {summary: "List the linked hubs", answer: []linkedhub.Link{}},
	"POST /berth/provisioning/hubs": {summary: "Add a hub to the server's process, and link it",
		request: own.NewHub{}, answer: linkedhub.Link{}},
	"GET /berth/provisioning/hubs/{host}": {summary: "Read the link of a hub",
		query: []parameter{{"count", "true: count its devices too"}}, answer: linkedhub.Link{}},
	"PUT /berth/provisioning/hubs/{host}": {summary: "Link a hub, or change its link",
		request: linkedhub.Link{}, answer: linkedhub.Link{}, ifMatch: true},
	"DELETE /berth/provisioning/hubs/{host}": {summary: "End the link of a hub",
		query: []parameter{{"force", "true: though devices are assigned to it"}}, ifMatch: true},
	"GET /berth/provisioning/networks": {summary: "List the networks whose latencies are known",
		answer: []allocation.Network{}},
	"PUT /berth/provisioning/networks/{prefix}": {summary: "Say how far a network is from the locations of hubs",
		request: allocation.Network{}, answer: allocation.Network{}, ifMatch: true},
	"DELETE /berth/provisioning/networks/{prefix}": {summary: "Forget a network", ifMatch: true},
	"POST /berth/provisioning/allocate": {summary: "Say where a device would go, and change nothing",
		request: provisioning.PreviewRequest{}, answer: provisioning.Preview{}},

	"GET /berth/provisioning/credentialpolicies": {summary: "List credential policies",
		answer: []issuance.Policy{}},
	"GET /berth/provisioning/credentialpolicies/{name}": {summary: "Read a credential policy",
		answer: issuance.Policy{}},
	"PUT /berth/provisioning/credentialpolicies/{name}": {summary: "Create or update a credential policy",
		request: issuance.Policy{}, answer: issuance.Policy{}, ifMatch: true},
	"DELETE /berth/provisioning/credentialpolicies/{name}": {summary: "Delete a credential policy",
		query: []parameter{{"force", "true: though enrollments name it"}}, ifMatch: true},
	"GET /berth/provisioning/issuingauthorities": {summary: "List issuing authorities",
		answer: []issuance.Authority{}},
	"GET /berth/provisioning/issuingauthorities/{name}": {summary: "Read an issuing authority",
		answer: issuance.Authority{}},
	"PUT /berth/provisioning/issuingauthorities/{name}": {summary: "Make an issuing authority",
		answer: issuance.Authority{}, ifMatch: true},
	"DELETE /berth/provisioning/issuingauthorities/{name}": {summary: "Delete an issuing authority, and make " +
		"void all that it signed",
		query:   []parameter{{"force", "true: though policies name it, or certificates that it signed are good"}},
		ifMatch: true},
	"POST /berth/provisioning/issuingauthorities/{name}/request": {summary: "Make the request for a certificate that " +
		"an authority of the operator's own is to sign", request: own.IssuingAuthorityRequest{},
		answer: issuance.Authority{}, ifMatch: true},
	"POST /berth/provisioning/issuingauthorities/{name}/activate": {summary: "Bring the certificate that was signed, " +
		"with those above it", request: own.IssuingAuthorityChain{}, answer: issuance.Authority{}, ifMatch: true},
	"POST /berth/provisioning/issuingauthorities/{name}/revoke": {summary: "Revoke an issuing authority, and all that " +
		"it signed",
		query: []parameter{{"replacement", "The issuing authority that its policies name from now on; it " +
			"is made when there is none"}}, answer: issuance.Authority{}, ifMatch: true},
	"POST /berth/provisioning/issuedcertificates/revoke": {summary: "Revoke all certificates of a device",
		query: []parameter{{"registrationId", "The device"}}, answer: own.RevokedCertificates{}},
	"GET /berth/provisioning/issuedcertificates": {summary: "List issued certificates",
		query: append([]parameter{{"registrationId", "Only those of this device, the latest first"},
			{"prefix", "Only those whose thumbprints start with this, in hexadecimal"}}, paging[1:]...),
		answer: contract.Page[issuance.Certificate]{}},
	"GET /berth/provisioning/issuedcertificates/{thumbprint}": {summary: "Read an issued certificate",
		answer: issuance.Certificate{}},
	"POST /berth/provisioning/issuedcertificates/{thumbprint}/revoke": {summary: "Revoke an issued certificate",
		answer: issuance.Certificate{}},

	"GET /berth/provisioning/policies": {summary: "List the shared access policies, with their keys",
		answer: []access.Policy{}},
	"POST /berth/provisioning/policies": {summary: "Create a shared access policy with fresh keys",
		request: own.SharedAccessPolicy{}, answer: access.Policy{}, etag: true},
	"GET /berth/provisioning/policies/{name}": {summary: "Read a shared access policy, with its keys",
		answer: access.Policy{}, etag: true},
	"PUT /berth/provisioning/policies/{name}": {summary: "Give a shared access policy other rights",
		request: own.SharedAccessPolicy{}, answer: access.Policy{}, etag: true, ifMatch: true},
	"DELETE /berth/provisioning/policies/{name}": {summary: "Delete a shared access policy", ifMatch: true},
	"POST /berth/provisioning/policies/{name}/regenerateKey": {summary: "Regenerate a key of a shared access policy",
		request: own.RegenerateKey{}, answer: access.Policy{}, etag: true, ifMatch: true},
}

// pathParameters are described by the part of the path that they follow, or by
// their own name.
var pathParameters = map[string]string{
	"enrollments":        "Registration id",
	"enrollmentGroups":   "Enrollment group id",
	"registrations":      "Registration id, or the enrollment group id of a query",
	"devices":            "Device id",
	"modules":            "Module id",
	"twinindexes":        "Path, such as tags.site",
	"devicebound":        "Lock token, which receiving gave as ETag",
	"feedback":           "Lock token, which receiving gave as ETag",
	"twins":              "Device id",
	"v2":                 "Job id",
	"jobs":               "Job id",
	"configurations":     "Id of the configuration",
	"digitaltwins":       "Device id",
	"components":         "Component",
	"commands":           "Command",
	"operations":         "Operation id, as the registration answered it",
	"certificates":       "Name of the certificate authority",
	"misbehaviours":      "Id of the injected fault",
	"faults":             "Id of the injected fault",
	"hubs":               "Host name of the hub",
	"networks":           "Prefix of the network, such as 10.1.0.0/16, its slash percent-encoded",
	"audit":              "Name of the bulk operation, as its entry has it",
	"credentialpolicies": "Name of the credential policy",
	"issuingauthorities": "Name of the issuing authority",
	"issuedcertificates": "SHA-256 thumbprint of the certificate, in upper-case hexadecimal",
	"policies":           "Name of the shared access policy",
	"attempts":           "Sequence of the attempt in the log",
	"lockouts":           "The source: an IPv4 address, or an IPv6 network such as 2001:db8::/64",
	"":                   "ID scope of the provisioning service",
}
