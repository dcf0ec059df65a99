package connection

import (
	"context"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub/c2d"
	"github.com/berth-iot/berth/hub/inject"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/hub/throttle"
)

// Requester is a device that asks for one thing and stays not connected, as by HTTPS.
type Requester struct {
	c2d.Recipient
	of     *Connections
	method message.AuthMethod
}

// Authenticate judges the evidence of a device that asks for one thing. It counts as an
// activity of the device, and not as a connection. It returns the faults 404001, 404010,
// 401002 and 401003.
func (c *Connections) Authenticate(
	ctx context.Context, deviceID string, evidence credential.Evidence,
) (Requester, error) {
	device, err := c.config.Registry.Principal(ctx, deviceID)
	if err != nil {
		return Requester{}, err
	}
	proof, err := c.authenticate(ctx, device, evidence)
	if err == nil {
		err = c.inject(ctx, deviceID, inject.Request)
	}
	if err != nil {
		return Requester{}, err
	}
	to := c2d.Recipient{DeviceID: deviceID, Generation: device.GenerationID}
	return Requester{to, c, proof.method}, c.activity.heard(ctx, deviceID, device.GenerationID)
}

// Send puts messages into the hub's telemetry and returns when all of them are durable. It
// returns the faults of telemetry.Sender.SendAll, 429001, and that which one of them asks for: then
// none is there.
func (r Requester) Send(ctx context.Context, messages []message.Message) error {
	if err := r.of.config.Throttle.Take(throttle.DeviceSend); err != nil {
		return err
	}
	faults := r.of.config.Faults
	for i := range messages {
		if wanted, ok := faults.Asks(&messages[i]); ok && !wanted.EndsConnection() {
			if err := faults.Begin(ctx, r.DeviceID, wanted); err != nil {
				return err
			}
			return wanted.Refusal(r.DeviceID)
		}
	}
	return r.of.config.Telemetry.NewSender(r.DeviceID, r.Generation, r.method).SendAll(ctx, messages)
}
