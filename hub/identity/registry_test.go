package identity

import (
	"errors"
	"testing"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// What is prepared is committed once: a change of a device that was changed meanwhile is
// a conflict, and the check that it is as it was fails.
func TestPrepared(t *testing.T) {
	documents := newDocuments(t)
	r := openRegistry(t, documents, false)
	create(t, r, Device{DeviceID: "d"})
	before, err := r.Get(ctx, "d")
	if err != nil {
		t.Fatal(err)
	}
	changed := before
	changed.Status = Disabled
	changes, after := r.PrepareUpdate(before, changed)
	if after.GenerationID != before.GenerationID || !after.StatusUpdatedTime.Equal(noon) {
		t.Errorf("%+v becomes %+v", before, after)
	}
	commit(t, documents, changes...)
	for name, late := range map[string][]store.Change{
		"update":    changes,
		"deletion":  r.PrepareDelete("d", before.ETag),
		"creation":  r.PrepareCreate(&Device{DeviceID: "d", Status: Enabled, Authentication: before.Authentication}),
		"unchanged": {r.Unchanged(before)},
	} {
		if _, conflict := store.IsConflict(second(documents.Commit(ctx, late...))); !conflict {
			t.Errorf("%s of a device that was changed is no conflict", name)
		}
	}
	present, err := r.Get(ctx, "d")
	if err != nil || present.Status != Disabled {
		t.Fatalf("there is %+v, error %v", present, err)
	}
	commit(t, documents, r.Unchanged(present))
	commit(t, documents, r.Present("d"))
	commit(t, documents, r.PrepareDelete("d", present.ETag)...)
	if _, err := r.Get(ctx, "d"); !errors.Is(err, fault.DeviceNotFound) {
		t.Errorf("a device that was deleted is answered %v", err)
	}
	wantStatistics(t, r, Statistics{})
}

func second[T any](_ T, err error) error { return err }
