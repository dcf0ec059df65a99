package connection

import (
	"context"

	"github.com/berth-iot/berth/store"
)

// What the tests of this package, which connect devices to a whole hub, see of its inside.

const (
	HistoryLength = historyLength
	MaxReason     = maxReason
)

// WriteActivity writes what is written every few seconds.
func (c *Connections) WriteActivity(ctx context.Context) error { return c.activity.write(ctx) }

// EndExpired ends the sessions whose tokens or certificates are over.
func (c *Connections) EndExpired() { c.endExpired() }

// Unwritten returns the events of a device that are in memory only.
func (c *Connections) Unwritten(deviceID string) []Event {
	return c.activity.events[deviceID].Connections
}

// Generation returns that of the device's identity.
func (s *Session) Generation() string { return s.generation }

// Commit makes a change that belongs to the session's device.
func (s *Session) Commit(ctx context.Context, changes ...store.Change) error {
	return s.commit(ctx, changes...)
}
