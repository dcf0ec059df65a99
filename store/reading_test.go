package store_test

import (
	"context"
	"testing"

	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/memory"
	"github.com/berth-iot/berth/store/storetest"
)

// tracked returns what opens a store by the name of a folder, which stays empty.
func tracked() func(testing.TB, string) store.Documents {
	stores := make(map[string]*memory.Store)
	return func(_ testing.TB, dir string) store.Documents {
		if stores[dir] == nil {
			stores[dir] = memory.New()
		}
		return store.TrackReads(stores[dir].Open())
	}
}

// Documents of which it is noted what is read are documents like others.
func TestReadTracker(t *testing.T) { storetest.RunDocuments(t, tracked()) }

// A reading is stale when something has changed in a collection that was read, however
// it was read, and only then.
func TestReading(t *testing.T) {
	documents := store.TrackReads(memory.New().Open())
	t.Cleanup(func() { documents.Close() })
	commit := func(change store.Change) {
		documents.Commit(t.Context(), change) // a condition may not hold
	}
	commit(store.Change{Collection: "here", Key: "one", Value: []byte("1")})
	for how, read := range map[string]func(context.Context) error{
		"get":   func(ctx context.Context) error { _, err := documents.Get(ctx, "here", "one"); return err },
		"list":  func(ctx context.Context) error { _, err := documents.List(ctx, "here", "", "", 10); return err },
		"count": func(ctx context.Context) error { _, err := store.Count(ctx, documents, "here"); return err },
	} {
		for _, c := range []struct {
			name   string
			change store.Change
			stale  bool
		}{
			{"put", store.Change{Collection: "here", Key: "one", Value: []byte("2")}, true},
			{"put of another", store.Change{Collection: "here", Key: "two", Value: []byte("2")}, true},
			{"delete", store.Change{Collection: "here", Key: "two", Delete: true}, true},
			{"put elsewhere", store.Change{Collection: "there", Key: "one", Value: []byte("2")}, false},
			{"check", store.Change{Collection: "here", Key: "one", Match: store.Present, Check: true}, false},
			{"put that does not happen",
				store.Change{Collection: "here", Key: "one", Match: store.Absent, Value: []byte("3")}, false},
		} {
			ctx, reading := store.NewReading(t.Context())
			if err := read(ctx); err != nil {
				t.Fatal(err)
			}
			if reading.Stale() {
				t.Errorf("%s: stale before anything has changed", how)
			}
			if commit(c.change); reading.Stale() != c.stale {
				t.Errorf("%s, then %s: stale is %v, want %v", how, c.name, !c.stale, c.stale)
			}
		}
	}
}
