package identity

import (
	"context"
	"testing"
	"time"

	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/pebble"
	"github.com/berth-iot/berth/store/storetest"
)

var (
	noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	ctx  = context.Background()
)

func newDocuments(t testing.TB) store.Documents {
	t.Helper()
	documents, err := pebble.Open(t.TempDir(), pebble.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := documents.Close(); err != nil {
			t.Error(err)
		}
	})
	return documents
}

func openRegistry(t testing.TB, documents store.Documents, reindex bool) *Registry {
	t.Helper()
	r, err := Open(ctx, Config{Documents: documents, Prefix: "hub/test/", Now: func() time.Time { return noon },
		Reindex: reindex})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func commit(t testing.TB, documents store.Documents, changes ...store.Change) {
	t.Helper()
	if _, err := documents.Commit(ctx, changes...); err != nil {
		t.Fatal(err)
	}
}

// create adds a device.
func create(t testing.TB, r *Registry, device Device) {
	t.Helper()
	if err := device.Complete(nil); err != nil {
		t.Fatal(err)
	}
	commit(t, r.documents, r.PrepareCreate(&device)...)
}

// prepareDelete prepares the end of a device.
func prepareDelete(t testing.TB, r *Registry, id, etag string) []store.Change {
	t.Helper()
	changes, _, err := r.PrepareDelete(ctx, id, etag)
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

func wantStatistics(t testing.TB, r *Registry, want Statistics) {
	t.Helper()
	if got, err := r.Statistics(ctx); err != nil || got != want {
		t.Errorf("counted %+v (%v), want %+v", got, err, want)
	}
}

func text(s string) *string { return &s }

func TestRoundTrip(t *testing.T) {
	storetest.RoundTrip[Device](t)
	storetest.RoundTrip[Module](t)
}
