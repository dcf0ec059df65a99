package connection

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/berth-iot/berth/hub/event"
	"github.com/berth-iot/berth/store"
)

// Event is one arrival or departure of a device.
type Event struct {
	Time          time.Time `json:"time"`
	Connected     bool      `json:"connected"` // else the connection ended
	Protocol      string    `json:"protocol"`  // as in credential.Evidence
	RemoteAddress string    `json:"remoteAddress"`
	Reason        string    `json:"reason,omitempty"` // why it ended; "" after a clean DISCONNECT
}

const (
	historyLength = 20
	maxReason     = 200 // bytes
)

// history is a device's connections, oldest first. A device that is made anew
// starts without.
type history struct {
	Generation  string  `json:"generation"`
	Connections []Event `json:"connections"`
	Sequence    int64   `json:"sequence,omitempty"` // of the last event that was told; grows, whatever the clock does
}

func (h *history) add(more ...Event) {
	h.Connections = append(h.Connections, more...)
	if extra := len(h.Connections) - historyLength; extra > 0 {
		h.Connections = slices.Delete(h.Connections, 0, extra)
	}
}

// History returns the last twenty arrivals and departures of a device, newest first. They
// are written down every few seconds, so that a crash may lose the very last. It returns
// fault 404001 when there is no such device.
func (c *Connections) History(ctx context.Context, deviceID string) ([]Event, error) {
	device, err := c.config.Registry.Principal(ctx, deviceID)
	if err != nil {
		return nil, err
	}
	c.activity.writing.RLock()
	defer c.activity.writing.RUnlock()
	c.activity.mutex.Lock()
	pending := c.activity.events[deviceID]
	pending.Connections = slices.Clone(pending.Connections)
	c.activity.mutex.Unlock()
	known, _, err := c.activity.history(ctx, deviceID, device.GenerationID)
	if err != nil {
		return nil, err
	}
	if pending.Generation == device.GenerationID {
		known.add(pending.Connections...)
	}
	slices.Reverse(known.Connections)
	return known.Connections, nil
}

// history is what is stored of a device of this generation, and the condition that it still
// is when it is replaced: no two nodes may tell of events under the same numbers.
func (a *activity) history(ctx context.Context, deviceID, generation string) (history, store.Match, error) {
	known, etag, err := a.histories.Get(ctx, deviceID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return history{Generation: generation}, store.Absent, nil
	case store.IsUnreadable(err), err == nil && known.Generation != generation:
		return history{Generation: generation}, store.IfMatch(etag), nil
	}
	return known, store.IfMatch(etag), err
}

// told is what those are told of an arrival or departure who follow the events of the hub.
func (e Event) told(deviceID, generation string, sequence int64) event.Event {
	operation := event.Disconnected
	if e.Connected {
		operation = event.Connected
	}
	return event.Event{Operation: operation, ID: deviceID, Time: e.Time, Body: event.ConnectionBody(sequence),
		Place: event.AtConnection(generation, sequence)}
}

// addEvent adds an arrival or departure. The caller holds the mutex.
func (a *activity) addEvent(s *Session, event Event) {
	a.of.events.Add(1)
	event.Protocol, event.RemoteAddress = s.protocol, s.remoteAddr
	if len(event.Reason) > maxReason {
		event.Reason = strings.ToValidUTF8(event.Reason[:maxReason], "")
	}
	events := a.events[s.deviceID]
	if events.Generation != s.generation {
		events = history{Generation: s.generation}
	}
	events.add(event)
	a.events[s.deviceID] = events
}
