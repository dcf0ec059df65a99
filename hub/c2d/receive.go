package c2d

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// A Receiver is who receives messages of a device.
type Receiver struct {
	// Name tells its messages from those of others, so that they can be released; "" is
	// for one that does not care.
	Name string
	// PacketIDs are for the messages that have had none, one each; nil for a protocol
	// without. No more messages than these are received.
	PacketIDs []uint16
}

// Receive hands out messages, at most limit, that are under nobody's lock, the oldest
// first, and locks them: until they are settled or the lock's time is over nobody else
// gets them. next is when the first lock of those that others have is over, zero when there
// is none.
func (m *Messages) Receive(
	ctx context.Context, to Recipient, by Receiver, limit int,
) (deliveries []Delivery, next time.Time, err error) {
	var received []entry
	err = m.change(ctx, to, func(q *queue, now time.Time) ([]store.Change, error) {
		received, next = nil, time.Time{}
		ids := by.PacketIDs
		for i := range q.Messages {
			e := &q.Messages[i]
			if e.isLocked(now) {
				if next.IsZero() || e.Lock.Until.Before(next) {
					next = e.Lock.Until
				}
				continue
			}
			if len(received) == limit || by.PacketIDs != nil && e.PacketID == 0 && len(ids) == 0 {
				break
			}
			before := *e
			e.Lock = &lock{Token: fault.NewTrackingID(), Until: now.Add(m.limits.Lock), Receiver: by.Name}
			e.Delivered = true
			if by.PacketIDs != nil && e.PacketID == 0 {
				e.PacketID, ids = ids[0], ids[1:]
			}
			before.Lock, before.PacketID = e.Lock, e.PacketID
			received = append(received, before)
		}
		return nil, nil
	})
	if err != nil {
		return nil, next, err
	}
	for _, e := range received {
		kept, _, err := m.messages.Get(ctx, messageKey(to.DeviceID, e.Sequence))
		switch {
		case errors.Is(err, store.ErrNotFound), store.IsUnreadable(err):
			continue // it was purged meanwhile; or whoever lists what can't be read sees it, until it expires
		case err != nil:
			return nil, next, err
		}
		d := Delivery{Receipt: Receipt{e.Sequence, e.Enqueued, e.Expires}, MessageID: e.MessageID,
			LockToken:     e.Lock.Token,
			DeliveryCount: e.DeliveryCount, Ack: e.Ack, Redelivered: e.Delivered, PacketID: e.PacketID}
		d.System, d.Properties, d.Payload = bring(kept.System), bring(kept.Properties), kept.Payload
		deliveries = append(deliveries, d)
	}
	return deliveries, next, nil
}

// Release gives back what receivers whose names begin so still have under lock, without
// counting: their connection has ended. The order stays as it was. With keep the messages
// are delivered with the same packet ids again, which it returns; without, they are
// forgotten.
func (m *Messages) Release(
	ctx context.Context, to Recipient, receiver string, keep bool,
) (packetIDs []uint16, _ error) {
	err := m.change(ctx, to, func(q *queue, _ time.Time) ([]store.Change, error) {
		packetIDs = nil
		for i := range q.Messages {
			e := &q.Messages[i]
			if e.Lock != nil && strings.HasPrefix(e.Lock.Receiver, receiver) {
				e.Lock = nil
			}
			switch {
			case !keep:
				e.PacketID = 0
			case e.PacketID != 0:
				packetIDs = append(packetIDs, e.PacketID)
			}
		}
		return nil, nil
	})
	return packetIDs, err
}

// Complete removes messages that the device has taken. A lock whose time is over does, as
// long as nobody else has the message. It returns fault 412002 when one of the tokens is
// that of no message, and has completed the others.
func (m *Messages) Complete(ctx context.Context, to Recipient, tokens ...string) error {
	return m.settle(ctx, to, tokens, func(q *queue, e *entry) { q.remove(e.Sequence, Success) })
}

// Reject removes a message that the device does not want. It returns fault 412002 as
// Complete does.
func (m *Messages) Reject(ctx context.Context, to Recipient, token string) error {
	return m.settle(ctx, to, []string{token}, func(q *queue, e *entry) { q.remove(e.Sequence, Rejected) })
}

// Abandon gives a message back, so that it is received again; after MaxDeliveryCount times
// it is dropped. It returns fault 412002 as Complete does.
func (m *Messages) Abandon(ctx context.Context, to Recipient, token string) error {
	err := m.settle(ctx, to, []string{token}, func(q *queue, e *entry) {
		e.Lock = nil
		if e.DeliveryCount++; e.DeliveryCount >= m.limits.MaxDeliveryCount {
			q.remove(e.Sequence, DeliveryCountExceeded)
		}
	})
	if err == nil {
		m.counters.abandoned.Add(1)
	}
	return err
}

func (m *Messages) settle(ctx context.Context, to Recipient, tokens []string, how func(*queue, *entry)) error {
	lost := false
	err := m.change(ctx, to, func(q *queue, _ time.Time) ([]store.Change, error) {
		lost = false
		for _, token := range tokens {
			at := slices.IndexFunc(q.Messages, func(e entry) bool { return e.Lock != nil && e.Lock.Token == token })
			if at < 0 {
				lost = true
				continue
			}
			how(q, &q.Messages[at])
		}
		return nil, nil
	})
	if err == nil && lost {
		return fault.New(fault.MessageLockLost,
			"There is no message under this lock token: it was settled, it expired, "+
				"or its lock was over and it was received again. Receive it again")
	}
	return err
}
