package provisioning

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// registerWithKey lets a device with this symmetric key register, and returns its
// registration, which must be assigned.
func (h *fixture) registerWithKey(id, key string) DeviceRegistration {
	h.t.Helper()
	token, err := credential.NewToken(scope+"/registrations/"+id, "registration", key, h.clock.Now().Add(time.Hour))
	if err != nil {
		h.t.Fatal(err)
	}
	session := h.OpenSession(scope, id,
		credential.Evidence{Token: token, Protocol: "mqtt", RemoteAddr: "127.0.0.1:4711"})
	operation, err := session.Register(h.t.Context(), nil)
	for err == nil && operation.Status == StatusAssigning {
		operation, err = session.Operation(h.t.Context(), operation.OperationID)
	}
	if err != nil || operation.Status != StatusAssigned {
		h.t.Fatalf("%s: the operation is %+v, error %v", id, operation, err)
	}
	return *operation.RegistrationState
}

// TestRegistrationInAnotherCase registers a device of a group again with its id in
// another case. That is the same registration, so that it keeps its device id and its
// twin, whatever becomes of its hub.
func TestRegistrationInAnotherCase(t *testing.T) {
	for _, c := range []struct {
		name, policy, next string // the group's hub at the second registration
		want               Substatus
		hub                int    // where the device is then
		tags               string // that it has there
	}{
		{"migrate, in the same hub", "migrate", "a.local", InitialAssignment, 0, `{"keep":1}`},
		{"reset, in the same hub", "reset", "a.local", InitialAssignment, 0, `{"keep":1}`},
		{"never, in the same hub", "never", "a.local", InitialAssignment, 0, `{"keep":1}`},
		{"migrate", "migrate", "b.local", DeviceDataMigrated, 1, `{"keep":1}`},
		{"reset", "reset", "b.local", DeviceDataReset, 1, `{"new":1}`},
		{"never", "never", "b.local", InitialAssignment, 0, `{"keep":1}`},
	} {
		for _, steps := range []bool{false, true} { // the assignment is one commit, or has steps
			t.Run(c.name, func(t *testing.T) {
				h := newFixture(t, "a.local", "b.local")
				policy := enroll.ReprovisionPolicies[c.policy]
				group := enroll.Group{EnrollmentGroupID: "g", Settings: enroll.Settings{Attestation: keys(),
					ReprovisionPolicy: &policy, Hubs: []string{"a.local"},
					InitialTwin: &linkedhub.InitialTwin{Tags: json.RawMessage(`{"new":1}`)}}}
				hook := &webhook{answers: []string{`200 {"iotHubHostName":"a.local"}`, `200 {"iotHubHostName":"` +
					c.next + `"}`}}
				if steps {
					h.ask(hook)
					group.Hubs, group.AllocationPolicy = nil, allocation.Custom
					group.CustomAllocationDefinition = &allocation.CustomDefinition{WebhookURL: "https://allocate.example/hook"}
				}
				put := func() {
					t.Helper()
					if _, err := h.Groups().Put(t.Context(), group, ""); err != nil {
						t.Fatal(err)
					}
				}
				put()
				key := func(id string) string { return attest.DeriveKey(group.Attestation.SymmetricKey.PrimaryKey, id) }
				h.registerWithKey("tw-1", key("tw-1"))
				before := h.hub(0).devices["tw-1"]
				before.Twin = &linkedhub.InitialTwin{Tags: json.RawMessage(`{"keep":1}`)}
				h.hub(0).devices["tw-1"] = before
				if !steps {
					group.Hubs = []string{c.next}
					put()
				}
				state := h.registerWithKey("TW-1", key("TW-1"))
				if state.RegistrationID != "tw-1" || state.DeviceID != "tw-1" ||
					state.AssignedHub != h.hubs[c.hub].Host() ||
					state.Substatus != c.want {
					t.Errorf("registered as %+v", state.Registration)
				}
				h.settle()
				for i := range h.hubs {
					there, ok := h.hub(i).device("tw-1")
					if ok != (i == c.hub) || len(h.hub(i).devices) > 1 {
						t.Errorf("hub %d has %+v", i, h.hub(i).devices)
					} else if ok && (string(there.Twin.Tags) != c.tags || there.PrimaryKey != key("TW-1")) {
						t.Errorf("the device has the tags %s and the key %s", there.Twin.Tags, there.PrimaryKey)
					}
				}
				// And back.
				if state := h.registerWithKey("tw-1", key("tw-1")); state.DeviceID != "tw-1" {
					t.Errorf("registered as %+v", state.Registration)
				}
				if len(hook.asked) > 1 && !strings.Contains(hook.asked[1], `"currentDeviceId":"tw-1"`) {
					t.Errorf("the webhook was asked %s", hook.asked[1])
				}
			})
		}
	}
}

// TestEnrollmentInAnotherCase deletes an individual enrollment and makes it again with its
// id in another case. A device id that it names is taken as it stands.
func TestEnrollmentInAnotherCase(t *testing.T) {
	h, ctx := newFixture(t, "hub.local"), t.Context()
	enrollment := enroll.Enrollment{RegistrationID: "tw-1", Settings: enroll.Settings{Attestation: keys()}}
	register := func(wantDevice string) {
		t.Helper()
		h.enroll(enrollment)
		state := h.registerWithKey("Tw-1", enrollment.Attestation.SymmetricKey.PrimaryKey)
		h.settle()
		if _, ok := h.hub(0).device(wantDevice); !ok || state.DeviceID != wantDevice || len(h.hub(0).devices) != 1 {
			t.Errorf("registered as %+v, the hub has %+v", state.Registration, h.hub(0).devices)
		}
		if preview, err := h.PreviewAllocation(ctx, PreviewRequest{RegistrationID: "TW-1"}); err != nil ||
			preview.DeviceID != wantDevice {
			t.Errorf("the preview is %+v, error %v", preview, err)
		}
	}
	register("tw-1")
	if err := h.Enrollments().Delete(ctx, "tw-1", ""); err != nil {
		t.Fatal(err)
	}
	enrollment.RegistrationID = "TW-1"
	register("tw-1")
	enrollment.DeviceID = "TW-1"
	register("TW-1")
	enrollment.DeviceID = "other"
	register("other")
	enrollment.DeviceID = ""
	register("tw-1")
}
