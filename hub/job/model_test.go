package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/berth-iot/berth/clock/clocktest"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/memory"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

var errCrash = errors.New("the process has died")

// dying are documents of a process that dies at one of its commits: before it, or so late
// that the commit was made and nobody learns of it.
type dying struct {
	store.Documents
	mutex   sync.Mutex
	left    int // commits until then; negative is never
	late    bool
	crashed chan struct{}
}

func (d *dying) Commit(ctx context.Context, changes ...store.Change) ([]string, error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	switch {
	case d.left == 0 && !isClosed(d.crashed):
		close(d.crashed)
		if d.late {
			d.Documents.Commit(ctx, changes...)
		}
		return nil, errCrash
	case isClosed(d.crashed):
		return nil, errCrash
	}
	d.left--
	return d.Documents.Commit(ctx, changes...)
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// world is what jobs act on: twins whose versions count how often each was patched, and
// devices that count their calls.
type world struct {
	engine  *memory.Store
	clock   *clocktest.Clock
	devices int
	broken  int // each so manieth refuses

	mutex   sync.Mutex
	calls   map[string]int
	blocked chan struct{} // calls wait for it, if it is not nil
}

func (w *world) ids() (ids []string) {
	for i := range w.devices {
		ids = append(ids, fmt.Sprintf("d%04d", i))
	}
	return ids
}

func (w *world) refuses(id string) bool {
	at, _ := slices.BinarySearch(w.ids(), id)
	return w.broken > 0 && at%w.broken == 0
}

func (w *world) open(documents store.Documents, limits Limits) *Jobs {
	twins := store.NewTable[int](documents, "twins")
	return Open(Config{Documents: documents, Prefix: "hub/test/", Limits: limits, Now: w.clock.Now,
		Lease:  store.NewLease(documents, "jobs", "", slog.New(slog.DiscardHandler)),
		Logger: slog.New(slog.DiscardHandler), Panics: panics.NewRecorder(slog.New(slog.DiscardHandler)),
		Select: func(_ context.Context, condition, after string, limit int) ([]string, string, error) {
			if condition == "nonsense" {
				return nil, "", fault.New(fault.ArgumentInvalid, "the condition can't be read")
			}
			ids := slices.DeleteFunc(w.ids(), func(id string) bool { return id <= after })
			if len(ids) <= limit {
				return ids, "", nil
			}
			return ids[:limit], ids[limit-1], nil
		},
		PatchTwin: func(ctx context.Context, id string, _ json.RawMessage, with ...store.Change) error {
			if w.refuses(id) {
				return fault.New(fault.DeviceNotFound, "There is no device %q", id)
			}
			_, err := store.RetryOnConflict(ctx, func() ([]string, error) {
				n, etag, err := twins.Get(ctx, id)
				match := store.IfMatch(etag)
				if errors.Is(err, store.ErrNotFound) {
					match, err = store.Absent, nil
				}
				if err != nil {
					return nil, err
				}
				return store.CommitWith(ctx, documents, with, twins.Put(id, match, n+1))
			})
			return err
		},
		Invoke: func(ctx context.Context, id string, _ json.RawMessage) (Answer, error) {
			w.mutex.Lock()
			w.calls[id]++
			blocked := w.blocked
			w.mutex.Unlock()
			if w.refuses(id) {
				return Answer{}, fault.New(fault.DeviceNotFound, "There is no device %q", id)
			}
			if blocked != nil {
				select {
				case <-blocked:
				case <-ctx.Done():
					return Answer{}, ctx.Err()
				}
			}
			return Answer{Status: 200, Payload: json.RawMessage(`"done"`)}, nil
		},
	})
}

// TestJobsBehaveAsTheirModel has processes die at any commit of a job, and others take it up,
// and finds that each device had exactly one turn, that no method was called twice, and that
// what the job says of itself is what became of its devices.
func TestJobsBehaveAsTheirModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		w := &world{engine: memory.New(), clock: &clocktest.Clock{}, calls: make(map[string]int),
			devices: rapid.SampledFrom([]int{0, 1, 7, 60}).Draw(t, "devices"),
			broken:  rapid.SampledFrom([]int{0, 3}).Draw(t, "each so manieth refuses")}
		w.clock.Set(noon)
		kind := rapid.SampledFrom([]Kind{UpdateTwin, InvokeMethod}).Draw(t, "kind")
		limits := Limits{Devices: rapid.SampledFrom([]int{1, 4}).Draw(t, "at once")}
		documents := w.engine.Open()
		defer documents.Close()
		jobs := w.open(documents, limits)
		if _, err := jobs.Create(ctx, Specification{ID: "j1", Kind: kind, Condition: "*"}); err != nil {
			t.Fatal(err)
		}
		cancels := rapid.Bool().Draw(t, "is cancelled")
		for range rapid.IntRange(0, 3).Draw(t, "deaths") {
			d := &dying{Documents: documents, left: rapid.IntRange(0, 20).Draw(t, "commits"),
				late: rapid.Bool().Draw(t, "late"), crashed: make(chan struct{})}
			run(ctx, w.open(d, limits), d.crashed)
		}
		if cancels {
			if _, err := jobs.Cancel(ctx, "j1", true); err != nil && !errors.Is(err, fault.OperationNotAllowed) {
				t.Fatal(err)
			}
		}
		run(ctx, jobs, nil)

		job, err := jobs.Get(ctx, "j1")
		if err != nil {
			t.Fatal(err)
		}
		w.check(t, jobs, job, kind)
	})
}

// run carries jobs out until the job j1 has ended and is settled, or dies.
func run(ctx context.Context, jobs *Jobs, crashed chan struct{}) {
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	changed := make(chan struct{}, 1)
	changed <- struct{}{}
	jobs.Documents.Watch(ctx, func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}, jobs.index.Collection)
	go func() {
		defer close(ended)
		jobs.Run(ctx)
	}()
	for over := false; !over; {
		select {
		case <-crashed:
			over = true
		case <-changed:
			active, err := jobs.index.List(ctx, activePrefix, "", 10)
			over = err == nil && len(active) == 0
		}
	}
	stop()
	<-ended
}

func (w *world) check(t *rapid.T, jobs *Jobs, job Job, kind Kind) {
	ctx := context.Background()
	found, next, err := jobs.Devices(ctx, job.ID, "", 1000)
	if err != nil || next != "" {
		t.Fatal(next, err)
	}
	want := Statistics{Devices: len(found)}
	for _, d := range found {
		want.count(d.Status)
		patched, _, err := store.NewTable[int](jobs.Documents, "twins").Get(ctx, d.ID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		calls := w.calls[d.ID]
		effects := map[Kind]int{UpdateTwin: patched, InvokeMethod: calls}[kind]
		interrupted := d.Error != nil && strings.Contains(d.Error.Description, "not known")
		switch {
		case calls > 1 || patched > 1:
			t.Fatalf("%s was patched %d times and called %d times", d.ID, patched, calls)
		case d.Status == DeviceCompleted && (effects != 1 || w.refuses(d.ID)),
			d.Status == DeviceCancelled && effects != 0,
			d.Status == DeviceFailed && !w.refuses(d.ID) && !interrupted,
			!d.Status.hasEnded(), interrupted && kind != InvokeMethod,
			d.Status == DeviceCancelled && job.Status != Cancelled:
			t.Fatalf("in a job that is %s, %+v was patched %d times and called %d times", job.Status, d, patched, calls)
		}
	}
	if job.Statistics != want || job.Pending() != 0 {
		t.Fatalf("the statistics are %+v and %d pending, want %+v", job.Statistics, job.Pending(), want)
	}
	switch {
	case job.Status == Completed && len(found) != w.devices, !job.Status.HasEnded(), job.Status == Failed:
		t.Fatalf("it is %s (%s) with %d devices of %d", job.Status, job.Reason, len(found), w.devices)
	}
	index, err := jobs.index.List(ctx, "", "", 10)
	if err != nil || len(index) != 1 || index[0].Key != job.endedKey() {
		t.Fatalf("the index has %+v: %v", index, err)
	}
}
