package connection

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

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
	known, err := c.activity.history(ctx, deviceID, device.GenerationID)
	if err != nil {
		return nil, err
	}
	if pending.Generation == device.GenerationID {
		known.add(pending.Connections...)
	}
	slices.Reverse(known.Connections)
	return known.Connections, nil
}

// history is what is stored of a device of this generation.
func (a *activity) history(ctx context.Context, deviceID, generation string) (history, error) {
	known, _, err := a.histories.Get(ctx, deviceID)
	if errors.Is(err, store.ErrNotFound) || store.IsUnreadable(err) || err == nil && known.Generation != generation {
		return history{Generation: generation}, nil
	}
	return known, err
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
