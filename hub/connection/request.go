package connection

import (
	"context"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub/c2d"
)

// Authenticate judges the evidence of a device that asks for one thing and stays not
// connected, as by HTTPS. It returns the faults 404001, 404010, 401002 and 401003.
func (c *Connections) Authenticate(
	ctx context.Context, deviceID string, evidence credential.Evidence,
) (c2d.Recipient, error) {
	device, err := c.config.Registry.Principal(ctx, deviceID)
	if err == nil {
		_, err = c.authenticate(ctx, device, evidence)
	}
	return c2d.Recipient{DeviceID: deviceID, Generation: device.GenerationID}, err
}
