package hub

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/store"
)

// activityDelay is how often what devices do is written down. Their last
// activity may lag by as much; everything else about a device is durable at once.
const activityDelay = 5 * time.Second

// stamp is when a device was last heard of.
type stamp struct {
	Generation   string    `json:"generation"`   // a device that is made anew starts without
	StateChanged time.Time `json:"stateChanged"` // connected or disconnected
	LastActivity time.Time `json:"lastActivity"`
}

// activity knows the connections that this node holds and keeps the stamps.
type activity struct {
	hub    *Hub
	stamps store.Table[stamp]

	connections store.Table[history]

	mutex  sync.Mutex
	live   map[string]*Session // by device
	parted map[string]stamp    // of connections that ended since the last write
	events map[string]history  // since the last write
	stop   chan struct{}
	done   chan struct{}
}

func followActivity(h *Hub, stamps store.Table[stamp], connections store.Table[history]) *activity {
	a := &activity{hub: h, stamps: stamps, connections: connections,
		live: make(map[string]*Session), parted: make(map[string]stamp), events: make(map[string]history),
		stop: make(chan struct{}), done: make(chan struct{})}
	go a.follow()
	return a
}

func (a *activity) follow() {
	defer close(a.done)
	ticker := time.NewTicker(activityDelay)
	defer ticker.Stop()
	for {
		select {
		case <-a.stop:
			return
		case <-ticker.C:
			err := a.hub.config.Panics.Do(panics.Background, func() error { return a.write(context.Background()) })
			if err != nil {
				a.hub.config.Logger.Error("device activity can't be written", "hub", a.hub.config.Name, "error", err)
			}
		}
	}
}

func (a *activity) close(ctx context.Context) error {
	close(a.stop)
	<-a.done
	for _, session := range a.sessions() {
		session.down.Close(ErrShutdown)
		session.Close(ErrShutdown)
	}
	return a.write(ctx)
}

// sessions are the connections of now.
func (a *activity) sessions() []*Session {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	return slices.Collect(maps.Values(a.live))
}

func (a *activity) connected() int {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	return len(a.live)
}

func (a *activity) arrive(s *Session) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.live[s.deviceID] = s
	a.note(s, Connection{Time: s.since, Connected: true})
}

func (a *activity) leave(s *Session, reason error) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	last := a.live[s.deviceID] == s // else another connection has taken over
	if last {
		delete(a.live, s.deviceID) // before anything that may fail
	}
	end := Connection{Time: a.hub.config.Now().UTC()}
	if reason != nil {
		end.Reason = reason.Error()
	}
	a.note(s, end)
	if !last {
		return
	}
	parted := s.stamp()
	parted.StateChanged = a.hub.config.Now().UTC()
	a.parted[s.deviceID] = parted
}

// describe fills in what is known of a device's connection.
func (a *activity) describe(ctx context.Context, device *Device) error {
	device.ConnectionState = disconnected
	if a.hub.config.Bus.Serving(a.hub.subject(device.DeviceID)) {
		device.ConnectionState = connected
	}
	known, err := a.stamp(ctx, device.DeviceID)
	if err != nil {
		return err
	}
	if known.Generation == device.GenerationID {
		device.ConnectionStateUpdatedTime, device.LastActivityTime = known.StateChanged, known.LastActivity
	}
	return nil
}

func (a *activity) stamp(ctx context.Context, deviceID string) (stamp, error) {
	a.mutex.Lock()
	session, live := a.live[deviceID]
	last, parted := a.parted[deviceID]
	a.mutex.Unlock()
	switch {
	case live:
		return session.stamp(), nil
	case parted:
		return last, nil
	}
	last, _, err := a.stamps.Get(ctx, deviceID)
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	return last, err
}

// write makes durable what has changed since the last time.
func (a *activity) write(ctx context.Context) error {
	a.mutex.Lock()
	changed, events := a.parted, a.events
	a.parted, a.events = make(map[string]stamp), make(map[string]history)
	for id, session := range a.live {
		if session.active.Swap(false) {
			changed[id] = session.stamp()
		}
	}
	a.mutex.Unlock()
	const batch = 500
	var changes []store.Change
	add := func(change store.Change) error {
		if changes = append(changes, change); len(changes) < batch {
			return nil
		}
		_, err := a.stamps.Documents.Commit(ctx, changes...)
		changes = nil
		return err
	}
	for id, last := range changed {
		if err := add(a.stamps.Put(id, store.Always, last)); err != nil {
			return err
		}
	}
	var unreadable error
	for id, more := range events {
		known, err := a.history(ctx, id, more.Generation)
		if err != nil {
			unreadable = errors.Join(unreadable, err) // one device's keeps no other's from being written
			continue
		}
		known.add(more.Connections...)
		if err := add(a.connections.Put(id, store.Always, known)); err != nil {
			return err
		}
	}
	if len(changes) == 0 {
		return unreadable
	}
	_, err := a.stamps.Documents.Commit(ctx, changes...)
	return errors.Join(unreadable, err)
}
