package attempts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/pebble"
	"github.com/berth-iot/berth/store/segment"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// journal is the attempts on real engines, whose index can fall behind their log
// as in a crash.
type journal struct {
	t         *testing.T
	documents *pebble.Documents
	log       store.Log
}

func newJournal(t *testing.T) *journal {
	documents, err := pebble.Open(t.TempDir(), pebble.Options{})
	if err != nil {
		t.Fatal(err)
	}
	logs, err := segment.Open(t.TempDir(), segment.Options{})
	if err != nil {
		t.Fatal(err)
	}
	log, err := logs.Open("attempts", store.LogOptions{Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(logs.Close(), documents.Close()); err != nil {
			t.Error(err)
		}
	})
	return &journal{t, documents, log}
}

// committed is a store.Committer that passes the result on.
type committed chan error

func (c committed) Committed(_ uint64, _ store.Position, err error) { c <- err }

// append puts attempts into the log that nobody indexes.
func (j *journal) append(attempts ...attest.Attempt) {
	j.t.Helper()
	done := make(committed, len(attempts))
	for _, attempt := range attempts {
		encoded, err := json.Marshal(attempt)
		if err != nil {
			j.t.Fatal(err)
		}
		j.log.Append(0, encoded, done, 0)
	}
	for range attempts {
		if err := <-done; err != nil {
			j.t.Fatal(err)
		}
	}
}

// outcomes opens the attempts, which indexes what is missing, and closes them.
func (j *journal) outcomes() []Count {
	j.t.Helper()
	a, err := Open(context.Background(),
		Config{Documents: j.documents, Log: j.log, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		j.t.Fatal(err)
	}
	counts, err := a.outcomesSince(context.Background(), time.Time{})
	if err = errors.Join(err, a.Close()); err != nil {
		j.t.Fatal(err)
	}
	return counts
}

// check holds the outcomes against what they should be.
func (j *journal) check(want ...Count) {
	j.t.Helper()
	if got := j.outcomes(); !slices.Equal(got, want) {
		j.t.Errorf("counted %v, want %v", got, want)
	}
}

// powerless is documents that lose power after some commits.
type powerless struct {
	store.Documents
	commits int
}

var errPower = errors.New("the power went off")

func (p *powerless) Commit(ctx context.Context, changes ...store.Change) ([]string, error) {
	if p.commits--; p.commits < 0 {
		return nil, errPower
	}
	return p.Documents.Commit(ctx, changes...)
}

// A crash between the commits of one batch must neither lose an attempt nor
// count one twice.
func TestOutcomesCountOnceAcrossCrashes(t *testing.T) {
	j := newJournal(t)
	const devices = 2*indexBatch + 10
	for i := range devices {
		j.append(attest.Attempt{Time: noon, RegistrationID: fmt.Sprint("d", i), Enrolled: true,
			Outcome: attest.Assigned})
	}
	crashes := 0
	for commits := 0; ; commits++ {
		a, err := Open(context.Background(),
			Config{Documents: &powerless{j.documents, commits}, Log: j.log, Logger: slog.New(slog.DiscardHandler)})
		if err == nil {
			if err := a.Close(); !errors.Is(err, errPower) && err != nil {
				t.Fatal(err)
			}
			break
		}
		if crashes++; !errors.Is(err, errPower) {
			t.Fatal(err)
		}
	}
	if crashes < 3 {
		t.Errorf("only %d places to crash at", crashes)
	}
	for range 2 {
		j.check(Count{Time: noon, Assigned: devices})
	}
}

func TestOldOutcomesAreRemoved(t *testing.T) {
	j := newJournal(t)
	refusal := func(after time.Duration) attest.Attempt {
		return attest.Attempt{Time: noon.Add(after), Outcome: attest.Refused}
	}
	j.append(refusal(0), refusal(time.Hour), refusal(2*time.Hour))
	j.check(
		Count{Time: noon, Refused: 1},
		Count{Time: noon.Add(time.Hour), Refused: 1},
		Count{Time: noon.Add(2 * time.Hour), Refused: 1},
	)
	// One batch in which two hours begin, and an old one grows that would go.
	j.append(refusal(time.Hour+5*time.Minute), refusal(outcomesKept+time.Hour), refusal(outcomesKept+2*time.Hour))
	j.check(
		Count{Time: noon.Add(time.Hour), Refused: 1},
		Count{Time: noon.Add(time.Hour + 5*time.Minute), Refused: 1},
		Count{Time: noon.Add(2 * time.Hour), Refused: 1},
		Count{Time: noon.Add(outcomesKept + time.Hour), Refused: 1},
		Count{Time: noon.Add(outcomesKept + 2*time.Hour), Refused: 1},
	)
	j.append(refusal(outcomesKept + 3*time.Hour))
	j.check(
		Count{Time: noon.Add(outcomesKept + time.Hour), Refused: 1},
		Count{Time: noon.Add(outcomesKept + 2*time.Hour), Refused: 1},
		Count{Time: noon.Add(outcomesKept + 3*time.Hour), Refused: 1},
	)
}

// TestAttemptsAreIndexedWhenDocumentsTakeThem appends attempts while documents refuse
// every change, as on a full disk: they are indexed and counted, once, when documents
// take changes again.
func TestAttemptsAreIndexedWhenDocumentsTakeThem(t *testing.T) {
	j := newJournal(t)
	documents := &refusing{Documents: j.documents, refused: make(chan struct{}, 100)}
	a, err := Open(context.Background(),
		Config{Documents: documents, Log: j.log, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	documents.refuse.Store(true)
	a.Record(attest.Attempt{Time: noon, RegistrationID: "d1", Enrolled: true, Outcome: attest.Assigned})
	<-documents.refused
	a.Record(attest.Attempt{Time: noon, RegistrationID: "d1", Enrolled: true, Outcome: attest.Refused})
	a.awaitAppends()
	documents.refuse.Store(false)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	j.check(Count{Time: noon, Assigned: 1, Refused: 1})
	if known, _, err := a.index.Get(context.Background(), "d1"); err != nil || len(known.Sequences) != 2 {
		t.Errorf("indexed are %+v, %v", known, err)
	}
}

// refusing is documents that refuse changes for a while.
type refusing struct {
	store.Documents
	refuse  atomic.Bool
	refused chan struct{}
}

func (r *refusing) Commit(ctx context.Context, changes ...store.Change) ([]string, error) {
	if r.refuse.Load() {
		r.refused <- struct{}{}
		return nil, store.ErrFull
	}
	return r.Documents.Commit(ctx, changes...)
}
