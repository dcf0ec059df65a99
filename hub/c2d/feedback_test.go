package c2d

import (
	"fmt"
	"testing"

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
