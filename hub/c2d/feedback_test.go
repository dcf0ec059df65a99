package c2d

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/berth-iot/berth/clock/clocktest"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/memory"
)

// TestFeedbackIsBounded drops the oldest feedback of a back end that never reads it.
func TestFeedbackIsBounded(t *testing.T) {
	ctx, clock := t.Context(), &clocktest.Clock{}
	clock.Set(noon)
	documents := memory.New().Open()
	defer documents.Close()
	m := Open(Config{Documents: documents, Prefix: "hub/test/", Now: clock.Now})
	m.maxFeedback = 10
	to := Recipient{"d1", "1"}
	for i := range 25 {
		if _, err := send(ctx, m, to, Outgoing{MessageID: fmt.Sprint("m", i), Ack: AckFull}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.Purge(ctx, to); err != nil {
		t.Fatal(err)
	}
	for dropped := -1; dropped != 0; {
		var err error
		if dropped, err = m.ExpireFeedback(ctx, 7); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := store.Count(ctx, documents, "hub/test/feedback"); err != nil || n != 10 {
		t.Errorf("%d records are kept, error %v", n, err)
	}
	if batch, err := m.ReceiveFeedback(ctx); err != nil || len(batch.Records) != 10 ||
		batch.Records[0].MessageID != "m15" {
		t.Errorf("received is %+v, error %v", batch, err)
	}
}

// busy is documents in which a device settles a message whenever several queues are
// committed at once.
type busy struct {
	store.Documents
	settle func()
}

// Commit implements store.Documents.
func (b *busy) Commit(ctx context.Context, changes ...store.Change) ([]string, error) {
	if settle := b.settle; settle != nil {
		b.settle = nil
		settle()
	}
	return b.Documents.Commit(ctx, changes...)
}

// TestExpireTogether drops what has expired in many queues, also when one of the devices is
// faster, and leaves what has not.
func TestExpireTogether(t *testing.T) {
	ctx, clock := t.Context(), &clocktest.Clock{}
	clock.Set(noon)
	documents := &busy{Documents: memory.New().Open()}
	defer documents.Close()
	m := Open(Config{Documents: documents, Prefix: "hub/test/", Now: clock.Now})
	const devices = 300
	to := func(i int) Recipient { return Recipient{fmt.Sprint("d", i), "1"} }
	for i := range devices {
		for _, ttl := range []time.Duration{time.Minute, time.Hour} {
			if _, err := send(ctx, m, to(i), Outgoing{MessageID: "m", Ack: AckFull, Expires: noon.Add(ttl)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	clock.Advance(2 * time.Minute)
	documents.settle = func() {
		if n, err := m.Purge(ctx, to(7)); n != 1 || err != nil {
			t.Errorf("%d messages are purged, error %v", n, err)
		}
	}
	looked, err := m.Expire(ctx, 1000)
	if looked != devices || err != nil {
		t.Errorf("looked at %d queues, error %v", looked, err)
	}
	if waiting, err := m.Waiting(ctx); err != nil || waiting != (Waiting{Messages: devices - 1, Feedback: devices + 1}) {
		t.Errorf("waiting are %+v, error %v", waiting, err)
	}
	if left := m.Stats().Left; left[Expired] != devices || left[Purged] != 1 {
		t.Errorf("counted are %v", left)
	}
}
