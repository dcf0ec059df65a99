package provisioning

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// TestStaticWithoutAHub writes enrollments that are to have a hub of their own before
// it is named, as Azure takes them: the device learns at its registration that there is
// none, the operator where to name one, and naming it is all that is needed.
func TestStaticWithoutAHub(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		enroll func(h *fixture) (device deviceIdentity, place func(host string) error)
	}{
		"created": {func(h *fixture) (deviceIdentity, func(string) error) {
			device := valid(t, "d1")
			enrollment := device.enrollment()
			enrollment.AllocationPolicy = allocation.Static
			if _, err := h.Enrollments().Create(ctx, enrollment); err != nil {
				t.Fatal(err)
			}
			return device, func(host string) error {
				return h.change("d1", func(e *enroll.Enrollment) { e.HubHostName = host })
			}
		}},
		"updated": {func(h *fixture) (deviceIdentity, func(string) error) {
			device := valid(t, "d1")
			enrollment := device.enrollment()
			enrollment.AllocationPolicy, enrollment.HubHostName = allocation.Static, "one.local"
			h.enroll(enrollment)
			if err := h.change("d1", func(e *enroll.Enrollment) { e.HubHostName = "" }); err != nil {
				t.Fatal(err)
			}
			return device, func(host string) error {
				return h.change("d1", func(e *enroll.Enrollment) { e.Hubs = []string{host} })
			}
		}},
		"the hub it had is taken from it": {func(h *fixture) (deviceIdentity, func(string) error) {
			device := valid(t, "d1")
			enrollment := device.enrollment()
			enrollment.AllocationPolicy, enrollment.Hubs = allocation.Static, []string{"one.local"}
			h.enroll(enrollment)
			h.mustRegister(device)
			if err := h.change("d1", func(e *enroll.Enrollment) { e.Hubs = nil }); err != nil {
				t.Fatal(err)
			}
			return device, func(host string) error {
				return h.change("d1", func(e *enroll.Enrollment) { e.HubHostName = host })
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newFixture(t, "one.local", "two.local")
			device, place := c.enroll(h)
			preview, err := h.PreviewAllocation(ctx, PreviewRequest{RegistrationID: "d1"})
			if err != nil || preview.HubHostName != "" || len(preview.Candidates) != 0 ||
				!strings.Contains(preview.Reason, "no hub") {
				t.Errorf("the preview is %+v, error %v", preview, err)
			}
			operation, err := h.register(device)
			if err != nil || operation.Status != StatusFailed || operation.RegistrationState == nil {
				t.Fatalf("registering answers %+v, error %v", operation, err)
			}
			if state := operation.RegistrationState; state.ErrorCode != int(fault.HubNotSpecified) ||
				!strings.Contains(state.ErrorMessage, "names no hub") {
				t.Errorf("the device is told %d %q", state.ErrorCode, state.ErrorMessage)
			}
			attempt := h.lastAttempt("d1")
			if check, failed := attempt.Checks.Failed(); !failed || check.Name != "allocation" ||
				!strings.Contains(check.Advice, "--hub") || attempt.Outcome != attest.Failed {
				t.Errorf("the attempt says %s: %+v", attempt.Outcome, check)
			}
			if err := place("two.local"); err != nil {
				t.Fatal(err)
			}
			if state := h.mustRegister(device); state.AssignedHub != "two.local" {
				t.Errorf("then it is assigned to %s", state.AssignedHub)
			}
		})
	}
}

// TestStaticGroupWithoutAHub does the same for a group, whose initial twin is looked at
// all the same: it will be given by whichever hub is named.
func TestStaticGroupWithoutAHub(t *testing.T) {
	h := newFixture(t, "one.local", "two.local")
	ctx := context.Background()
	group, err := h.Groups().Create(ctx,
		enroll.Group{EnrollmentGroupID: "g", Settings: enroll.Settings{Attestation: keys(),
			AllocationPolicy: allocation.Static}})
	if err != nil || group.AllocationPolicy != allocation.Static {
		t.Fatalf("created %+v, error %v", group, err)
	}
	preview, err := h.PreviewAllocation(ctx, PreviewRequest{RegistrationID: "d1", GroupID: "g"})
	if err != nil || preview.HubHostName != "" {
		t.Errorf("the preview is %+v, error %v", preview, err)
	}
	err = h.changeGroup(func(g *enroll.Group) {
		g.InitialTwin = &linkedhub.InitialTwin{Tags: []byte(`{"x":"` + strings.Repeat("x", 100) + `"}`)}
	})
	if !errors.Is(err, fault.ArgumentInvalid) || !strings.Contains(err.Error(), "tags are too long") {
		t.Errorf("an initial twin that no hub takes is answered %v", err)
	}
	if err := h.changeGroup(func(g *enroll.Group) {
		g.Hubs = []string{"one.local",
			"two.local"}
	}); !errors.Is(err, fault.ArgumentInvalid) {
		t.Errorf("two hubs are answered %v", err)
	}
}

// TestWordsHaveNoCase writes the words of the contract in the cases of others: they are
// taken, and kept as the contract has them.
func TestWordsHaveNoCase(t *testing.T) {
	h := newFixture(t, "hub.local")
	ctx := context.Background()
	for given, want := range map[allocation.Policy]allocation.Policy{"Hashed": allocation.Hashed,
		"geolatency": allocation.GeoLatency, "GeoLatency": allocation.GeoLatency, "STATIC": allocation.Static, "": ""} {
		enrollment := enroll.Enrollment{RegistrationID: "d1",
			Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "SymmetricKey"},
				AllocationPolicy: given, ProvisioningStatus: "Disabled"}}
		written, err := h.Enrollments().Put(ctx, enrollment, "")
		if err != nil || written.AllocationPolicy != want || written.ProvisioningStatus != enroll.Disabled ||
			written.Attestation.Type != enroll.SymmetricKey {
			t.Errorf("%q is written as %+v, error %v", given, written, err)
		}
		group, err := h.Groups().Put(ctx, enroll.Group{EnrollmentGroupID: "g",
			Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "SYMMETRICKEY"},
				AllocationPolicy: given, ProvisioningStatus: "ENABLED"}}, "")
		if err != nil || group.AllocationPolicy != want || group.ProvisioningStatus != enroll.Enabled ||
			group.Attestation.Type != enroll.SymmetricKey {
			t.Errorf("%q is written as %+v, error %v", given, group, err)
		}
	}
}
