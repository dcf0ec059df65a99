package connection

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
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

// activity keeps what devices did: their stamps and the history of their
// connections. Who is connected now is the bus's to say.
type activity struct {
	of        *Connections
	stamps    store.Table[stamp]
	histories store.Table[history]

	// writing is held while what happened is on its way from the maps to the documents.
	// Who reads both holds it for reading, and waits for one commit at most.
	writing sync.RWMutex

	mutex     sync.Mutex
	endStamps map[string]stamp   // by device: of connections that ended, and requests, since the last write
	events    map[string]history // since the last write
	stop      chan struct{}
	done      chan struct{}
}

func followActivity(of *Connections, stamps store.Table[stamp], histories store.Table[history]) *activity {
	a := &activity{of: of, stamps: stamps, histories: histories,
		endStamps: make(map[string]stamp), events: make(map[string]history),
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
		case <-a.of.authorities.changed:
			_ = a.of.config.Panics.Do(panics.Background, func() error { a.of.revalidateSigned(); return nil })
		case <-ticker.C:
			err := a.of.config.Panics.Do(panics.Background, func() error {
				a.of.endExpired()
				return a.write(context.Background())
			})
			if err != nil {
				a.of.config.Logger.Error("device activity can't be written", "hub", a.of.config.Hub, "error", err)
			}
		}
	}
}

func (a *activity) close(ctx context.Context) error {
	close(a.stop)
	<-a.done
	return a.write(ctx)
}

// arrive notes that the session is its device's connection from now on.
func (a *activity) arrive(s *Session) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.addEvent(s, Event{Time: s.since, Connected: true})
}

// leave notes that the session is over. last says that the device is not connected
// by another.
func (a *activity) leave(s *Session, reason error, last bool) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	end := Event{Time: a.of.config.Now().UTC()}
	if reason != nil {
		end.Reason = reason.Error()
	}
	a.addEvent(s, end)
	if last {
		stamp := s.stamp()
		stamp.StateChanged = end.Time
		a.endStamps[s.deviceID] = stamp
	}
}

// heard notes that a device was heard of that need not be connected. When it was connected
// or disconnected stays as it was.
func (a *activity) heard(ctx context.Context, deviceID, generation string) error {
	if session := a.of.session(deviceID); session != nil && session.generation == generation {
		session.markActive()
		return nil
	}
	now := a.of.config.Now().UTC()
	a.writing.RLock() // so that what is read below is not taken for what is being written
	defer a.writing.RUnlock()
	known, _, err := a.stamps.Get(ctx, deviceID)
	if err != nil && !errors.Is(err, store.ErrNotFound) && !store.IsUnreadable(err) {
		return err
	}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if later, ok := a.endStamps[deviceID]; ok {
		known = later
	}
	if known.Generation != generation {
		known = stamp{Generation: generation}
	}
	known.LastActivity = now
	a.endStamps[deviceID] = known
	return nil
}

// A Described is a device or module of which is filled in what the hub knows of it.
type Described struct {
	ID, Generation string
	State          *identity.State
}

// describe fills in what is known of the connections of devices and modules, to whichever
// node: all nodes are asked once. A device at another node was last active when that node
// has written it, a few seconds ago.
func (a *activity) describe(ctx context.Context, devices ...Described) error {
	ids := make([]string, len(devices))
	for i, device := range devices {
		ids[i] = device.ID
	}
	for i, present := range a.present(ctx, ids...) {
		device := devices[i]
		device.State.ConnectionState = identity.Disconnected
		session := a.of.session(device.ID)
		if session != nil || present {
			device.State.ConnectionState = identity.Connected
		}
		known, err := a.stamp(ctx, device.ID, session)
		if err != nil {
			return err
		}
		if known.Generation == device.Generation {
			device.State.ConnectionStateUpdatedTime.Time = known.StateChanged
			device.State.LastActivityTime.Time = known.LastActivity
		}
	}
	return nil
}

// present reports of each device whether any node serves its subject.
func (a *activity) present(ctx context.Context, ids ...string) []bool {
	subjects := make([]string, len(ids))
	for i, id := range ids {
		subjects[i] = a.of.subject(id)
	}
	present, err := a.of.config.Bus.Present(ctx, subjects...)
	if err != nil { // then nobody can reach a device at another node
		a.of.config.Logger.Warn("devices connected to other nodes are not known", "hub", a.of.config.Hub, "error",
			err)
		present = make([]bool, len(ids))
		for i, id := range ids {
			present[i] = a.of.session(id) != nil
		}
	}
	return present
}

// stamp is when a device was last heard of, by its session if it has one.
func (a *activity) stamp(ctx context.Context, deviceID string, session *Session) (stamp, error) {
	if session != nil {
		return session.stamp(), nil
	}
	a.writing.RLock()
	defer a.writing.RUnlock()
	a.mutex.Lock()
	last, ended := a.endStamps[deviceID]
	a.mutex.Unlock()
	if ended {
		return last, nil
	}
	last, _, err := a.stamps.Get(ctx, deviceID)
	if errors.Is(err, store.ErrNotFound) || store.IsUnreadable(err) {
		err = nil // what is lost is when it was heard of
	}
	return last, err
}

// write makes durable what has changed since the last time. What can't be written
// is tried again the next time.
func (a *activity) write(ctx context.Context) error {
	active := make(map[string]stamp)
	for _, session := range a.of.sessions() {
		if session.active.Swap(false) {
			active[session.deviceID] = session.stamp()
		}
	}
	a.mutex.Lock()
	ids := make(map[string]bool, len(active)+len(a.endStamps))
	for id := range a.events {
		ids[id] = true
	}
	for id := range a.endStamps {
		ids[id] = true
	}
	a.mutex.Unlock()
	for id := range active {
		ids[id] = true
	}
	const batch = 250 // devices
	var failed error  // the first; the other devices are written all the same
	for part := range slices.Chunk(slices.Collect(maps.Keys(ids)), batch) {
		failed = cmp.Or(failed, a.writeSome(ctx, part, active))
	}
	return failed
}

// writeSome is write for some devices.
func (a *activity) writeSome(ctx context.Context, ids []string, active map[string]stamp) (failed error) {
	a.writing.Lock()
	defer a.writing.Unlock()
	stamps, events := a.take(ids, active)
	defer func() { a.restore(stamps, events) }()
	var updates []activityUpdate
	for _, id := range ids {
		update, err := a.update(ctx, id, stamps, events)
		if err != nil {
			failed = cmp.Or(failed, err)
			continue
		}
		updates = append(updates, update)
	}
	written, err := a.commit(ctx, updates)
	for _, update := range written {
		delete(stamps, update.deviceID)
		delete(events, update.deviceID)
	}
	return cmp.Or(failed, err)
}

// take takes what is to be written of devices out of the maps. active is when those were
// heard of that are connected; one that has left since is in the maps as well.
func (a *activity) take(ids []string, active map[string]stamp) (stamps map[string]stamp, events map[string]history) {
	stamps, events = make(map[string]stamp, len(ids)), make(map[string]history)
	a.mutex.Lock()
	defer a.mutex.Unlock()
	for _, id := range ids {
		last, known := active[id]
		if ended, ok := a.endStamps[id]; ok && (!known || !ended.LastActivity.Before(last.LastActivity)) {
			last, known = ended, true
		}
		if known {
			stamps[id] = last
		}
		delete(a.endStamps, id)
		if more, ok := a.events[id]; ok {
			events[id] = more
			delete(a.events, id)
		}
	}
	return stamps, events
}

// activityUpdate is what is to be written of one device; nothing of one that is
// gone.
type activityUpdate struct {
	deviceID string
	changes  []store.Change
}

// update is what is to be written of a device, under the condition that it is there:
// a device that was deleted leaves nothing behind.
func (a *activity) update(ctx context.Context, id string, stamps map[string]stamp,
	events map[string]history) (activityUpdate, error) {
	update := activityUpdate{deviceID: id}
	present := a.of.config.Registry.Present(id)
	more, came := events[id]
	if !came && a.of.session(id) != nil { // connected all the time: this is most of them
		update.changes = []store.Change{a.stamps.Put(id, store.Always, stamps[id]), present}
		return update, nil
	}
	device, err := a.of.config.Registry.Principal(ctx, id)
	if errors.Is(err, fault.DeviceNotFound) || errors.Is(err, fault.ModuleNotFound) {
		return update, nil
	}
	if err != nil {
		return update, err
	}
	if came && more.Generation == device.GenerationID {
		known, match, err := a.history(ctx, id, more.Generation)
		if err != nil {
			return update, err
		}
		known.add(more.Connections...)
		for _, one := range more.Connections {
			known.Sequence = max(known.Sequence+1, one.Time.UnixNano())
			update.changes = append(update.changes, a.of.config.Events.Prepare(one.told(id, more.Generation,
				known.Sequence))...)
		}
		update.changes = append(update.changes, a.histories.Put(id, match, known))
	}
	if last, ok := stamps[id]; ok && last.Generation == device.GenerationID {
		update.changes = append(update.changes, a.stamps.Put(id, store.Always, last))
	}
	if len(update.changes) > 0 {
		update.changes = append(update.changes, a.of.config.Registry.Unchanged(device))
	}
	return update, nil
}

// commit makes updates durable and returns them, but for those of devices that were
// changed this moment.
func (a *activity) commit(ctx context.Context, updates []activityUpdate) (written []activityUpdate, err error) {
	updates = slices.Clone(updates)
	for {
		var changes []store.Change
		var of []int // which update a change belongs to
		for i, update := range updates {
			for _, change := range update.changes {
				changes, of = append(changes, change), append(of, i)
			}
		}
		if len(changes) == 0 {
			return updates, nil
		}
		_, err := a.stamps.Documents.Commit(ctx, changes...)
		index, conflict := store.IsConflict(err)
		switch {
		case err == nil:
			return updates, nil
		case !conflict:
			return nil, err
		}
		updates = slices.Delete(updates, of[index], of[index]+1)
	}
}

// restore takes back what was not written, unless more has happened since.
func (a *activity) restore(stamps map[string]stamp, events map[string]history) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	for id, last := range stamps {
		if _, newer := a.endStamps[id]; !newer {
			a.endStamps[id] = last
		}
	}
	for id, earlier := range events {
		if later, ok := a.events[id]; ok && later.Generation == earlier.Generation {
			earlier.add(later.Connections...)
		} else if ok {
			continue
		}
		a.events[id] = earlier
	}
}
