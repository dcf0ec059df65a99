package storetest

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-iot/berth/store"
)

// ShareDocuments tests documents that several nodes have open at once, which an engine
// that is one process's alone does not offer.
func ShareDocuments(t *testing.T, open func(t testing.TB, dir string) store.Documents) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, OpenDocuments)
	}{
		{"SeenElsewhere", seenElsewhere},
		{"NoUpdateIsLostBetween", noUpdateIsLostBetween},
		{"WatchElsewhere", watchElsewhere},
		{"LeavesOthers", leavesOthers},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open) })
	}
}

// two opens the same documents twice, until the test ends.
func two(t *testing.T, open OpenDocuments) (a, b store.Documents) {
	t.Helper()
	dir := t.TempDir()
	a = open(t, dir)
	t.Cleanup(func() { a.Close() })
	b = open(t, dir)
	t.Cleanup(func() { b.Close() })
	return a, b
}

func seenElsewhere(t *testing.T, open OpenDocuments) {
	a, b := two(t, open)
	etag := commit(t, a, put("devices", "a", "one"))
	got, err := b.Get(t.Context(), "devices", "a")
	if diff := cmp.Diff(store.Document{Key: "a", ETag: etag, Value: []byte("one")}, got); diff != "" || err != nil {
		t.Fatalf("%v, %s", err, diff)
	}
	seen := map[string]bool{etag: true}
	for i := range 10 {
		by := []store.Documents{b, a}[i%2]
		next := commit(t, by, store.Change{Collection: "devices", Key: "a", Match: store.IfMatch(etag),
			Value: []byte("next")})
		if seen[next] {
			t.Fatalf("ETag %q came twice", next)
		}
		seen[next] = true
		stale := store.Change{Collection: "devices", Key: "a", Match: store.IfMatch(etag), Value: []byte("never")}
		_, err := by.Commit(t.Context(), stale)
		wantConflict(t, err, 0, "devices", "a")
		etag = next
	}
	commit(t, a, store.Change{Collection: "devices", Key: "a", Delete: true})
	wantValue(t, b, "devices", "a", "")
	wantCounts(t, b, "devices")
	again := commit(t, b, put("devices", "a", "again"))
	if seen[again] {
		t.Fatalf("ETag %q came again after a delete elsewhere", again)
	}
}

// noUpdateIsLostBetween counts in the same documents from both sides.
func noUpdateIsLostBetween(t *testing.T, open OpenDocuments) {
	a, b := two(t, open)
	const workers, rounds = 6, 20
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for done := 0; done < rounds; {
				err := increment(t.Context(), []store.Documents{a, b}[w%2], "a", "b")
				if _, conflict := store.IsConflict(err); conflict {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				done++
			}
		})
	}
	all.Wait()
	wantValue(t, a, "counters", "a", "120")
	wantValue(t, b, "counters", "b", "120")
}

// watchElsewhere has who watches told of what the other one commits, within a second or
// so; this waits for ten.
func watchElsewhere(t *testing.T, open OpenDocuments) {
	a, b := two(t, open)
	var told atomic.Int64
	b.Watch(t.Context(), func() { told.Add(1) }, "devices")
	for range 5 {
		before := told.Load()
		commit(t, a, put("devices", "a", "v"))
		eventually(t, "b is told of what a committed", func() bool { return told.Load() > before })
	}
}

// leavesOthers closes one of two, which is nothing to the other.
func leavesOthers(t *testing.T, open OpenDocuments) {
	a, b := two(t, open)
	var told atomic.Int64
	b.Watch(t.Context(), func() { told.Add(1) }, "devices")
	commit(t, a, put("devices", "a", "v"))
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Commit(t.Context(), put("devices", "a", "never")); !errors.Is(err, store.ErrClosed) {
		t.Errorf("commit after close: %v, want ErrClosed", err)
	}
	before := told.Load()
	commit(t, b, put("devices", "b", "v"))
	wantValue(t, b, "devices", "a", "v")
	if told.Load() == before {
		t.Error("b is not told of what it commits itself")
	}
}
