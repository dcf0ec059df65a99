package c2d

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// Feedback says what became of one message.
type Feedback struct {
	MessageID        string    `json:"originalMessageId"`
	DeviceID         string    `json:"deviceId"`
	DeviceGeneration string    `json:"deviceGenerationId"`
	Outcome          Outcome   `json:"statusCode"`
	Time             time.Time `json:"enqueuedTimeUtc"` // of the outcome
}

// FeedbackBatch is feedback that was handed out under a lock.
type FeedbackBatch struct {
	LockToken string
	Enqueued  time.Time // of the newest
	Records   []Feedback
}

// maxBatch is how many records a batch has at most, as with Azure.
const maxBatch = 64

// maxBatches bounds the batches that are under lock at once.
const maxBatches = 16

// feedbackBox is who has received which feedback. There is one for all readers of a hub.
type feedbackBox struct {
	Batches []batch `json:"batches"`
}

type batch struct {
	Token         string    `json:"token"`
	Until         time.Time `json:"until"`
	DeliveryCount int       `json:"deliveryCount,omitempty"`
	Keys          []string  `json:"keys"`
}

const box = "box"

// tell is the feedback on a message that leaves its queue.
func (m *Messages) tell(to Recipient, gone departure, now time.Time) store.Change {
	// What leaves its queue in one commit is told in the order of the queue.
	key := fmt.Sprintf("%016x-%016x-%s", now.UnixNano(), gone.Sequence, fault.NewTrackingID())
	return m.feedback.Put(key, store.Absent, Feedback{MessageID: gone.MessageID, DeviceID: to.DeviceID,
		DeviceGeneration: to.Generation, Outcome: gone.outcome, Time: now})
}

// ReceiveFeedback hands out feedback, the oldest first, and locks it as Receive does. It
// returns a batch without records when there is none.
func (m *Messages) ReceiveFeedback(ctx context.Context) (FeedbackBatch, error) {
	return store.RetryOnConflict(ctx, func() (FeedbackBatch, error) {
		readers, match, err := m.readReaders(ctx)
		if err != nil {
			return FeedbackBatch{}, err
		}
		now := m.now()
		taken := batch{Token: fault.NewTrackingID(), Until: now.Add(m.limits.FeedbackLock)}
		if over := slices.IndexFunc(readers.Batches, func(b batch) bool { return !now.Before(b.Until) }); over >= 0 {
			taken.Keys, taken.DeliveryCount = readers.Batches[over].Keys, readers.Batches[over].DeliveryCount
			readers.Batches = slices.Delete(readers.Batches, over, over+1)
		}
		found, err := m.records(ctx, &taken, readers, now)
		if err != nil || len(found.Records) == 0 {
			return found, err
		}
		readers.Batches = append(readers.Batches, taken)
		_, err = m.documents.Commit(ctx, m.readers.Put(box, match, readers))
		return found, err
	})
}

// records reads those of a batch that was given back, or chooses some for a new one.
func (m *Messages) records(ctx context.Context, of *batch, readers feedbackBox, now time.Time) (FeedbackBatch, error) {
	found := FeedbackBatch{LockToken: of.Token}
	add := func(record Feedback) {
		found.Records = append(found.Records, record)
		found.Enqueued = record.Time
	}
	if len(of.Keys) > 0 {
		for _, key := range of.Keys {
			record, _, err := m.feedback.Get(ctx, key)
			switch {
			case err == nil:
				add(record)
			case !errors.Is(err, store.ErrNotFound) && !store.IsUnreadable(err):
				return found, err
			}
		}
		if len(found.Records) > 0 {
			return found, nil
		}
	}
	of.Keys, of.DeliveryCount = nil, 0
	if len(readers.Batches) >= maxBatches {
		return FeedbackBatch{}, nil
	}
	taken := make(map[string]bool)
	for _, b := range readers.Batches {
		for _, key := range b.Keys {
			taken[key] = true
		}
	}
	entries, err := m.feedback.List(ctx, "", "", len(taken)+maxBatch)
	for _, e := range entries {
		if !taken[e.Key] && now.Sub(e.Value.Time) < m.limits.FeedbackTTL && len(of.Keys) < maxBatch {
			of.Keys = append(of.Keys, e.Key)
			add(e.Value)
		}
	}
	return found, err
}

// CompleteFeedback removes a batch that was read. It returns fault 412002 for a lock that
// is not there any more.
func (m *Messages) CompleteFeedback(ctx context.Context, token string) error {
	return m.settleFeedback(ctx, token, func(*batch) bool { return true })
}

// AbandonFeedback gives a batch back, so that it is received again; after
// FeedbackMaxDeliveryCount times it is dropped. It returns fault 412002 as
// CompleteFeedback does.
func (m *Messages) AbandonFeedback(ctx context.Context, token string) error {
	return m.settleFeedback(ctx, token, func(b *batch) bool {
		b.DeliveryCount++
		b.Until = time.Time{}
		return b.DeliveryCount >= m.limits.FeedbackMaxDeliveryCount
	})
}

func (m *Messages) settleFeedback(ctx context.Context, token string, isOver func(*batch) bool) error {
	_, err := store.RetryOnConflict(ctx, func() (struct{}, error) {
		readers, match, err := m.readReaders(ctx)
		if err != nil {
			return struct{}{}, err
		}
		at := slices.IndexFunc(readers.Batches, func(b batch) bool { return b.Token == token && !b.Until.IsZero() })
		if at < 0 {
			return struct{}{}, fault.New(fault.MessageLockLost,
				"There is no feedback under this lock token: it was settled, or its lock was over and it was received "+
					"again. Receive it again")
		}
		var changes []store.Change
		if isOver(&readers.Batches[at]) {
			for _, key := range readers.Batches[at].Keys {
				changes = append(changes, m.feedback.Delete(key, store.Always))
			}
			readers.Batches = slices.Delete(readers.Batches, at, at+1)
		}
		_, err = m.documents.Commit(ctx, append(changes, m.readers.Put(box, match, readers))...)
		return struct{}{}, err
	})
	return err
}

// readReaders returns who has received which feedback. One that can't be read is as none:
// what was under lock is handed out again.
func (m *Messages) readReaders(ctx context.Context) (feedbackBox, store.Match, error) {
	readers, etag, err := m.readers.Get(ctx, box)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return feedbackBox{}, store.Absent, nil
	case store.IsUnreadable(err):
		return feedbackBox{}, store.IfMatch(etag), nil
	}
	return readers, store.IfMatch(etag), err
}

// MaxFeedback is how many records of feedback are kept for a back end that does not read
// them: the oldest above are dropped.
const MaxFeedback = 1_000_000

// ExpireFeedback drops feedback that nobody has read in time, and the oldest above what is
// kept, at most limit records, and returns how many that were.
func (m *Messages) ExpireFeedback(ctx context.Context, limit int) (int, error) {
	now := m.now()
	entries, err := m.feedback.List(ctx, "", "", limit)
	if err != nil || len(entries) == 0 {
		return 0, err
	}
	there, err := store.Count(ctx, m.documents, m.feedback.Collection)
	if err != nil {
		return 0, err
	}
	var changes []store.Change
	for i, e := range entries {
		if now.Sub(e.Value.Time) >= m.limits.FeedbackTTL || there-i > m.maxFeedback {
			changes = append(changes, m.feedback.Delete(e.Key, store.Always))
		}
	}
	if len(changes) == 0 {
		return 0, nil
	}
	_, err = m.documents.Commit(ctx, changes...)
	return len(changes), err
}
