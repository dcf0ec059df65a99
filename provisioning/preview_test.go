package provisioning

import (
	"context"
	"testing"

	"github.com/berth-iot/berth/provisioning/enroll"
)

// TestPreviewSaysWhatWouldBeRefused: a device that would not get as far as its hub is not
// shown as one that would.
func TestPreviewSaysWhatWouldBeRefused(t *testing.T) {
	h, ctx := newFixture(t, "hub.local"), context.Background()
	keyed := enroll.AttestationMechanism{Type: enroll.SymmetricKey}
	h.enroll(enroll.Enrollment{RegistrationID: "on", Settings: enroll.Settings{Attestation: keyed}})
	h.enroll(enroll.Enrollment{RegistrationID: "off", Settings: enroll.Settings{Attestation: keyed,
		ProvisioningStatus: enroll.Disabled}})
	for id, status := range map[string]enroll.ProvisioningStatus{"group-on": enroll.Enabled,
		"group-off": enroll.Disabled} {
		if _, err := h.Groups().Create(ctx, enroll.Group{EnrollmentGroupID: id,
			Settings: enroll.Settings{Attestation: keyed,
				ProvisioningStatus: status}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		id, group     string
		disabled, own bool
	}{
		{"on", "", false, false}, {"off", "", true, false}, {"member", "group-on", false, false}, {"member",
			"group-off",
			true, false}, {"on", "group-on", false, true},
	} {
		preview, err := h.PreviewAllocation(ctx, PreviewRequest{RegistrationID: c.id, GroupID: c.group})
		if err != nil || preview.HubHostName != "hub.local" || preview.Disabled != c.disabled ||
			preview.OwnEnrollment != c.own {
			t.Errorf("%s by %q: %+v, error %v", c.id, c.group, preview, err)
		}
	}
}
