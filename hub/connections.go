package hub

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/berth-iot/berth/store"
)

// Connection is one arrival or departure of a device.
type Connection struct {
	Time          time.Time `json:"time"`
	Connected     bool      `json:"connected"` // else the connection ended
	Protocol      string    `json:"protocol"`  // as in credential.Evidence
	RemoteAddress string    `json:"remoteAddress"`
	Reason        string    `json:"reason,omitempty"` // why it ended; "" when the device took its leave
}

const (
	connectionsKept = 20
	maxReason       = 200 // bytes
)

// history is a device's connections, oldest first. A device that is made anew
// starts without.
type history struct {
	Generation  string       `json:"generation"`
	Connections []Connection `json:"connections"`
}

func (h *history) add(more ...Connection) {
	h.Connections = append(h.Connections, more...)
	if extra := len(h.Connections) - connectionsKept; extra > 0 {
		h.Connections = slices.Delete(h.Connections, 0, extra)
	}
}

// Connections returns the last twenty arrivals and departures of a device,
// newest first. They are written down every few seconds, so that a crash may lose
// the very last. It returns fault 404001 when there is no such device.
func (h *Hub) Connections(ctx context.Context, deviceID string) ([]Connection, error) {
	device, err := h.registry.Get(ctx, deviceID)
	if err != nil {
		return nil, err
	}
	h.activity.mutex.Lock()
	pending := h.activity.events[deviceID]
	pending.Connections = slices.Clone(pending.Connections)
	h.activity.mutex.Unlock()
	known, err := h.activity.history(ctx, deviceID, device.GenerationID)
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
	known, _, err := a.connections.Get(ctx, deviceID)
	if errors.Is(err, store.ErrNotFound) || store.IsUnreadable(err) || err == nil && known.Generation != generation {
		return history{Generation: generation}, nil
	}
	return known, err
}

// note adds an arrival or departure. The caller holds the mutex.
func (a *activity) note(s *Session, event Connection) {
	a.hub.stats.connections.Add(1)
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
