package c2d

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/store"
)

// queue is the state of a device's messages, the oldest first. It goes when the last of
// them goes.
type queue struct {
	Generation string  `json:"generation"`
	Next       int64   `json:"next"` // sequence number
	Due        int64   `json:"due"`  // in Unix seconds: no message expires before; see expiries
	Messages   []entry `json:"messages"`

	etag string
	gone []departure // what leaves it with the commit
}

type entry struct {
	Sequence      int64     `json:"sequence"`
	MessageID     string    `json:"messageId,omitempty"`
	Ack           Ack       `json:"ack,omitempty"`
	Enqueued      time.Time `json:"enqueued"`
	Expires       time.Time `json:"expires"`
	DeliveryCount int       `json:"deliveryCount,omitempty"`
	Delivered     bool      `json:"delivered,omitempty"` // has been handed out
	PacketID      uint16    `json:"packetId,omitempty"`  // of the last time that was by MQTT
	Lock          *lock     `json:"lock,omitempty"`
}

// lock keeps a message from others than who has received it.
type lock struct {
	Token    string    `json:"token"`
	Until    time.Time `json:"until"`
	Receiver string    `json:"receiver,omitempty"`
}

// departure is a message that leaves its queue.
type departure struct {
	entry
	outcome Outcome
}

// stored is a message as it lies beside its queue.
type stored struct {
	System     []property `json:"system,omitempty"`
	Properties []property `json:"properties,omitempty"`
	Payload    []byte     `json:"payload"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (e entry) isLocked(now time.Time) bool { return e.Lock != nil && now.Before(e.Lock.Until) }

// messageKey is where a message lies. The id of a module has a slash after its device's, and
// no other id has one: messages of a device and of its modules are told apart by how many
// slashes there are.
func messageKey(deviceID string, sequence int64) string {
	return fmt.Sprintf("%s/%016x", deviceID, sequence)
}

func dueKey(due int64, deviceID string) string { return fmt.Sprintf("%012x/%s", due, deviceID) }

// change has a queue changed and commits it, with what else the change returns: again when
// somebody else was faster. What has expired leaves it first.
func (m *Messages) change(
	ctx context.Context, to Recipient, change func(*queue, time.Time) ([]store.Change, error),
) error {
	done, err := store.RetryOnConflict(ctx, func() (prepared, error) {
		p, err := m.prepare(ctx, to, change)
		if err == nil && len(p.changes) > 0 {
			_, err = m.documents.Commit(ctx, p.changes...)
		}
		return p, err
	})
	if err == nil {
		m.counters.count(done.gone)
	}
	return err
}

// prepared is a change of a queue that is to be committed.
type prepared struct {
	changes []store.Change // none when the queue is as it was
	gone    []departure    // what leaves it
}

// prepare returns what is to be committed for a change of a queue.
func (m *Messages) prepare(
	ctx context.Context, to Recipient, change func(*queue, time.Time) ([]store.Change, error),
) (prepared, error) {
	q, err := m.read(ctx, to)
	if err != nil {
		return prepared{}, err
	}
	before, now := q, m.now()
	q.Messages = slices.Clone(q.Messages)
	for _, e := range slices.Clone(q.Messages) {
		if !now.Before(e.Expires) {
			q.remove(e.Sequence, Expired)
		}
	}
	changes, err := change(&q, now)
	if err != nil {
		return prepared{}, err
	}
	for _, gone := range q.gone {
		changes = append(changes, m.messages.Delete(messageKey(to.DeviceID, gone.Sequence), store.Always))
		if gone.MessageID != "" && gone.Ack.wants(gone.outcome) {
			changes = append(changes, m.tell(to, gone, now))
		}
	}
	if len(q.gone) > 0 {
		remembered, err := m.remember(ctx, to, q.gone, now)
		if err != nil {
			return prepared{}, err
		}
		changes = append(changes, remembered)
	}
	return prepared{append(changes, m.put(to, before, q, now)...), q.gone}, nil
}

// read returns a device's queue, an empty one when it has none. The queue of an earlier
// device of the same id is not its own.
func (m *Messages) read(ctx context.Context, to Recipient) (queue, error) {
	q, etag, err := m.queues.Get(ctx, to.DeviceID)
	if errors.Is(err, store.ErrNotFound) {
		// Sequence numbers go on growing over the queues that a device has had.
		return queue{Generation: to.Generation, Next: m.now().UnixMilli()}, nil
	}
	if err == nil && q.Generation != to.Generation {
		return queue{}, fault.New(fault.DeviceNotFound, "The device %q was deleted, and is another now", to.DeviceID)
	}
	q.etag = etag
	return q, err
}

// put returns what is to be committed so that a queue is as it is now.
func (m *Messages) put(to Recipient, before, after queue, now time.Time) (changes []store.Change) {
	due := after.earliest()
	// A message that goes leaves the time at which to look: who looks then sees when to
	// look next.
	if due != 0 && before.Due != 0 && before.Due <= due && now.Unix() < before.Due {
		due = before.Due
	}
	after.Due = due
	if due != before.Due {
		if before.Due != 0 {
			changes = append(changes, m.expiries.Delete(dueKey(before.Due, to.DeviceID), store.Always))
		}
		if due != 0 {
			changes = append(changes, m.expiries.Put(dueKey(due, to.DeviceID), store.Always, struct{}{}))
		}
	}
	match := store.Absent
	if before.etag != "" {
		match = store.IfMatch(before.etag)
	}
	switch {
	case len(after.Messages) > 0 && (len(changes) > 0 || !reflect.DeepEqual(before.Messages, after.Messages)):
		changes = append(changes, m.queues.Put(to.DeviceID, match, after))
	case len(after.Messages) == 0 && before.etag != "":
		changes = append(changes, m.queues.Delete(to.DeviceID, match))
	}
	return changes
}

// earliest is the first second in which a message has expired, 0 when there is none.
func (q *queue) earliest() (due int64) {
	for _, e := range q.Messages {
		if second := e.Expires.Unix() + 1; due == 0 || second < due {
			due = second
		}
	}
	return due
}

// remove takes a message from the queue for good.
func (q *queue) remove(sequence int64, outcome Outcome) {
	at := slices.IndexFunc(q.Messages, func(e entry) bool { return e.Sequence == sequence })
	q.gone = append(q.gone, departure{q.Messages[at], outcome})
	q.Messages = slices.Delete(q.Messages, at, at+1)
}

// Count returns how many messages wait for a device, those that are under a lock included.
func (m *Messages) Count(ctx context.Context, deviceID string) (int, error) {
	q, _, err := m.queues.Get(ctx, deviceID)
	if errors.Is(err, store.ErrNotFound) || store.IsUnreadable(err) {
		return 0, nil
	}
	return q.waiting(m.now()), err
}

// CountEach is Count for several devices, in the order of their ids. Few of many have
// messages: it reads the queues that there are between the first and the last.
func (m *Messages) CountEach(ctx context.Context, deviceIDs ...string) (map[string]int, error) {
	counts := make(map[string]int)
	if len(deviceIDs) == 0 {
		return counts, nil
	}
	first, last := deviceIDs[0], deviceIDs[len(deviceIDs)-1]
	var err error
	if counts[first], err = m.Count(ctx, first); err != nil {
		return nil, err
	}
	for after := first; after < last; {
		entries, err := m.queues.List(ctx, "", after, countedAtOnce)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			counts[e.Key] = e.Value.waiting(m.now())
			after = e.Key
		}
		if len(entries) < countedAtOnce {
			break
		}
	}
	return counts, nil
}

// countedAtOnce is how many queues are read at once.
const countedAtOnce = 100

func (q *queue) waiting(now time.Time) (n int) {
	for _, e := range q.Messages {
		if now.Before(e.Expires) {
			n++
		}
	}
	return n
}

// Purge removes all messages of a device and returns how many there were.
func (m *Messages) Purge(ctx context.Context, to Recipient) (purged int, _ error) {
	err := m.change(ctx, to, func(q *queue, _ time.Time) ([]store.Change, error) {
		purged = len(q.Messages)
		for _, e := range slices.Clone(q.Messages) {
			q.remove(e.Sequence, Purged)
		}
		return nil, nil
	})
	return purged, err
}

// PrepareDelete returns what is to be committed with the end of an identity, so that
// nothing is left of its messages.
func (m *Messages) PrepareDelete(ctx context.Context, deviceID string) ([]store.Change, error) {
	q, etag, err := m.queues.Get(ctx, deviceID)
	if errors.Is(err, store.ErrNotFound) {
		return []store.Change{{Collection: m.queues.Collection, Key: deviceID, Match: store.Absent, Check: true},
			m.histories.Delete(deviceID, store.Always)}, nil
	}
	if err != nil && !store.IsUnreadable(err) {
		return nil, err
	}
	changes := []store.Change{m.queues.Delete(deviceID, store.IfMatch(etag)),
		m.histories.Delete(deviceID, store.Always)}
	if q.Due != 0 {
		changes = append(changes, m.expiries.Delete(dueKey(q.Due, deviceID), store.Always))
	}
	for _, e := range q.Messages {
		changes = append(changes, m.messages.Delete(messageKey(deviceID, e.Sequence), store.Always))
	}
	if err == nil {
		return changes, nil
	}
	// Of a queue that can't be read, what lies beside it.
	for after := ""; ; {
		left, err := m.documents.List(ctx, m.messages.Collection, deviceID+"/", after, MaxDepth)
		for _, document := range left {
			if !strings.Contains(strings.TrimPrefix(document.Key, deviceID+"/"), "/") {
				changes = append(changes, m.messages.Delete(document.Key, store.Always))
			}
			after = document.Key
		}
		if err != nil || len(left) < MaxDepth {
			return changes, err
		}
	}
}

// MaxDepth is the largest depth that a queue can be configured to have: all of it is one
// document, and goes in one commit.
const MaxDepth = 1000

// expiredTogether is about how many changes of queues in which something has expired are
// committed at once, so that they share a sync.
const expiredTogether = 500

// Expire lets what has expired leave its queue, with its feedback. Any receiver does so
// for its own device; this is for devices that never come. It returns how many queues it
// has looked at, at most limit.
func (m *Messages) Expire(ctx context.Context, limit int) (looked int, _ error) {
	now := m.now().Unix()
	due, err := m.documents.List(ctx, m.expiries.Collection, "", "", limit)
	if err != nil {
		return 0, err
	}
	for i, document := range due {
		var second int64
		at, _, _ := strings.Cut(document.Key, "/")
		if _, err := fmt.Sscanf(at, "%x", &second); err == nil && second > now {
			due = due[:i]
			break
		}
	}
	for len(due) > 0 {
		var all prepared
		n := 0
		for ; n < len(due) && len(all.changes) < expiredTogether; n++ {
			one, err := m.prepareExpiry(ctx, due[n].Key)
			if err != nil {
				return looked, err
			}
			all.changes, all.gone = append(all.changes, one.changes...), append(all.gone, one.gone...)
		}
		var err error
		if len(all.changes) > 0 {
			_, err = m.documents.Commit(ctx, all.changes...)
		}
		if _, conflict := store.IsConflict(err); conflict { // one of the devices is busy just now
			for _, document := range due[:n] {
				if err := m.expire(ctx, document.Key); err != nil {
					return looked, err
				}
				looked++
			}
		} else if err != nil {
			return looked, err
		} else {
			m.counters.count(all.gone)
			looked += n
		}
		due = due[n:]
	}
	return looked, nil
}

// expire looks after the queue of one device.
func (m *Messages) expire(ctx context.Context, key string) error {
	done, err := store.RetryOnConflict(ctx, func() (prepared, error) {
		p, err := m.prepareExpiry(ctx, key)
		if err == nil && len(p.changes) > 0 {
			_, err = m.documents.Commit(ctx, p.changes...)
		}
		return p, err
	})
	if err == nil {
		m.counters.count(done.gone)
	}
	return err
}

// prepareExpiry returns what is to be committed for a queue that is to be looked after, by the
// key of that: what has expired goes, and so does the key.
func (m *Messages) prepareExpiry(ctx context.Context, key string) (prepared, error) {
	forget := prepared{changes: []store.Change{m.expiries.Delete(key, store.Always)}} // of a queue that is not there
	_, deviceID, _ := strings.Cut(key, "/")
	q, _, err := m.queues.Get(ctx, deviceID)
	switch {
	case errors.Is(err, store.ErrNotFound), store.IsUnreadable(err), err == nil && dueKey(q.Due, deviceID) != key:
		return forget, nil
	case err != nil:
		return prepared{}, fmt.Errorf("look after the messages to the device %q: %w", deviceID, err)
	}
	unchanged := func(*queue, time.Time) ([]store.Change, error) { return nil, nil }
	p, err := m.prepare(ctx, Recipient{deviceID, q.Generation}, unchanged)
	if errors.Is(err, fault.DeviceNotFound) {
		return prepared{}, nil // another device has come, with another time to look
	}
	if err != nil {
		return prepared{}, fmt.Errorf("look after the messages to the device %q: %w", deviceID, err)
	}
	return p, nil
}

func keep(properties []message.Property) []property {
	kept := make([]property, len(properties))
	for i, p := range properties {
		kept[i] = property{string(p.Name), string(p.Value)}
	}
	return kept
}

func bring(kept []property) []message.Property {
	properties := make([]message.Property, len(kept))
	for i, p := range kept {
		properties[i] = message.Property{Name: []byte(p.Name), Value: []byte(p.Value)}
	}
	return properties
}
