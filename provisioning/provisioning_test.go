package provisioning

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/attempts"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

func TestADeviceGetsItsBerth(t *testing.T) {
	h := newFixture(t, "hub.local")
	device := valid(t, "Python-device-01")
	enrollment := device.enrollment()
	enrollment.InitialTwin = &linkedhub.InitialTwin{Properties: linkedhub.InitialTwinProperties{Desired: json.RawMessage(`{"interval":5}`)}}
	h.enroll(enrollment)

	first := h.mustRegister(device)
	if first.DeviceID != "Python-device-01" || first.AssignedHub != "hub.local" ||
		first.Substatus != InitialAssignment {
		t.Fatalf("registered as %+v", first)
	}
	if first.X509.CertificateInfo.SubjectName != "CN=Python-device-01" {
		t.Errorf("attested with %+v", first.X509.CertificateInfo)
	}
	admitted, _ := h.hub(0).device("Python-device-01")
	if _, sha256 := credential.Thumbprints(device.evidence.Certificates[0]); admitted.PrimaryThumbprint != sha256 {
		t.Errorf("the hub was told the thumbprint %s, the device has %s", admitted.PrimaryThumbprint, sha256)
	}
	if string(admitted.Twin.Properties.Desired) != `{"interval":5}` {
		t.Errorf("the hub was told the twin %s", admitted.Twin.Properties.Desired)
	}

	h.clock.Set(noon.Add(time.Hour))
	h.reopen()
	again := h.mustRegister(device)
	if again.Substatus != InitialAssignment || !again.CreatedDateTimeUTC.Equal(noon) ||
		!again.LastUpdatedDateTimeUTC.Equal(h.clock.Now()) {
		t.Errorf("registered again as %+v", again)
	}
	attempt := h.lastAttempt("python-device-01")
	if attempt.Outcome != attest.Assigned || attempt.Hub != "hub.local" || len(attempt.Checks) < 8 {
		t.Errorf("the attempt is %+v", attempt)
	}
	if counts, _ := h.Counts(context.Background()); counts != (Counts{Enrollments: 1, Registrations: 1}) {
		t.Errorf("counted %+v", counts)
	}
}

func TestRefusals(t *testing.T) {
	h := newFixture(t, "hub.local")
	device, other := valid(t, "d1"), valid(t, "d1")
	h.enroll(device.enrollment())
	expired := newIdentity(t, "expired", noon.Add(-48*time.Hour), 24*time.Hour)
	early := newIdentity(t, "early", noon.Add(time.Hour), 24*time.Hour)
	h.enroll(expired.enrollment())
	h.enroll(early.enrollment())
	disabled := valid(t, "disabled")
	closed := disabled.enrollment()
	closed.ProvisioningStatus = enroll.Disabled
	h.enroll(closed)

	for _, c := range []struct {
		name, scope, id string
		evidence        credential.Evidence
		body            string
		code            fault.Code
		check           string
	}{
		{"unknown ID scope", "0neFFFFFFFF", "d1", device.evidence, "", fault.UnauthorizedAccess, "ID scope"},
		{"id that breaks the rules", scope, "d 1", device.evidence, "", fault.InvalidRegistrationID, "registration id"},
		{"no certificate", scope, "d1", credential.Evidence{Protocol: "mqtt"}, "", fault.UnauthorizedAccess,
			"client certificate"},
		{"a token instead", scope, "d1", credential.Evidence{Token: "SharedAccessSignature sr=x"}, "",
			fault.UnauthorizedAccess, "token"},
		{"common name of another", scope, "d2", device.evidence, "", fault.UnauthorizedAccess, "common name"},
		{"unknown registration id", scope, "stranger", valid(t, "stranger").evidence, "", fault.UnauthorizedAccess,
			"enrollment"},
		{"another certificate", scope, "d1", other.evidence, "", fault.UnauthorizedAccess, "enrolled certificate"},
		{"expired", scope, "expired", expired.evidence, "", fault.UnauthorizedAccess, "validity"},
		{"not yet valid", scope, "early", early.evidence, "", fault.UnauthorizedAccess, "validity"},
		{"disabled", scope, "disabled", disabled.evidence, "", fault.UnauthorizedAccess, "provisioning status"},
		{"malformed JSON", scope, "d1", device.evidence, `{"registrationId":`, fault.ArgumentInvalid, "request"},
		{"JSON of another shape", scope, "d1", device.evidence, `[1]`, fault.ArgumentInvalid, "request"},
		{"something after the JSON", scope, "d1", device.evidence, `{}{}`, fault.ArgumentInvalid, "request"},
		{"oversized JSON", scope, "d1", device.evidence, `{"payload":"` + string(make([]byte, maxRequest)) + `"}`,
			fault.ArgumentInvalid, "request"},
		{"request for another", scope, "d1", device.evidence, `{"registrationId":"d2"}`, fault.InvalidRegistrationID,
			"request"},
		{"certificate request", scope, "d1", device.evidence, `{"csr":"AA=="}`, fault.ArgumentInvalid,
			"certificate request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := h.OpenSession(c.scope, c.id, c.evidence).Register(context.Background(), []byte(c.body))
			if !errors.Is(err, c.code) {
				t.Fatalf("got %v, want %v", err, c.code)
			}
			attempt := h.lastAttempt(c.id)
			failed, ok := attempt.Checks.Failed()
			if !ok || failed.Name != c.check || failed.Advice == "" {
				t.Errorf("the failed check is %+v, want %q with advice", failed, c.check)
			}
			if attempt.Outcome != attest.Refused || attempt.TrackingID != fault.From(err).TrackingID ||
				attempt.Code != int(c.code) {
				t.Errorf("the attempt is %+v", attempt)
			}
		})
	}
	if h.mustRegister(device).DeviceID != "d1" {
		t.Error("the enrolled device does not come in any more")
	}
	if refused, err := h.Attempts().Find(context.Background(), attempts.Filter{Refused: true}); err != nil ||
		len(refused) != 16 {
		t.Errorf("%d refusals on record, error %v", len(refused), err)
	}
}

// What a stranger is told must not show which registration ids exist.
func TestStrangersLearnNothing(t *testing.T) {
	h := newFixture(t, "hub.local")
	h.enroll(valid(t, "exists").enrollment())
	_, enrolled := h.register(valid(t, "exists"))
	_, unknown := h.register(valid(t, "unknown"))
	if a, b := fault.From(enrolled), fault.From(unknown); a.Code != b.Code || a.Message != b.Message {
		t.Errorf("told apart: %v and %v", a, b)
	}
}

func TestPrimaryAndSecondaryCertificate(t *testing.T) {
	h := newFixture(t, "hub.local")
	old, next := valid(t, "roll"), valid(t, "roll")
	enrollment := old.enrollment()
	enrollment.Attestation.X509.ClientCertificates.Secondary = &enroll.X509Certificate{Certificate: next.PEM}
	written := h.enroll(enrollment)
	h.mustRegister(old)
	h.mustRegister(next)

	// The client reads the enrollment, drops the old certificate, writes it back.
	certificates := written.Attestation.X509.ClientCertificates
	if certificates.Primary.Certificate != "" {
		t.Error("the certificate itself comes out of the service")
	}
	certificates.Primary, certificates.Secondary = &enroll.X509Certificate{Certificate: next.PEM}, nil
	if _, err := h.Enrollments().Put(context.Background(), written, written.ETag); err != nil {
		t.Fatal(err)
	}
	if _, err := h.register(old); !errors.Is(err, fault.UnauthorizedAccess) {
		t.Errorf("the old certificate is told %v", err)
	}
	h.mustRegister(next)
}

func TestPacedRegistration(t *testing.T) {
	h := newFixture(t, "hub.local")
	h.pace = Paced
	h.reopen()
	h.hub(0).hold = make(chan struct{})
	device := valid(t, "slow")
	h.enroll(device.enrollment())
	session := h.OpenSession(scope, "slow", device.evidence)
	operation, err := session.Register(context.Background(), nil)
	if err != nil || operation.Status != StatusAssigning || operation.RetryAfter != retryAfter ||
		operation.RegistrationState != nil {
		t.Fatalf("registering answers %+v, error %v", operation, err)
	}
	if polled, err := session.Operation(context.Background(), operation.OperationID); err != nil ||
		polled.Status != StatusAssigning {
		t.Fatalf("polling early answers %+v, error %v", polled, err)
	}
	if _, err := session.Operation(context.Background(), "4.0.other"); !errors.Is(err, fault.OperationNotFound) {
		t.Errorf("polling another operation answers %v", err)
	}
	again, err := session.Register(context.Background(), nil)
	if err != nil || again.OperationID != operation.OperationID {
		t.Errorf("registering again meanwhile answers %+v, error %v", again, err)
	}
	close(h.hub(0).hold)
	h.settle()
	// Another connection of the same device may poll; a stranger's may not.
	polled, err := h.OpenSession(scope, "slow", device.evidence).Operation(context.Background(), operation.OperationID)
	if err != nil || polled.Status != StatusAssigned || polled.OperationID != operation.OperationID {
		t.Errorf("polling later answers %+v, error %v", polled, err)
	}
	if _, err := h.OpenSession(scope, "slow", valid(t, "slow").evidence).Operation(context.Background(),
		operation.OperationID); !errors.Is(err, fault.UnauthorizedAccess) {
		t.Errorf("a stranger's poll answers %v", err)
	}
}

// A process that dies after its promise finishes it after its next start,
// whether or not the device comes back.
func TestUnfinishedAssignmentsAreTakenUp(t *testing.T) {
	h := newFixture(t, "hub.local")
	device := valid(t, "interrupted")
	h.enroll(device.enrollment())
	evidence := attest.Evidence{IDScope: scope, RegistrationID: "interrupted", Evidence: device.evidence}
	promised := intent{RegistrationID: "interrupted", OperationID: newOperationID(),
		Certificate: credential.Describe(device.evidence.Certificates[0])}
	enrollment, err := h.Enrollments().Get(context.Background(), "interrupted")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.writeIntent(context.Background(), promised, enrollment); err != nil {
		t.Fatal(err)
	}

	h.reopen()
	h.sweep(context.Background(), make(map[string]time.Time)) // beside the service's own
	h.settle()
	if _, ok := h.hub(0).device("interrupted"); !ok {
		t.Fatal("the hub has not admitted the device")
	}
	session := &Session{service: h.Service, evidence: evidence}
	operation, err := session.Operation(context.Background(), promised.OperationID)
	if err != nil || operation.Status != StatusAssigned {
		t.Errorf("the operation is %+v, error %v", operation, err)
	}
	if left, err := h.intents.Count(context.Background()); left != 0 || err != nil {
		t.Errorf("%d intents are left, error %v", left, err)
	}
}

// What another node has begun is left to it for as long as it may take, and then taken up.
func TestUnfinishedAssignmentsOfAnotherNode(t *testing.T) {
	h, ctx := newFixture(t, "hub.local"), context.Background()
	device := valid(t, "elsewhere")
	h.enroll(device.enrollment())
	enrollment, err := h.Enrollments().Get(ctx, "elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	config := h.config
	config.Node = "another"
	promised := intent{RegistrationID: "elsewhere", OperationID: newOperationID(),
		Certificate: credential.Describe(device.evidence.Certificates[0])}
	if _, err := newService(config).writeIntent(ctx, promised, enrollment); err != nil {
		t.Fatal(err)
	}
	others := make(map[string]time.Time)
	for _, passed := range []time.Duration{0, othersTimeout - time.Minute, othersTimeout} {
		if since, seen := others[promised.OperationID]; seen {
			others[promised.OperationID] = since.Add(-passed)
		}
		if err := h.sweep(ctx, others); err != nil {
			t.Fatal(err)
		}
		h.settle()
		if _, taken := h.hub(0).device("elsewhere"); taken != (passed == othersTimeout) {
			t.Fatalf("after %v it is taken up: %v", passed, taken)
		}
	}
	if err := h.sweep(ctx, others); err != nil || len(others) > 0 {
		t.Errorf("what is done is still waited for: %v, %v", others, err)
	}
}

func TestAHubThatRefuses(t *testing.T) {
	h := newFixture(t, "hub.local")
	device := valid(t, "unlucky")
	h.enroll(device.enrollment())
	h.hub(0).refuse = fault.New(fault.BadRequest, "The hub is full")
	operation, err := h.register(device)
	if err != nil || operation.Status != StatusFailed ||
		operation.RegistrationState.ErrorCode != int(fault.BadRequest) {
		t.Fatalf("registering answers %+v, error %v", operation, err)
	}
	if attempt := h.lastAttempt("unlucky"); attempt.Outcome != attest.Failed || attempt.Code != int(fault.BadRequest) {
		t.Errorf("the attempt is %+v", attempt)
	}
	h.hub(0).refuse = nil
	if state := h.mustRegister(device); state.ErrorCode != 0 || state.Substatus != InitialAssignment {
		t.Errorf("the next time it is %+v", state)
	}
}

func TestChoiceOfHub(t *testing.T) {
	h := newFixture(t, "a.local", "b.local", "c.local")
	device := valid(t, "bound")
	enrollment := device.enrollment()
	enrollment.Hubs = []string{"B.local"}
	h.enroll(enrollment)
	if state := h.mustRegister(device); state.AssignedHub != "b.local" {
		t.Errorf("an enrollment for b.local is assigned to %s", state.AssignedHub)
	}
}

func TestMovingToAnotherHub(t *testing.T) {
	for _, c := range []struct {
		name   string
		policy enroll.ReprovisionPolicy
		hub    string
		want   Substatus
		twin   string
	}{
		{"migrate", enroll.ReprovisionPolicies["migrate"], "b.local", DeviceDataMigrated, `{"interval":9}`},
		{"reset", enroll.ReprovisionPolicies["reset"], "b.local", DeviceDataReset, `{"interval":5}`},
		{"never", enroll.ReprovisionPolicies["never"], "a.local", InitialAssignment, `{"interval":9}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newFixture(t, "a.local", "b.local")
			device := valid(t, "mover")
			enrollment := device.enrollment()
			enrollment.HubHostName, enrollment.ReprovisionPolicy = "a.local", &c.policy
			enrollment.InitialTwin = &linkedhub.InitialTwin{Properties: linkedhub.InitialTwinProperties{Desired: json.RawMessage(`{"interval":5}`)}}
			h.enroll(enrollment)
			h.mustRegister(device)
			changed, _ := h.hub(0).device("mover")
			reason := "stolen"
			changed.Status = linkedhub.Status{Disabled: true, Reason: &reason}
			changed.Twin = &linkedhub.InitialTwin{Properties: linkedhub.InitialTwinProperties{
				Desired: json.RawMessage(`{"interval":9}`)}}
			h.hub(0).devices["mover"] = changed

			enrollment.HubHostName = "b.local"
			h.enroll(enrollment)
			state := h.mustRegister(device)
			if state.AssignedHub != c.hub || state.Substatus != c.want {
				t.Errorf("assigned to %s, %s; want %s, %s", state.AssignedHub, state.Substatus, c.hub, c.want)
			}
			var where []string
			for i := range h.hubs {
				if admitted, ok := h.hub(i).device("mover"); ok {
					where = append(where, h.hubs[i].Host())
					if got := string(admitted.Twin.Properties.Desired); got != c.twin {
						t.Errorf("the twin in %s is %s, want %s", h.hubs[i].Host(), got, c.twin)
					}
					got := admitted.Status
					if got.Disabled != (c.name != "reset") || got.Disabled && *got.Reason != reason {
						t.Errorf("the status in %s is %+v", h.hubs[i].Host(), got)
					}
				}
			}
			if len(where) != 1 || where[0] != c.hub {
				t.Errorf("the device is in %v, want it in %s alone", where, c.hub)
			}
		})
	}
}

// What a device is told that comes again depends on the api-version that it speaks:
// Azure's clients of 2019-03-31 are told initialAssignment, later ones that they were
// there before, also when the record of that was deleted (azure-iot-cli-extension's
// tests of device registrations; azure-iot-sdk-csharp, pull request 2397).
func TestComingAgain(t *testing.T) {
	const again = ReprovisionedToInitialAssignment
	for _, c := range []struct {
		version                    string
		stays, forgotten, returned Substatus // registers again; with its record deleted; back from another hub
	}{
		{"2019-03-31", InitialAssignment, InitialAssignment, DeviceDataReset},
		{"", InitialAssignment, InitialAssignment, DeviceDataReset},
		{"2021-06-01", again, again, DeviceDataReset},
		{"2025-07-01-preview", again, again, DeviceDataReset},
	} {
		for _, remote := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/remote=%t", c.version, remote), func(t *testing.T) {
				h, ctx := newFixture(t, "a.local", "b.local"), context.Background()
				device := valid(t, "d1")
				device.evidence.APIVersion = c.version
				enrollment := device.enrollment()
				enrollment.HubHostName = "a.local"
				enrollment.ReprovisionPolicy = &enroll.ReprovisionPolicy{UpdateHubAssignment: true}
				if remote { // so that the assignment takes its steps
					h.ask(&webhook{answers: []string{`200 {"iotHubHostName":"a.local"}`}})
					enrollment.HubHostName, enrollment.Hubs = "", []string{"a.local"}
					enrollment.AllocationPolicy = allocation.Custom
					enrollment.CustomAllocationDefinition = &allocation.CustomDefinition{WebhookURL: "https://allocate.example/hook"}
				}
				h.enroll(enrollment)
				is := func(what string, want Substatus) {
					t.Helper()
					if state := h.mustRegister(device); state.Substatus != want {
						t.Errorf("%s: told %s, want %s", what, state.Substatus, want)
					}
				}
				is("the first time", InitialAssignment)
				is("again", c.stays)
				is("and again", c.stays)
				if err := h.Registrations().Delete(ctx, "d1", ""); err != nil {
					t.Fatal(err)
				}
				is("with its record deleted", c.forgotten)
				if remote {
					return
				}
				for _, host := range []string{"b.local", "a.local"} {
					enrollment.HubHostName = host
					h.enroll(enrollment)
					is("moved to "+host, c.returned)
					is("again in "+host, c.returned)
				}
			})
		}
	}
}

// Many connections of one device at once make one device and one record.
func TestRegisteringAtOnce(t *testing.T) {
	h := newFixture(t, "hub.local")
	device := valid(t, "eager")
	h.enroll(device.enrollment())
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if operation, err := h.register(device); err != nil || operation.Status != StatusAssigned {
				t.Errorf("registering answers %+v, error %v", operation, err)
			}
		})
	}
	group.Wait()
	if n := len(h.hub(0).devices); n != 1 {
		t.Errorf("the hub has %d devices", n)
	}
}

func TestTimeInJSON(t *testing.T) {
	encoded, err := json.Marshal(Registration{RegistrationID: "x", Status: StatusAssigned,
		CreatedDateTimeUTC: Time{Time: noon.Add(1234500)}})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"registrationId":"x","createdDateTimeUtc":"2026-11-23T12:00:00.0012345Z","status":"assigned","lastUpdatedDateTimeUtc":"0001-01-01T00:00:00Z"}`
	if string(encoded) != want {
		t.Errorf("got  %s\nwant %s", encoded, want)
	}
}

func FuzzReadRequest(f *testing.F) {
	f.Add([]byte(`{"registrationId":"d1","payload":{"a":[1]}}`))
	f.Add([]byte(`{"tpm":null,"csr":""}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, problem := readRequest(body, "d1"); problem != nil && problem.Code.Status() != 400 {
			t.Errorf("%q is answered %v", body, problem)
		}
	})
}
