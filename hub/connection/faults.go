package connection

import (
	"context"
	"errors"
	"time"

	"github.com/berth-iot/berth/hub/inject"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/store"
)

// Why a connection ends when its device has asked for that by a message.
var (
	ErrFault = errors.New("the device has asked for the end of its connection (fault injection)")
	ErrReset = errors.New("the device has asked for a reset of its connection (fault injection)")
)

// inject returns what a device gets in place of an operation, and waits as long as the
// operation is to be delayed.
func (c *Connections) inject(ctx context.Context, deviceID string, operation inject.Operation) error {
	if !c.config.Faults.Active() {
		return nil
	}
	delay, err := c.config.Faults.Apply(ctx, deviceID, operation)
	if err != nil || delay == 0 {
		return err
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sendWithFaults is Send while faults may have to be injected. A message that asks for the
// end of the connection is neither kept nor acknowledged.
func (s *Session) sendWithFaults(m *message.Message, committed store.Committer, token uint64) error {
	faults := s.of.config.Faults
	if wanted, ok := faults.Asks(m); ok && wanted.EndsConnection() {
		s.endAsAsked(wanted)
		return nil
	}
	delay, err := faults.Apply(context.Background(), s.deviceID, inject.Send)
	if err != nil {
		return err
	}
	if delay > 0 {
		committed = delayed{committed, delay}
	}
	return s.telemetry.Send(m, committed, token)
}

// endAsAsked ends the connection when its device wants that. If it has changed its mind, the
// last message counts.
func (s *Session) endAsAsked(wanted inject.Wanted) {
	reason := ErrFault
	if wanted.Resets() {
		reason = ErrReset
	}
	timer := time.AfterFunc(wanted.After, func() {
		err := s.of.config.Panics.Do(panics.Background, func() error {
			ctx, cancel := context.WithTimeout(context.Background(), revalidateTimeout)
			defer cancel()
			return s.of.config.Faults.Begin(ctx, s.deviceID, wanted) // before the device can come back
		})
		if err != nil {
			s.of.config.Logger.Error("a fault that a device has asked for does not last", "hub", s.of.config.Hub,
				"device", s.deviceID, "error", err)
		}
		s.end(reason)
	})
	if former := s.fault.Swap(timer); former != nil {
		former.Stop()
	}
}

// delayed tells of a message later than it is durable.
type delayed struct {
	store.Committer
	by time.Duration
}

// Committed implements store.Committer.
func (d delayed) Committed(token uint64, at store.Position, err error) {
	time.AfterFunc(d.by, func() { d.Committer.Committed(token, at, err) })
}
