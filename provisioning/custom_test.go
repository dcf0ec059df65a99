package provisioning

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// webhook answers as a test says, and remembers what it was asked.
type webhook struct {
	answers []string // "status body", one a call; the last one again and again
	asked   []string
}

func (w *webhook) Call(_ context.Context, address string, body []byte, _ int) (int, []byte, error) {
	w.asked = append(w.asked, string(body))
	answer := w.answers[min(len(w.asked), len(w.answers))-1]
	status, text, _ := strings.Cut(answer, " ")
	if status == "0" {
		return 0, nil, errors.New("connection refused")
	}
	var code int
	if err := json.Unmarshal([]byte(status), &code); err != nil {
		return 0, nil, err
	}
	return code, []byte(text), nil
}

func customGroup(webhookURL string) enroll.Group {
	return enroll.Group{EnrollmentGroupID: "g",
		Settings: enroll.Settings{AllocationPolicy: allocation.Custom,
			CustomAllocationDefinition: &allocation.CustomDefinition{WebhookURL: webhookURL},
			InitialTwin:                &linkedhub.InitialTwin{Tags: json.RawMessage(`{"from":"group"}`)}}}
}

// ask has the service ask another webhook from now on.
func (h *fixture) ask(webhook allocation.Webhook) {
	h.Service.allocator = allocation.New(allocation.Config{Links: h.links, Networks: h.networks, Webhook: webhook})
}

func TestCustomAllocation(t *testing.T) {
	ctx := context.Background()
	root := certify(t, "Root", nil, true)
	device := certify(t, "device-1", root, false)
	for name, test := range map[string]struct {
		answers []string
		hub     string
		code    fault.Code
		says    string
		calls   int
	}{
		"the second hub": {[]string{`200 {"iotHubHostName":"TWO.local","payload":{"a":1},"initialTwin":{"tags":{"from":"webhook"}}}`}, "two.local", 0, "", 1},
		"after it was down": {[]string{"0", "503 later", `200 {"iotHubHostName":"one.local"}`}, "one.local", 0,
			"", 3},
		"down for good": {[]string{"0"}, "", fault.AllocationFailed, "no answer that can be used", 3},
		"fails":         {[]string{"500 oops"}, "", fault.AllocationFailed, "no answer that can be used", 3},
		"refuses":       {[]string{"403 no"}, "", fault.WebhookUnauthorized, "status 403", 1},
		"redirects":     {[]string{"302 there"}, "", fault.AllocationFailed, "no answer that can be used", 1},
		"nonsense": {[]string{"200 <html>"}, "", fault.AllocationFailed, "no answer that can be used",
			1},
		"no hub": {[]string{"200 {}"}, "", fault.HubNotSpecified, "names no hub", 1},
		"a hub that is not there": {[]string{`200 {"iotHubHostName":"evil.example"}`}, "", fault.HubNotSpecified,
			"evil.example", 1},
		"too much payload": {[]string{`200 {"iotHubHostName":"one.local","payload":"` + strings.Repeat("x", 64<<10) +
			`"}`}, "", fault.AllocationFailed, "the limit is", 1},
	} {
		t.Run(name, func(t *testing.T) {
			h := newFixture(t, "one.local", "two.local")
			hook := &webhook{answers: test.answers}
			h.ask(hook)
			group := customGroup("https://allocate.example/hook")
			group.Attestation = enroll.AttestationMechanism{Type: "x509",
				X509: &enroll.X509Attestation{SigningCertificates: &enroll.X509Certificates{Primary: &enroll.X509Certificate{Certificate: root.pem}}}}
			if _, err := h.Groups().Put(ctx, group, ""); err != nil {
				t.Fatal(err)
			}
			session := h.OpenSession(scope, "device-1", evidenceOf(device, root))
			operation, err := session.Register(ctx, []byte(`{"registrationId":"device-1","payload":{"model":"m1"}}`))
			for err == nil && operation.Status == StatusAssigning {
				operation, err = session.Operation(ctx, operation.OperationID)
			}
			if err != nil {
				t.Fatal(err)
			}
			state := operation.RegistrationState
			if len(hook.asked) != test.calls {
				t.Errorf("the webhook was called %d times, want %d", len(hook.asked), test.calls)
			}
			if test.hub == "" {
				if state.Status != StatusFailed || state.ErrorCode != int(test.code) ||
					!strings.Contains(state.ErrorMessage, test.says) {
					t.Errorf("the device is told %+v", state)
				}
				return
			}
			if state.AssignedHub != test.hub {
				t.Errorf("assigned to %s, want %s", state.AssignedHub, test.hub)
			}
			if test.hub == "two.local" {
				if string(state.Payload) != `{"a":1}` ||
					string(h.hub(1).devices["device-1"].Twin.Tags) != `{"from":"webhook"}` {
					t.Errorf("payload %s, tags %s", state.Payload, h.hub(1).devices["device-1"].Twin.Tags)
				}
				var request allocationRequest
				if err := json.Unmarshal([]byte(hook.asked[0]), &request); err != nil {
					t.Fatal(err)
				}
				if request.EnrollmentGroup.EnrollmentGroupID != "g" ||
					string(request.Device.Payload) != `{"model":"m1"}` || len(request.LinkedHubs) != 2 ||
					request.Device.X509.CertificateInfo.SubjectName != "CN=device-1" {
					t.Errorf("the webhook was asked %s", hook.asked[0])
				}
			}
		})
	}
}

func TestCustomAllocationIsChecked(t *testing.T) {
	h, ctx := newFixture(t, "hub.local"), context.Background()
	for _, address := range []string{"", "nothing", "ftp://example.com/x", "http://example.com/x", "https://",
		"https://:443/",
		"http://127.evil.example", "http://127.0.0.1.evil.example/x", "http://localhost.evil.example",
		"http://localhost:80@evil.example/",
		"http://10.0.0.1/", "http://0.0.0.0/", "http://[::2]/", "http://127.1/", "https://x.example:port/",
		"http://%6cocalhost:1:2/"} {
		group := customGroup(address)
		group.Attestation = enroll.AttestationMechanism{Type: "symmetricKey"}
		if _, err := h.Groups().Put(ctx, group, ""); err == nil || !strings.Contains(err.Error(), "webhookUrl") {
			t.Errorf("the webhook %q: %v", address, err)
		}
	}
	for i, address := range []string{"http://localhost:7071/api/allocate", "http://LOCALHOST/",
		"http://127.0.0.1:7071/x", "http://127.9.9.9/", "http://[::1]:80/",
		"https://user:password@10.0.0.1:8443/hook?code=1"} {
		group := customGroup(address)
		group.EnrollmentGroupID = fmt.Sprintf("g%d", i)
		group.Attestation = enroll.AttestationMechanism{Type: "symmetricKey"}
		if _, err := h.Groups().Put(ctx, group, ""); err != nil {
			t.Errorf("the webhook %q: %v", address, err)
		}
	}
	group := customGroup("http://user:hunter2@x.example/hunter2?code=hunter2")
	group.Attestation = enroll.AttestationMechanism{Type: "symmetricKey"}
	for _, address := range []string{"http://user:hunter2@x.example/hunter2?code=hunter2",
		"https://user:hunter2@:443/hunter2", "https://x.example:hunter2/"} {
		group.CustomAllocationDefinition = &allocation.CustomDefinition{WebhookURL: address}
		if _, err := h.Groups().Put(ctx, group, ""); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("of the webhook %q it is said %v", address, err)
		}
	}
}

// Of each attestation the webhook is told what Azure tells it: of a TPM its public
// keys, of symmetric keys none.
func TestWebhookIsToldOfTheAttestation(t *testing.T) {
	h := newFixture(t, "one.local")
	definition := &allocation.CustomDefinition{WebhookURL: "https://allocate.example/hook"}
	for _, c := range []struct {
		mechanism enroll.AttestationMechanism
		want      string
	}{
		{enroll.AttestationMechanism{Type: enroll.TPM,
			TPM: &enroll.TPMAttestation{EndorsementKey: "ZWs=", StorageRootKey: "c3Jr"}},
			`"tpm":{"endorsementKey":"ZWs=","storageRootKey":"c3Jr"}`},
		{enroll.AttestationMechanism{Type: enroll.SymmetricKey,
			SymmetricKey: &enroll.SymmetricKeyAttestation{PrimaryKey: "secret", SecondaryKey: "secret"}},
			`"symmetricKey":{}`},
		{enroll.AttestationMechanism{Type: enroll.X509}, `"x509":{"certificateInfo":{"subjectName":"CN=d1"`},
	} {
		enrollment := enroll.Enrollment{RegistrationID: "d1",
			Settings: enroll.Settings{Attestation: c.mechanism, CustomAllocationDefinition: definition}}
		device := intent{RegistrationID: "d1", Mechanism: c.mechanism.Type,
			Certificate: &credential.X509CertificateInfo{SubjectName: "CN=d1"}}
		body, err := h.webhookBody(context.Background(), enrollment, device, storedRegistration{}, nil)
		var request struct {
			Device json.RawMessage `json:"deviceRuntimeContext"`
		}
		if err != nil || json.Unmarshal(body, &request) != nil ||
			!strings.HasPrefix(string(request.Device), `{"registrationId":"d1",`+c.want) ||
			strings.Contains(string(body), "secret") {
			t.Errorf("of %s it is told %s, error %v", c.mechanism.Type, body, err)
		}
	}
}

// The webhook's initial twin goes before the one that would migrate; without one the
// device keeps its own.
func TestWebhookTwinGoesBeforeMigration(t *testing.T) {
	ctx := context.Background()
	device := valid(t, "d1")
	for name, test := range map[string]struct {
		twin      string
		tags      string
		substatus Substatus
	}{
		"a twin":  {`{"tags":{"from":"webhook"}}`, `{"from":"webhook"}`, DeviceDataReset},
		"no twin": {"null", `{"from":"enrollment"}`, DeviceDataMigrated},
	} {
		t.Run(name, func(t *testing.T) {
			h := newFixture(t, "one.local", "two.local")
			h.ask(&webhook{answers: []string{`200 {"iotHubHostName":"one.local"}`,
				`200 {"iotHubHostName":"two.local","initialTwin":` + test.twin + `}`}})
			enrollment := device.enrollment()
			enrollment.AllocationPolicy = allocation.Custom
			enrollment.CustomAllocationDefinition = &allocation.CustomDefinition{WebhookURL: "https://allocate.example/hook"}
			enrollment.InitialTwin = &linkedhub.InitialTwin{Tags: json.RawMessage(`{"from":"enrollment"}`)}
			h.enroll(enrollment)
			h.mustRegister(device)
			disabled := h.hub(0).devices["d1"]
			disabled.Status.Disabled = true
			h.hub(0).devices["d1"] = disabled
			preview, err := h.PreviewAllocation(ctx, PreviewRequest{RegistrationID: "d1"})
			if err != nil || preview.HubHostName != "two.local" || preview.Substatus != test.substatus {
				t.Errorf("the preview is %+v, error %v", preview, err)
			}
			if state := h.mustRegister(device); state.AssignedHub != "two.local" || state.Substatus != test.substatus {
				t.Errorf("the device is told %+v", state)
			}
			if tags := string(h.hub(1).devices["d1"].Twin.Tags); tags != test.tags {
				t.Errorf("its tags are %s", tags)
			}
			if !h.hub(1).devices["d1"].Status.Disabled {
				t.Error("the device was disabled by an operator, and is not where it comes to")
			}
		})
	}
}

// hangingWebhook answers when nobody waits any more.
type hangingWebhook struct{ called chan struct{} }

func (w hangingWebhook) Call(ctx context.Context, _ string, _ []byte, _ int) (int, []byte, error) {
	close(w.called)
	<-ctx.Done()
	return 0, nil, ctx.Err()
}

// A server that stops while a webhook is asked does not let the device fail: the
// assignment goes on after the next start.
func TestWebhookIsAskedAgainAfterAStop(t *testing.T) {
	ctx := context.Background()
	h, device := newFixture(t, "one.local"), valid(t, "d1")
	enrollment := device.enrollment()
	enrollment.AllocationPolicy = allocation.Custom
	enrollment.CustomAllocationDefinition = &allocation.CustomDefinition{WebhookURL: "https://allocate.example/hook"}
	h.enroll(enrollment)
	hanging := hangingWebhook{make(chan struct{})}
	h.ask(hanging)
	operation, err := h.OpenSession(scope, "d1", device.evidence).Register(ctx, nil)
	if err != nil || operation.Status != StatusAssigning {
		t.Fatalf("while the webhook hangs the device is told %+v, error %v", operation, err)
	}
	<-hanging.called
	over, cancel := context.WithCancel(ctx)
	cancel()
	h.hurry = over
	h.webhook = &webhook{answers: []string{`200 {"iotHubHostName":"one.local"}`}}
	h.reopen()
	session := h.OpenSession(scope, "d1", device.evidence)
	for deadline := time.Now().Add(30 * time.Second); operation.Status == StatusAssigning &&
		time.Now().Before(deadline); {
		if operation, err = session.Operation(ctx, operation.OperationID); err != nil {
			t.Fatal(err)
		}
	}
	if operation.Status != StatusAssigned || operation.RegistrationState.AssignedHub != "one.local" {
		t.Errorf("after the next start the device is told %+v", operation)
	}
}
