package c2d

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/berth-iot/berth/store"
)

// Past is a message that has left the queue of its device.
type Past struct {
	Sequence  int64     `json:"sequence"`
	MessageID string    `json:"messageId,omitempty"`
	Enqueued  time.Time `json:"enqueued"`
	Outcome   Outcome   `json:"outcome"`
	Time      time.Time `json:"time"` // of the outcome
}

// historyLength is of how many messages of a device it is known what became of them.
const historyLength = 20

// history is what became of a device's messages, the oldest first. It is for people:
// feedback is for back ends, who take it away and did not ask for it of every message.
type history struct {
	Generation string `json:"generation"`
	Messages   []Past `json:"messages"`
}

// History returns what became of the last twenty messages that have left the queue of a
// device, the newest first, whatever their senders wanted to hear.
func (m *Messages) History(ctx context.Context, to Recipient) ([]Past, error) {
	known, err := m.readHistory(ctx, to)
	slices.Reverse(known.Messages)
	return known.Messages, err
}

// readHistory returns the history of a device; one of an earlier device of the same id, or
// one that can't be read, is as none.
func (m *Messages) readHistory(ctx context.Context, to Recipient) (history, error) {
	known, _, err := m.histories.Get(ctx, to.DeviceID)
	if errors.Is(err, store.ErrNotFound) || store.IsUnreadable(err) || err == nil && known.Generation != to.Generation {
		return history{Generation: to.Generation}, nil
	}
	return known, err
}

// remember returns what is to be committed so that it is known what became of messages. It
// goes with a change of their queue, which nobody else changes at the same time.
func (m *Messages) remember(ctx context.Context, to Recipient, gone []departure, now time.Time) (store.Change, error) {
	known, err := m.readHistory(ctx, to)
	if err != nil {
		return store.Change{}, err
	}
	for _, d := range gone {
		known.Messages = append(known.Messages,
			Past{Sequence: d.Sequence, MessageID: d.MessageID, Enqueued: d.Enqueued, Outcome: d.outcome, Time: now})
	}
	known.Messages = known.Messages[max(0, len(known.Messages)-historyLength):]
	return m.histories.Put(to.DeviceID, store.Always, known), nil
}
