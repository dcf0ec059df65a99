package store_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/memory"
)

// line is the way of one node to its documents, which a test can cut.
type line struct {
	store.Documents
	mutex  sync.Mutex
	broken error         // what commits end with
	frozen chan struct{} // commits wait for its end, whatever their context says
}

func (l *line) Commit(ctx context.Context, changes ...store.Change) ([]string, error) {
	l.mutex.Lock()
	broken, frozen := l.broken, l.frozen
	l.mutex.Unlock()
	if frozen != nil {
		<-frozen
	}
	if broken != nil {
		return nil, broken
	}
	return l.Documents.Commit(ctx, changes...)
}

func (l *line) set(broken error, frozen chan struct{}) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.broken, l.frozen = broken, frozen
}

// node holds a lease in the background and tells what becomes of it.
type node struct {
	*line
	terms chan store.Term // each begins
	lost  chan error      // each ends with
	stop  func() error
}

func newNode(t *testing.T, shared *memory.Store, name string) *node {
	n := &node{line: &line{Documents: shared.Open()}, terms: make(chan store.Term, 10), lost: make(chan error, 10)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- store.NewLease(n.line, "sweep", name, slog.New(slog.DiscardHandler)).
			Hold(ctx, func(ctx context.Context, term store.Term) error {
				n.terms <- term
				<-ctx.Done()
				n.lost <- context.Cause(ctx)
				return nil
			})
	}()
	n.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { n.stop() })
	return n
}

// holds returns the term that has begun at the node, and fails when none has.
func (n *node) holds(t *testing.T) store.Term {
	t.Helper()
	synctest.Wait()
	select {
	case term := <-n.terms:
		return term
	default:
		t.Fatal("the node does not hold the lease")
		return store.Term{}
	}
}

// waits fails when a term has begun at the node.
func (n *node) waits(t *testing.T) {
	t.Helper()
	synctest.Wait()
	if len(n.terms) > 0 {
		t.Fatalf("the node holds the lease: term %d", (<-n.terms).Number)
	}
}

// One node holds the lease for as long as it likes. When it stops, another one follows.
func TestLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := memory.New()
		a := newNode(t, shared, "a")
		first := a.holds(t)
		b := newNode(t, shared, "b")
		time.Sleep(time.Hour)
		b.waits(t)
		a.waits(t)
		if _, err := a.Commit(t.Context(), first.Check(), store.Change{Collection: "done", Key: "a"}); err != nil {
			t.Errorf("the holder's commit: %v", err)
		}
		if err := a.stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("stopped with %v", err)
		}
		time.Sleep(5 * time.Second)
		if second := b.holds(t); second.Number <= first.Number {
			t.Errorf("term %d follows %d", second.Number, first.Number)
		}
	})
}

// A node that can't reach the documents stops before another one begins.
func TestLeaseOfANodeThatIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := memory.New()
		a := newNode(t, shared, "a")
		first := a.holds(t)
		b := newNode(t, shared, "b")
		time.Sleep(7 * time.Second)
		a.set(errors.New("no way to the documents"), nil)
		time.Sleep(6 * time.Second) // some renewals fail, which is no matter
		a.set(nil, nil)
		time.Sleep(time.Hour)
		if len(a.lost) > 0 {
			t.Fatalf("the lease is lost: %v", <-a.lost)
		}
		a.set(errors.New("no way to the documents"), nil)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(a.lost) == 0 || !errors.Is(<-a.lost, store.ErrLeaseLost) {
			t.Fatal("the node goes on after ten seconds without the documents")
		}
		b.waits(t)
		time.Sleep(10 * time.Second)
		second := b.holds(t)
		if second.Number <= first.Number {
			t.Errorf("term %d follows %d", second.Number, first.Number)
		}
		a.set(nil, nil)
		time.Sleep(time.Hour)
		a.waits(t)
	})
}

// A node that stood still finds out by its next commit.
func TestLeaseOfANodeThatFreezes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := memory.New()
		a := newNode(t, shared, "a")
		first := a.holds(t)
		b := newNode(t, shared, "b")
		frozen := make(chan struct{})
		a.set(nil, frozen)
		committed := make(chan error)
		go func() {
			_, err := a.Commit(context.Background(), first.Check(), store.Change{Collection: "done", Key: "a"})
			committed <- err
		}()
		time.Sleep(20 * time.Second)
		b.holds(t)
		a.set(nil, nil)
		close(frozen)
		if _, conflict := store.IsConflict(<-committed); !conflict {
			t.Error("what a former holder commits is not refused")
		}
		synctest.Wait()
		if len(a.lost) == 0 || !errors.Is(<-a.lost, store.ErrLeaseLost) {
			t.Error("the former holder goes on")
		}
	})
}

// A node that was killed and started again under its name does not wait.
func TestLeaseAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := memory.New()
		killed := newNode(t, shared, "a")
		first := killed.holds(t)
		killed.set(errors.New("it is dead"), nil)
		if second := newNode(t, shared, "a").holds(t); second.Number <= first.Number {
			t.Errorf("term %d follows %d", second.Number, first.Number)
		}
	})
}

// A node that is alone needs no documents for its leases, so that its work goes on without
// room on the disk.
func TestLeaseOfANodeThatIsAlone(t *testing.T) {
	documents := memory.New().Open()
	full := &line{Documents: documents, broken: store.ErrFull}
	worked := errors.New("it has worked")
	err := store.NewLease(full, "sweep", "", slog.New(slog.DiscardHandler)).
		Hold(t.Context(), func(ctx context.Context, term store.Term) error {
			if _, err := documents.Commit(ctx, term.Check(), store.Change{Collection: "done", Key: "a"}); err != nil {
				t.Errorf("the holder's commit: %v", err)
			}
			return worked
		})
	if !errors.Is(err, worked) {
		t.Errorf("it ends with %v", err)
	}
	counts, err := documents.Count(t.Context(), "cluster/leases", "cluster/beats")
	if err != nil || counts[0]+counts[1] > 0 {
		t.Errorf("documents of leases: %v, %v", counts, err)
	}
}

// Of many that begin at once, each does its work to the end, one after the other.
func TestLeaseIsHeldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := memory.New()
		var all sync.WaitGroup
		var working, most, last int
		var mutex sync.Mutex
		for i := range 8 {
			lease := store.NewLease(shared.Open(), "once", fmt.Sprint(i), slog.New(slog.DiscardHandler))
			all.Go(func() {
				err := lease.Hold(t.Context(), func(_ context.Context, term store.Term) error {
					mutex.Lock()
					working++
					most = max(most, working)
					if int(term.Number) <= last {
						t.Errorf("term %d follows %d", term.Number, last)
					}
					last = int(term.Number)
					mutex.Unlock()
					time.Sleep(time.Minute)
					mutex.Lock()
					working--
					mutex.Unlock()
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if most != 1 || last != 8 {
			t.Errorf("%d worked at once, and there were %d terms", most, last)
		}
	})
}
