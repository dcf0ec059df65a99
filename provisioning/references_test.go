package provisioning

import (
	"errors"
	"strings"
	"testing"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// A hub that an enrollment or group names is unlinked by force only, whatever the case
// that it is written in.
func TestUnlinkNamedHub(t *testing.T) {
	h := newFixture(t, "one.local", "two.local", "three.local")
	attestation := enroll.AttestationMechanism{Type: enroll.SymmetricKey}
	if _, err := h.Enrollments().Create(t.Context(), enroll.Enrollment{RegistrationID: "meter",
		Settings: enroll.Settings{Attestation: attestation, Hubs: []string{"ONE.local", "three.local"}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Groups().Create(t.Context(), enroll.Group{EnrollmentGroupID: "plant", Settings: enroll.Settings{
		Attestation: attestation, AllocationPolicy: allocation.Static, HubHostName: "Two.local"}}); err != nil {
		t.Fatal(err)
	}
	for host, says := range map[string]string{"one.local": "The enrollment meter names",
		"two.local": "The group plant names"} {
		err := h.Links().Delete(t.Context(), host, "", false)
		if !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), says) {
			t.Errorf("unlinking %s is answered %v, want a conflict that says %q", host, err, says)
		}
		if err := h.Links().Delete(t.Context(), host, "", true); err != nil {
			t.Errorf("unlinking %s by force: %v", host, err)
		}
	}
	if err := h.Enrollments().Delete(t.Context(), "meter", ""); err != nil {
		t.Fatal(err)
	}
	if err := h.Links().Delete(t.Context(), "three.local", "", false); err != nil {
		t.Errorf("unlinking a hub that nothing names any more: %v", err)
	}
}
