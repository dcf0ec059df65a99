package c2d

import (
	"context"
	"time"
	"unicode/utf8"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/store"
)

// Outgoing is a message that a back end sends.
type Outgoing struct {
	message.Message           // but for what stands below
	MessageID       string    // by which feedback speaks of it; "" for none, and then no feedback
	Ack             Ack       // "" is none
	Expires         time.Time // zero is as the hub's limits say
}

// Prepared is a message that is in the queue of its device once Changes are committed.
type Prepared struct {
	Receipt
	Changes   []store.Change
	Committed func() // is to be called then
}

// PrepareSend returns what is to be committed so that a message is in the queue of a device,
// and what its sender gets. It returns fault 413001 for a message that is too large, 403004
// for a queue that is full, 403009 for an expiry that is over or too far ahead, and 400004
// for what can't be in a message.
func (m *Messages) PrepareSend(ctx context.Context, to Recipient, out Outgoing) (Prepared, error) {
	if err := out.validate(); err != nil {
		return Prepared{}, err
	}
	var receipt Receipt
	prepared, err := m.prepare(ctx, to, func(q *queue, now time.Time) ([]store.Change, error) {
		expires, err := m.expiry(out.Expires, now)
		if err != nil {
			return nil, err
		}
		if len(q.Messages) >= min(m.limits.Depth, MaxDepth) {
			return nil, fault.New(fault.QueueFull,
				"The queue of the device %q is full: it holds %d messages. Wait until the device has received some, "+
					"or purge the queue", to.DeviceID, len(q.Messages))
		}
		receipt = Receipt{Sequence: q.Next, Enqueued: now, Expires: expires}
		q.Next++
		q.Messages = append(q.Messages, entry{Sequence: receipt.Sequence, MessageID: out.MessageID, Ack: out.Ack,
			Enqueued: now, Expires: expires})
		put := m.messages.Put(messageKey(to.DeviceID, receipt.Sequence), store.Absent,
			stored{System: keep(out.System), Properties: keep(out.Properties), Payload: out.Payload})
		return []store.Change{put}, nil
	})
	return Prepared{Receipt: receipt, Changes: prepared.changes, Committed: func() {
		m.counters.sent.Add(1)
		m.counters.count(prepared.gone)
	}}, err
}

// expiry is when a message expires that asks for this.
func (m *Messages) expiry(asked, now time.Time) (time.Time, error) {
	switch {
	case asked.IsZero():
		return now.Add(m.limits.TTL), nil
	case !now.Before(asked):
		return time.Time{}, fault.New(fault.InvalidMessageExpiry,
			"The message expired at %s, before it was sent", asked.UTC().Format(time.RFC3339))
	case asked.After(now.Add(m.limits.MaxTTL)):
		return time.Time{}, fault.New(fault.InvalidMessageExpiry,
			"The message expires at %s. It must expire within %s", asked.UTC().Format(time.RFC3339), m.limits.MaxTTL)
	}
	return asked.UTC(), nil
}

func (out *Outgoing) validate() error {
	if size := out.Size(); size > MaxMessage {
		return fault.New(fault.MessageTooLarge, "The message has %d bytes with its properties, the limit is %d", size,
			MaxMessage)
	}
	switch out.Ack {
	case "", AckNone, AckPositive, AckNegative, AckFull:
	default:
		return fault.New(fault.ArgumentInvalid,
			"The acknowledgement must be none, positive, negative or full, not %.32q", string(out.Ack))
	}
	for _, properties := range [2][]message.Property{out.System, out.Properties} {
		for _, p := range properties {
			if !utf8.Valid(p.Name) || !utf8.Valid(p.Value) {
				return fault.New(fault.ArgumentInvalid, "The property %.64q of the message is not UTF-8", p.Name)
			}
		}
	}
	return nil
}
