package connection

import (
	"context"
	"errors"
	"time"

	"github.com/berth-iot/berth/cluster"
	"github.com/berth-iot/berth/hub/c2d"
)

// sessionReceivers begin the names by which sessions receive messages. A session has one
// of its own, so that it can't give back what the one after it has received.
const sessionReceivers = "session "

func (s *Session) recipient() c2d.Recipient {
	return c2d.Recipient{DeviceID: s.deviceID, Generation: s.generation}
}

// resumeMessages takes up what an earlier session of the device has received and not
// settled.
func (s *Session) resumeMessages(ctx context.Context) (err error) {
	s.heldPacketIDs, err = s.of.config.Messages.Release(ctx, s.recipient(), sessionReceivers, s.keep)
	return err
}

// HeldPacketIDs are those of the messages that an earlier connection of the session has had
// and not acknowledged: they come again with these.
func (s *Session) HeldPacketIDs() []uint16 { return s.heldPacketIDs }

// ReceiveMessages hands out messages to the device as c2d.Messages.Receive does.
func (s *Session) ReceiveMessages(
	ctx context.Context, packetIDs []uint16, limit int,
) (deliveries []c2d.Delivery, next time.Time, err error) {
	if err := s.check(); err != nil {
		return nil, time.Time{}, err
	}
	return s.of.config.Messages.Receive(ctx, s.recipient(),
		c2d.Receiver{Name: sessionReceivers + s.id, PacketIDs: packetIDs}, limit)
}

// CompleteMessages removes messages that the device has acknowledged, also when the session
// is over.
func (s *Session) CompleteMessages(ctx context.Context, lockTokens ...string) error {
	s.markActive()
	return s.of.config.Messages.Complete(ctx, s.recipient(), lockTokens...)
}

// ReleaseMessages gives back what the device has received and not acknowledged.
func (s *Session) ReleaseMessages(ctx context.Context) error {
	_, err := s.of.config.Messages.Release(ctx, s.recipient(), sessionReceivers+s.id, s.keep)
	return err
}

// NotifyMessages tells the device of this generation, if it is connected, that there are
// messages for it. They are in its queue whether or not this succeeds.
func (c *Connections) NotifyMessages(ctx context.Context, id, generation string) {
	_, err := c.config.Bus.Request(ctx, c.subject(id), downlinkRequest{Messages: true, Generation: generation}.encode())
	if err != nil && !errors.Is(err, cluster.ErrNobody) {
		c.config.Logger.Warn("a device was not told of its messages", "hub", c.config.Hub, "device", id, "error", err)
	}
}
