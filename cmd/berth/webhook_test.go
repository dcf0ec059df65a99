package main

import (
	"cmp"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/attempts"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// webhooks is a real process with two hubs, 127.0.0.1 and 127.0.0.2, and an authority
// that it trusts for webhooks.
type webhooks struct {
	t       *testing.T
	process *process
	pki     pki
	healthy *httptest.Server
	served  map[string]tls.Certificate // by signer and wish

	mutex sync.Mutex
	asked []string // of the healthy one
}

func newWebhooks(t *testing.T) *webhooks {
	w := &webhooks{t: t, pki: pki{t, t.TempDir()}, served: make(map[string]tls.Certificate)}
	for _, authority := range []string{"trusted", "stranger"} {
		w.pki.make(authority, "", true, wish{})
	}
	data := t.TempDir()
	w.process = startProcess(t, buildBinary(t), data, "--webhook-ca-file", w.pki.path("trusted.pem"))
	var output, mistakes strings.Builder
	if code := run(t.Context(), []string{"hub", "create", "east", "--data", data}, &output, &mistakes); code != 0 {
		t.Fatal(&mistakes)
	}
	if code := run(t.Context(), []string{"hub", "link", "east", "--data", data}, &output, &mistakes); code != 0 {
		t.Fatal(&mistakes)
	}
	w.healthy = w.serve("healthy", "trusted", wish{extensions: "subjectAltName=IP:127.0.0.1"},
		func(answer http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil || r.Method != http.MethodPost ||
				!strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
				t.Errorf("the webhook is sent %s %s %s, error %v", r.Method, r.Header.Get("Content-Type"), body, err)
			}
			w.mutex.Lock()
			defer w.mutex.Unlock()
			w.asked = append(w.asked, string(body))
			io.WriteString(answer,
				`{"iotHubHostName":"127.0.0.1","initialTwin":{"tags":{"made":"by the webhook"},"properties":{"desired":{"darkness":"medium"}}},"payload":{"hello":["device",1]}}`)
		})
	return w
}

// serve starts a webhook with a certificate of an authority, the same for all of whom the
// same is wished.
func (w *webhooks) serve(name, authority string, certificate wish, handler http.HandlerFunc) *httptest.Server {
	w.t.Helper()
	made := fmt.Sprintf("%s %+v", authority, certificate)
	pair, ok := w.served[made]
	if !ok {
		w.pki.make(name, authority, false, certificate)
		var err error
		if pair, err = tls.LoadX509KeyPair(w.pki.path(name+".pem"), w.pki.path(name+".key")); err != nil {
			w.t.Fatal(err)
		}
		w.served[made] = pair
	}
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that must fail
	server.StartTLS()
	w.t.Cleanup(server.Close)
	return server
}

// group makes a group whose devices the webhook at the address places, in the first
// hub only.
func (w *webhooks) group(t *testing.T, id, address, ifMatch string) {
	t.Helper()
	if _, err := w.process.provisioning.PutGroup(within(t, time.Minute),
		enroll.Group{EnrollmentGroupID: id, Settings: enroll.Settings{Hubs: []string{"127.0.0.1"},
			Attestation: enroll.AttestationMechanism{Type: "symmetricKey"}, AllocationPolicy: allocation.Custom,
			CustomAllocationDefinition: &allocation.CustomDefinition{WebhookURL: address, APIVersion: "2019-03-31"}}},
		ifMatch); err != nil {
		t.Fatal(err)
	}
}

// device is a device of the group.
func (w *webhooks) device(t *testing.T, group, id string) device.ProvisioningOptions {
	t.Helper()
	keys, err := w.process.provisioning.GroupAttestationMechanism(within(t, time.Minute), group)
	if err != nil {
		t.Fatal(err)
	}
	return device.ProvisioningOptions{Host: w.process.mqttHost("localhost"), IDScope: w.process.info.IDScope,
		RegistrationID: id, SASKey: attest.DeriveKey(keys.SymmetricKey.PrimaryKey, id), RootCAs: w.process.roots}
}

// secret is in the address of every webhook, as the key of an Azure Function is.
const secret = "hunter2-is-a-secret"

// TestWebhooksThatMisbehave: whatever a webhook does, its device is told in time that
// its registration failed, the attempt says what the webhook did and what to do, and
// with a webhook that works the same device is assigned.
func TestWebhooksThatMisbehave(t *testing.T) {
	t.Parallel()
	w := newWebhooks(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close() // so that nothing listens there
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	const good = `{"iotHubHostName":"127.0.0.1"}`
	local := wish{extensions: "subjectAltName=IP:127.0.0.1"}
	says := func(status int, body string) http.HandlerFunc {
		return func(answer http.ResponseWriter, _ *http.Request) {
			answer.WriteHeader(status)
			io.WriteString(answer, body)
		}
	}
	hang := func(r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done() // until the caller goes away
	}
	cases := []struct {
		name    string
		webhook http.HandlerFunc
		address string // in place of webhook's
		signer  string // of its certificate; trusted when empty
		wish    wish
		code    fault.Code
		saw     string
		advice  string
	}{
		{name: "hangs", webhook: func(_ http.ResponseWriter, r *http.Request) { hang(r) },
			code: fault.AllocationFailed, saw: "did not answer within 5 seconds", advice: "what it waits for"},
		{name: "hangs in its answer", webhook: func(answer http.ResponseWriter, r *http.Request) {
			io.WriteString(answer, good[:9])
			answer.(http.Flusher).Flush()
			hang(r)
		}, code: fault.AllocationFailed, saw: "began to answer with the status 200, and did not end within 5 seconds",
			advice: "whole answer at once"},
		{name: "breaks off", webhook: func(answer http.ResponseWriter, _ *http.Request) {
			answer.Header().Set("Content-Length", "4711")
			io.WriteString(answer, good)
		}, code: fault.AllocationFailed, saw: "broke off its answer, which began with the status 200",
			advice: "the connection ended before"},
		{name: "hangs up", webhook: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			code: fault.AllocationFailed, saw: "did not answer", advice: "can be reached"},
		{name: "redirects",
			webhook: http.RedirectHandler("https://127.0.0.1/elsewhere", http.StatusTemporaryRedirect).ServeHTTP,
			code:    fault.AllocationFailed, saw: "redirects, with the status 307",
			advice: "Redirects are not followed"},
		{name: "is not there", webhook: http.NotFound, code: fault.AllocationFailed,
			saw: "There is no allocation webhook at its address", advice: "path in webhookUrl"},
		{name: "fails", webhook: says(500, "oops"), code: fault.AllocationFailed, saw: "the answer is the status 500",
			advice: "asked three times"},
		{name: "has no time", webhook: says(429, ""), code: fault.AllocationFailed, saw: "the answer is the status 429",
			advice: "asked three times"},
		{name: "refuses", webhook: says(401, ""), code: fault.WebhookUnauthorized,
			saw: "refused the service with the status 401", advice: "?code=KEY"},
		{name: "answers 204", webhook: says(204, ""), code: fault.AllocationFailed, saw: "answered with the status 204",
			advice: "must answer with the status 200"},
		{name: "answers HTML", webhook: says(200, "<html>"), code: fault.AllocationFailed,
			saw: "is not JSON: it breaks at byte 1 of 6", advice: "a JSON object that has iotHubHostName"},
		{name: "answers nothing", webhook: says(200, ""), code: fault.AllocationFailed,
			saw: "is not JSON: it breaks at byte 0 of 0", advice: "a JSON object that has iotHubHostName"},
		{name: "answers a list", webhook: says(200, "[1,2]"), code: fault.AllocationFailed,
			saw: "not the JSON of an allocation", advice: "with a JSON object"},
		{name: "answers a number for the hub", webhook: says(200, `{"iotHubHostName":7}`), code: fault.AllocationFailed,
			saw: "iotHubHostName must be a string, not a number", advice: "Correct the property"},
		{name: "names no hub", webhook: says(200, `{"payload":{}}`), code: fault.HubNotSpecified, saw: "names no hub",
			advice: "answer with iotHubHostName"},
		{name: "names the hub null", webhook: says(200, `{"iotHubHostName":null}`), code: fault.HubNotSpecified,
			saw: "names no hub", advice: "answer with iotHubHostName"},
		{name: "answers 10 MB", webhook: func(answer http.ResponseWriter, _ *http.Request) {
			io.WriteString(answer, `{"iotHubHostName":"127.0.0.1","payload":"`)
			for range 10 << 10 {
				if _, err := io.WriteString(answer, strings.Repeat("x", 1<<10)); err != nil {
					return // the caller has had enough
				}
			}
			io.WriteString(answer, `"}`)
		}, code: fault.AllocationFailed, saw: "has more than 262144 bytes", advice: "alone"},
		{name: "names an unknown hub", webhook: says(200, `{"iotHubHostName":"evil.example.com"}`),
			code: fault.HubNotSpecified, saw: `"evil.example.com", which is not linked`, advice: "berth hub link"},
		{name: "names a hub of others", webhook: says(200, `{"iotHubHostName":"127.0.0.2"}`),
			code: fault.HubNotSpecified, saw: `"127.0.0.2", which is linked, but not one of the enrollment's`,
			advice: "allow the hub"},
		{name: "sends too much payload",
			webhook: says(200, `{"iotHubHostName":"127.0.0.1","payload":"`+strings.Repeat("x", 64<<10)+`"}`),
			code:    fault.AllocationFailed, saw: "payload has 65538 bytes, the limit is 65536",
			advice: "send the device less"},
		{name: "sends a broken payload", webhook: says(200, `{"iotHubHostName":"127.0.0.1","payload":{"a":}}`),
			code: fault.AllocationFailed, saw: "breaks at byte 46 of 47", advice: "JSON object"},
		{name: "sends tags that are none",
			webhook: says(200, `{"iotHubHostName":"127.0.0.1","initialTwin":{"tags":["a"]}}`),
			code:    fault.AllocationFailed, saw: "initialTwin is refused: initialTwin.tags must be a JSON object",
			advice: "Correct the initialTwin"},
		{name: "sends a twin too large",
			webhook: says(200, `{"iotHubHostName":"127.0.0.1","initialTwin":{"tags":{"a":"`+strings.Repeat("x", 5<<10)+
				`"}}}`),
			code: fault.AllocationFailed, saw: "a string of 5120 bytes is too long", advice: "Correct the initialTwin"},
		{name: "has an expired certificate", wish: wish{days: "-1", extensions: local.extensions},
			webhook: says(200, good), code: fault.AllocationFailed, saw: "certificate has expired", advice: "Renew"},
		{name: "has an unknown certificate", signer: "stranger", webhook: says(200, good),
			code: fault.AllocationFailed, saw: "an authority that this server does not trust",
			advice: "--webhook-ca-file"},
		{name: "has a certificate for another host", wish: wish{extensions: "subjectAltName=DNS:other.example.com"},
			webhook: says(200, good),
			code:    fault.AllocationFailed, saw: "certificate is for another host",
			advice: "put the host of its certificate there"},
		{name: "speaks no TLS", address: strings.Replace(plain.URL, "http:", "https:", 1), code: fault.AllocationFailed,
			saw: "does not speak TLS", advice: "port in webhookUrl"},
		{name: "is not running", address: "https://" + closed.Addr().String(), code: fault.AllocationFailed,
			saw: "the connection is refused", advice: "Start the webhook"},
	}
	reader := w.as(t, "reader", provisioning.EnrollmentRead, provisioning.EnrollmentWrite,
		provisioning.RegistrationStatusRead)
	type outcome struct {
		options device.ProvisioningOptions
		err     error
		took    time.Duration

		dryRun, readersDryRun error // of who may configure the service, and of who may not
	}
	var outcomes []chan outcome
	for _, c := range cases { // all at once: some wait long
		id := strings.ReplaceAll(c.name, " ", "-")
		if c.address == "" {
			if c.wish == (wish{}) {
				c.wish = local
			}
			c.address = w.serve(id, cmp.Or(c.signer, "trusted"), c.wish, c.webhook).URL
		}
		w.group(t, id, c.address+"/allocate?code="+secret, "")
		done, options, ctx := make(chan outcome, 1), w.device(t, id, "device-"+id), within(t, time.Minute)
		dryRun := provisioning.PreviewRequest{RegistrationID: options.RegistrationID, GroupID: id}
		go func() {
			o := outcome{options: options}
			begun := time.Now()
			_, o.err = device.Provision(ctx, options)
			o.took = time.Since(begun)
			if !strings.HasPrefix(id, "hangs") { // a dry run says the same, as slowly
				_, o.dryRun = w.process.provisioning.PreviewAllocation(ctx, dryRun)
				_, o.readersDryRun = reader.PreviewAllocation(ctx, dryRun)
			}
			done <- o
		}()
		outcomes = append(outcomes, done)
	}
	// What there is at an address is told to the owner. All others are told the same of
	// everything, but of an answer that a webhook alone gives.
	const same = "no answer that can be used"
	open := []string{"refuses", "answers a number for the hub", "names no hub", "names the hub null",
		"names an unknown hub", "names a hub of others",
		"sends too much payload", "sends tags that are none", "sends a twin too large"}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			first := <-outcomes[i]
			options := first.options
			told := c.saw
			if !slices.Contains(open, c.name) {
				told = same
			}
			var problem *fault.Error
			if !errors.As(first.err, &problem) || problem.Code != c.code || !strings.Contains(problem.Message, told) {
				t.Errorf("the device is told %v, want %d that says %q", first.err, c.code, told)
			}
			if told == same {
				w.tellsNothing(t, reader, options.RegistrationID, c.saw, c.advice)
			}
			if first.took > 30*time.Second {
				t.Errorf("the device waited for %s", first.took)
			}
			attempts, err := w.process.provisioning.Attempts(within(t, time.Minute),
				attempts.Filter{RegistrationID: options.RegistrationID})
			if err != nil || len(attempts) != 1 {
				t.Fatalf("the attempts are %+v, error %v", attempts, err)
			}
			check, _ := attempts[0].Checks.Failed()
			if attempts[0].Outcome != attest.Failed || attempts[0].Code != int(c.code) ||
				check.Name != "allocation" || !strings.Contains(check.Saw, c.saw) ||
				!strings.Contains(check.Advice, c.advice) {
				t.Errorf("the attempt is %+v, want one that saw %q and advises %q", attempts[0], c.saw, c.advice)
			}
			whole, err := w.process.provisioning.Attempt(within(t, time.Minute), attempts[0].Sequence)
			if text := fmt.Sprintf("%+v %s", whole, whole.Snapshot); err != nil || strings.Contains(text, secret) {
				t.Errorf("the attempt holds the webhook's key: %s, error %v", text, err)
			}

			group := strings.TrimPrefix(options.RegistrationID, "device-")
			if !strings.HasPrefix(group, "hangs") {
				if err := first.dryRun; !errors.As(err, &problem) || problem.Code != c.code ||
					!strings.Contains(problem.Message, c.saw) {
					t.Errorf("a dry run is answered %v, want %d that says %q", err, c.code, c.saw)
				}
				if err := first.readersDryRun; !errors.As(err, &problem) || !strings.Contains(problem.Message, told) {
					t.Errorf(
						"a dry run of somebody who may not configure the service is answered %v, want one that says %q",
						err, told)
				}
			}
			w.group(t, group, w.healthy.URL+"/allocate?code="+secret, "*")
			registration, err := device.Provision(within(t, time.Minute), options)
			if err != nil || registration.RegistrationState.AssignedHub != "127.0.0.1" ||
				registration.RegistrationState.Substatus != "initialAssignment" ||
				string(registration.RegistrationState.Payload) != `{"hello":["device",1]}` ||
				registration.RegistrationState.ErrorCode != 0 {
				t.Errorf("with a webhook that works it is told %+v, error %v", registration.RegistrationState, err)
			}
		})
	}
	w.process.terminate(t)
	if text := w.process.log.String(); strings.Contains(text, secret) ||
		!strings.Contains(text, "certificate signed by unknown authority") {
		t.Errorf("the log has the webhook's key, or not what was wrong with one:\n%s", text)
	}
}

// as is a client with a policy of its own.
func (w *webhooks) as(t *testing.T, name string, rights ...string) *backend.Provisioning {
	t.Helper()
	policy, err := w.process.provisioning.CreatePolicy(within(t, time.Minute), name, rights)
	if err != nil {
		t.Fatal(err)
	}
	connection := credential.ConnectionString{HostName: "localhost", SharedAccessKeyName: name,
		SharedAccessKey: policy.PrimaryKey}
	client, err := backend.NewProvisioning(connection.String(),
		backend.Options{RootCAs: w.process.roots, Address: cli.Loopback(w.process.info.Ports.HTTPS)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// tellsNothing holds what the reader finds of a registration against what it must not
// say.
func (w *webhooks) tellsNothing(t *testing.T, reader *backend.Provisioning, id string, secrets ...string) {
	t.Helper()
	attempts, err := reader.Attempts(within(t, time.Minute), attempts.Filter{RegistrationID: id})
	if err != nil || len(attempts) != 1 {
		t.Fatalf("the attempts are %+v, error %v", attempts, err)
	}
	attempt, err := reader.Attempt(within(t, time.Minute), attempts[0].Sequence)
	if err != nil {
		t.Fatal(err)
	}
	registration, err := reader.Registration(within(t, time.Minute), id)
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprintf("%+v %+v %+v", attempts, attempt, registration)
	for _, secret := range secrets {
		if strings.Contains(shown, secret) {
			t.Errorf("somebody who may not configure the service is told %q in %s", secret, shown)
		}
	}
}

// TestWebhookThatRecovers: a failure that passes is not the device's.
func TestWebhookThatRecovers(t *testing.T) {
	t.Parallel()
	w := newWebhooks(t)
	calls := 0
	flaky := w.serve("flaky", "trusted", wish{extensions: "subjectAltName=IP:127.0.0.1"},
		func(answer http.ResponseWriter, _ *http.Request) {
			if calls++; calls < 3 {
				http.Error(answer, "not now", http.StatusInternalServerError)
				return
			}
			io.WriteString(answer, `{"iotHubHostName":"127.0.0.1","payload":null}`)
		})
	w.group(t, "flaky", flaky.URL, "")
	registration, err := device.Provision(within(t, time.Minute), w.device(t, "flaky", "d1"))
	if err != nil || registration.RegistrationState.AssignedHub != "127.0.0.1" || calls != 3 ||
		registration.RegistrationState.Payload != nil {
		t.Errorf("after %d calls the device is told %+v, error %v", calls, registration.RegistrationState, err)
	}
}

// TestWebhookDocuments: the webhook is sent what Azure sends, and no key; the device's
// payload goes there, and the webhook's payload and twin come back.
func TestWebhookDocuments(t *testing.T) {
	w := newWebhooks(t)
	ctx := within(t, time.Minute)
	definition := func(version string) *allocation.CustomDefinition {
		return &allocation.CustomDefinition{WebhookURL: w.healthy.URL + "/api/allocate", APIVersion: version}
	}
	group, err := w.process.provisioning.PutGroup(ctx,
		enroll.Group{EnrollmentGroupID: "meters", Settings: enroll.Settings{Hubs: []string{"127.0.0.1", "127.0.0.2"},
			Attestation: enroll.AttestationMechanism{Type: "symmetricKey"}, AllocationPolicy: allocation.Custom,
			CustomAllocationDefinition: definition("2019-03-31")}}, "")
	if err != nil {
		t.Fatal(err)
	}
	certificate, enrollment, err := newDevice("alone")
	if err != nil {
		t.Fatal(err)
	}
	enrollment.DeviceID = "alone-device"
	enrollment.AllocationPolicy = allocation.Custom
	enrollment.CustomAllocationDefinition = definition("")
	if _, err := w.process.provisioning.PutEnrollment(ctx, enrollment, ""); err != nil {
		t.Fatal(err)
	}
	member := w.device(t, "meters", "meter-1")
	alone := device.ProvisioningOptions{Host: member.Host, IDScope: member.IDScope, RegistrationID: "alone",
		Certificate: &certificate, RootCAs: member.RootCAs}
	member.Payload = json.RawMessage(`{"model":"m-7","sizes":[1,2.5]}`)

	context := func(id, attestation, payload, current string) string {
		return `"registrationId":"` + id + `",` + current + `"` + attestation + `":*` + payload
	}
	for _, c := range []struct {
		name    string
		options device.ProvisioningOptions
		entry   string // enrollmentGroup or individualEnrollment
		version string
		context string // of deviceRuntimeContext, with the attestation left out
	}{
		{"member of a group", member, "enrollmentGroup", "2019-03-31",
			context("meter-1", "symmetricKey", `,"payload":{"model":"m-7","sizes":[1,2.5]}`, "")},
		{"the same again", member, "enrollmentGroup", "2019-03-31",
			context("meter-1", "symmetricKey", `,"payload":{"model":"m-7","sizes":[1,2.5]}`,
				`"currentIotHubHostName":"127.0.0.1","currentDeviceId":"meter-1",`)},
		{"individual", alone, "individualEnrollment", "2021-10-01", context("alone", "x509", "", "")},
		{"individual again", alone, "individualEnrollment", "2021-10-01",
			context("alone", "x509", "", `"currentIotHubHostName":"127.0.0.1","currentDeviceId":"alone-device",`)},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.asked = nil
			registration, err := device.Provision(within(t, time.Minute), c.options)
			if err != nil {
				t.Fatal(err)
			}
			state := registration.RegistrationState
			if state.AssignedHub != "127.0.0.1" || string(state.Payload) != `{"hello":["device",1]}` {
				t.Errorf("the device is told %+v", state)
			}
			twin, err := w.process.hub.Twin(within(t, time.Minute), state.DeviceID)
			if err != nil || twin.Tags.Get("made").Text() != "by the webhook" ||
				twin.Properties.Desired.Get("darkness").Text() != "medium" {
				t.Errorf("its twin is %+v, error %v", twin, err)
			}
			if len(w.asked) != 1 {
				t.Fatalf("the webhook was asked %q", w.asked)
			}
			var request map[string]json.RawMessage
			var entry struct {
				enroll.Enrollment
				EnrollmentGroupID string `json:"enrollmentGroupId"`
			}
			var device map[string]json.RawMessage
			if err := errors.Join(json.Unmarshal([]byte(w.asked[0]), &request),
				json.Unmarshal(request[c.entry], &entry),
				json.Unmarshal(request["deviceRuntimeContext"], &device)); err != nil {
				t.Fatalf("the webhook was asked %s: %v", w.asked[0], err)
			}
			if len(request) != 3 || string(request["linkedHubs"]) != `["127.0.0.1","127.0.0.2"]` {
				t.Errorf("the webhook was asked %s", w.asked[0])
			}
			if entry.AllocationPolicy != allocation.Custom ||
				entry.CustomAllocationDefinition.APIVersion != c.version || entry.ETag == "" ||
				entry.ProvisioningStatus != enroll.Enabled || entry.ReprovisionPolicy == nil ||
				entry.CreatedDateTimeUTC.IsZero() ||
				c.entry == "enrollmentGroup" && (entry.EnrollmentGroupID != "meters" || len(entry.Hubs) != 2) ||
				c.entry == "individualEnrollment" && entry.RegistrationID != "alone" {
				t.Errorf("it is told of the enrollment %s", request[c.entry])
			}
			for name, want := range map[string]string{"symmetricKey": `{}`, "x509": `{"certificateInfo":`} {
				if got, there := device[name]; there != strings.Contains(c.context, name) || there &&
					!strings.HasPrefix(string(got), want) {
					t.Errorf("it is told of the device %s", request["deviceRuntimeContext"])
				}
			}
			text := string(request["deviceRuntimeContext"])
			for _, attestation := range []string{"symmetricKey", "x509"} {
				if shown, there := device[attestation]; there {
					text = strings.Replace(text, string(shown), "*", 1)
				}
			}
			if text != "{"+c.context+"}" {
				t.Errorf("it is told of the device %s, want %s", text, c.context)
			}
			for _, key := range []string{group.Attestation.SymmetricKey.PrimaryKey,
				group.Attestation.SymmetricKey.SecondaryKey, c.options.SASKey} {
				if key != "" && strings.Contains(w.asked[0], key) {
					t.Errorf("the webhook is sent a key: %s", w.asked[0])
				}
			}
		})
	}
}
