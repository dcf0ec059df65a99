package c2d

import (
	"context"
	"errors"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/store"
)

// Queued is a message in the queue of a device, as who only looks sees it.
type Queued struct {
	Receipt
	message.Message // empty when Unreadable
	MessageID       string
	Ack             Ack
	DeliveryCount   int       // how often it was given back
	Delivered       bool      // it was handed out, now or before
	LockedUntil     time.Time // zero when it is under nobody's lock
	Unreadable      bool      // its record can't be read, and nobody receives it
}

// Peek returns the messages in the queue of a device that have not expired, the oldest
// first and at most limit, and how many there are. It locks and changes nothing.
func (m *Messages) Peek(ctx context.Context, to Recipient, limit int) (waiting []Queued, total int, _ error) {
	q, err := m.read(ctx, to)
	switch {
	case store.IsUnreadable(err), errors.Is(err, fault.DeviceNotFound): // of an earlier device
		return nil, 0, nil
	case err != nil:
		return nil, 0, err
	}
	now := m.now()
	for _, e := range q.Messages {
		if !now.Before(e.Expires) {
			continue
		}
		if total++; total > limit {
			continue
		}
		w := Queued{Receipt: Receipt{e.Sequence, e.Enqueued, e.Expires}, MessageID: e.MessageID, Ack: e.Ack,
			DeliveryCount: e.DeliveryCount, Delivered: e.Delivered}
		if e.isLocked(now) {
			w.LockedUntil = e.Lock.Until
		}
		kept, _, err := m.messages.Get(ctx, messageKey(to.DeviceID, e.Sequence))
		switch {
		case errors.Is(err, store.ErrNotFound): // it left the queue meanwhile
			total--
			continue
		case store.IsUnreadable(err):
			w.Unreadable = true
		case err != nil:
			return nil, 0, err
		default:
			w.System, w.Properties, w.Payload = bring(kept.System), bring(kept.Properties), kept.Payload
		}
		waiting = append(waiting, w)
	}
	return waiting, total, nil
}
