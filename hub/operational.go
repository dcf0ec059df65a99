package hub

import (
	"context"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/issuance"
)

// verifyIssued judges the operational certificate that a device shows.
func (h *Hub) verifyIssued(ctx context.Context, device identity.Device, evidence credential.Evidence) (issuance.Certificate, error) {
	return h.config.Issuer.Verify(ctx, evidence.Certificates[0], device.Issuance.RegistrationID)
}
