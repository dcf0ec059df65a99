package attempts

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/segment"
	"github.com/berth-iot/berth/store/storetest"
)

// Retention takes attempts away from the front. Asking for one must not answer
// with the next that is there.
func TestAttemptThatHasLeftTheLog(t *testing.T) {
	var hours atomic.Int64 // the log asks for the time in its own goroutines
	clock := func() time.Time { return noon.Add(time.Duration(hours.Load()) * time.Hour) }
	logs, err := segment.Open(t.TempDir(), segment.Options{SegmentSize: 4 << 10, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	log, err := logs.Open("attempts", store.LogOptions{Partitions: 1, Retention: store.Retention{Bytes: 8 << 10}})
	if err != nil {
		t.Fatal(err)
	}
	j := newJournal(t)
	j.log = log
	for log.Bounds(0).First == 0 {
		if hours.Add(1) > 10_000 {
			t.Fatal("nothing leaves the log")
		}
		j.append(attest.Attempt{Time: clock(), RegistrationID: "d1", Enrolled: true, Outcome: attest.Refused})
	}
	a, err := Open(context.Background(),
		Config{Documents: j.documents, Log: log, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := a.Get(context.Background(), 0); !errors.Is(err, fault.NotFound) {
		t.Errorf("the first attempt is %+v, error %v", got, err)
	}
	first := log.Bounds(0).First
	if got, err := a.Get(context.Background(), first); err != nil || got.Sequence != first {
		t.Errorf("attempt %d is %+v, error %v", first, got, err)
	}
	if err := errors.Join(a.Close(), logs.Close()); err != nil {
		t.Error(err)
	}
}

// troubled is documents whose first commits fail or panic.
type troubled struct {
	store.Documents
	commits atomic.Int32
}

func (d *troubled) Commit(ctx context.Context, changes ...store.Change) ([]string, error) {
	switch d.commits.Add(1) {
	case 1:
		return nil, errors.New("the disk is full")
	case 2:
		panic("commit")
	}
	return d.Documents.Commit(ctx, changes...)
}

// The index of attempts is written when it can be, though it could not before.
func TestTheIndexIsTriedAgain(t *testing.T) {
	j := newJournal(t)
	documents := &troubled{Documents: j.documents}
	a, err := Open(t.Context(),
		Config{Documents: documents, Log: j.log, Logger: slog.New(slog.DiscardHandler),
			Panics: panics.NewRecorder(slog.New(slog.DiscardHandler))})
	if err != nil {
		t.Fatal(err)
	}
	const attempts = attemptsKept + 2
	for range attempts {
		a.Record(attest.Attempt{Time: noon, RegistrationID: "d1", Enrolled: true, Outcome: attest.Refused})
		a.awaitAppends()
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		indexed, _, err := a.index.Get(t.Context(), "d1")
		if err == nil && len(indexed.Sequences) == attemptsKept && indexed.Sequences[attemptsKept-1] == attempts-1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %d commits the index holds %v, error %v", documents.commits.Load(), indexed, err)
		}
	}
	if documents.commits.Load() < 3 {
		t.Errorf("only %d commits: none failed", documents.commits.Load())
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	j.check(Count{Time: noon, Refused: attempts})
}

// TestAttemptsAreKept writes attempts with what no other code should make: something of
// each is kept, and says what could not be.
func TestAttemptsAreKept(t *testing.T) {
	deep := make(json.RawMessage, 0, 20_000)
	for range 10_000 {
		deep = append(deep, '[')
	}
	for range 10_000 {
		deep = append(deep, ']')
	}
	whole := attest.Attempt{Time: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), RegistrationID: "x",
		Outcome: attest.Assigned, Enrolled: true}
	for name, change := range map[string]func(*attest.Attempt){
		"a snapshot that is no JSON": func(a *attest.Attempt) { a.Snapshot = json.RawMessage("{") },
		"a snapshot without end":     func(a *attest.Attempt) { a.Snapshot = deep },
		"a snapshot of megabytes": func(a *attest.Attempt) {
			a.Snapshot = json.RawMessage(`"` + largeText(2<<20) + `"`)
		},
		"a check of megabytes": func(a *attest.Attempt) {
			a.Checks = attest.Trace{{Name: "check", Saw: largeText(2 << 20)}}
		},
		"a year without digits":  func(a *attest.Attempt) { a.Time = time.Date(20_000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"a message of megabytes": func(a *attest.Attempt) { a.Message = largeText(2 << 20) },
	} {
		attempt := whole
		change(&attempt)
		kept := decodeAttempt(store.Record{Position: store.Position{Sequence: 7}, Value: encodeAttempt(attempt)})
		failed, _ := kept.Checks.Failed()
		if kept.RegistrationID != "x" || kept.Outcome != attest.Assigned || kept.Sequence != 7 ||
			failed.Name != "attempt" {
			t.Errorf("%s: kept is %.300v", name, kept)
		}
	}
	if kept := decodeAttempt(store.Record{Value: encodeAttempt(whole)}); !reflect.DeepEqual(kept, whole) {
		t.Errorf("an ordinary attempt is kept as %+v", kept)
	}
}

func largeText(size int) string {
	text := make([]byte, size)
	for i := range text {
		text[i] = 'x'
	}
	return string(text)
}

func TestRoundTrip(t *testing.T) {
	storetest.RoundTrip[hour](t)
	storetest.RoundTrip[indexEntry](t)
}
