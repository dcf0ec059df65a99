package hub

import (
	"context"
	"testing"
)

// TestAuthenticationTypeHasNoCase writes the type in the cases of others: it is taken, and
// kept as the contract has it.
func TestAuthenticationTypeHasNoCase(t *testing.T) {
	h := newHouse(t)
	for given, want := range map[AuthenticationType]AuthenticationType{"SAS": SAS, "Sas": SAS, "": SAS,
		"certificateauthority": CertificateAuthority, "None": NoAuthentication} {
		device := Device{DeviceID: "d", Authentication: &Authentication{Type: given}}
		created, err := h.CreateDevice(context.Background(), device)
		if err != nil || created.Authentication.Type != want {
			t.Errorf("%q is written as %+v, error %v, want %q", given, created.Authentication, err, want)
			continue
		}
		if err := h.DeleteDevice(context.Background(), "d", ""); err != nil {
			t.Fatal(err)
		}
	}
}
