package identity

import (
	"errors"
	"slices"
	"testing"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// What is prepared is committed once: a change of a device that was changed meanwhile is
// a conflict, and the check that it is as it was fails.
func TestPrepareCreateAndUpdate(t *testing.T) {
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
		"deletion":  prepareDelete(t, r, "d", before.ETag),
		"creation":  r.PrepareCreate(&Device{DeviceID: "d", Status: Enabled, Authentication: before.Authentication}),
		"unchanged": {r.Unchanged(before.Principal())},
	} {
		if _, conflict := store.IsConflict(second(documents.Commit(ctx, late...))); !conflict {
			t.Errorf("%s of a device that was changed is no conflict", name)
		}
	}
	present, err := r.Get(ctx, "d")
	if err != nil || present.Status != Disabled {
		t.Fatalf("there is %+v, error %v", present, err)
	}
	commit(t, documents, r.Unchanged(present.Principal()))
	commit(t, documents, r.Present("d"))
	commit(t, documents, prepareDelete(t, r, "d", present.ETag)...)
	if _, err := r.Get(ctx, "d"); !errors.Is(err, fault.DeviceNotFound) {
		t.Errorf("a device that was deleted is answered %v", err)
	}
	wantStatistics(t, r, Statistics{})
}

func second[T any](_ T, err error) error { return err }

// TestList goes through all devices of a prefix, page by page, each once and in order.
func TestList(t *testing.T) {
	r := openRegistry(t, newDocuments(t), false)
	for _, id := range []string{"b-3", "a", "b-1", "b-2", "c"} {
		create(t, r, Device{DeviceID: id})
	}
	var found []string
	for after, pages := "", 0; ; pages++ {
		devices, next, err := r.List(ctx, "b-", after, 2)
		if err != nil || pages > 2 {
			t.Fatalf("page %d: %v", pages, err)
		}
		for _, device := range devices {
			found = append(found, device.DeviceID)
			if one, err := r.Get(ctx, device.DeviceID); err != nil || one.ETag != device.ETag || one.ETag == "" {
				t.Errorf("%s has the ETag %q in the list, and %q by itself, error %v", device.DeviceID, device.ETag,
					one.ETag, err)
			}
		}
		if after = next; next == "" {
			break
		}
	}
	if !slices.Equal(found, []string{"b-1", "b-2", "b-3"}) {
		t.Errorf("found are %q", found)
	}
	if n, err := r.Count(ctx); err != nil || n != 5 {
		t.Errorf("there are %d, error %v", n, err)
	}
}

// TestGenerations: a device is told from every earlier one of its id, though the clock
// stands.
func TestGenerations(t *testing.T) {
	r := openRegistry(t, newDocuments(t), false)
	before := ""
	for range 3 {
		create(t, r, Device{DeviceID: "d", Capabilities: Capabilities{IoTEdge: true}})
		device, err := r.Get(ctx, "d")
		if err != nil {
			t.Fatal(err)
		}
		if len(device.GenerationID) != 18 || device.GenerationID <= before ||
			device.DeviceScope != "ms-azure-iot-edge://d-"+device.GenerationID {
			t.Errorf("after %q the device has the generation %q and the scope %q", before, device.GenerationID,
				device.DeviceScope)
		}
		before = device.GenerationID
		commit(t, r.documents, prepareDelete(t, r, "d", device.ETag)...)
	}
}

// TestReplaceUnreadable puts a device in the place of one that can't be read, unless that
// was changed meanwhile, and counts it as what it is.
func TestReplaceUnreadable(t *testing.T) {
	documents := newDocuments(t)
	r := openRegistry(t, documents, false)
	for _, status := range []string{Enabled, Disabled} {
		create(t, r, Device{DeviceID: "d", Status: Disabled})
		commit(t, documents, store.Change{Collection: r.Collection(), Key: "d", Value: []byte(`{"deviceId":"d"}`)})
		damaged, err := r.Get(ctx, "d")
		if !store.IsUnreadable(err) || damaged.ETag == "" {
			t.Fatalf("a record that is none is %+v, error %v", damaged, err)
		}
		device := Device{DeviceID: "d", Status: status}
		if err := device.Complete(nil); err != nil {
			t.Fatal(err)
		}
		changes := r.PrepareReplace(&device, damaged.ETag)
		commit(t, documents, changes...)
		if _, conflict := store.IsConflict(second(documents.Commit(ctx, changes...))); !conflict {
			t.Error("it is replaced twice")
		}
		present, err := r.Get(ctx, "d")
		if err != nil || present.Status != status {
			t.Fatalf("in its place is %+v, error %v", present, err)
		}
		wantStatistics(t, r, listed(t, r))
		commit(t, documents, prepareDelete(t, r, "d", present.ETag)...)
	}
}

// TestGetRefuses ids that no device can have, before it looks for one.
func TestGetRefuses(t *testing.T) {
	r := openRegistry(t, newDocuments(t), false)
	for _, id := range []string{"", "a/b", "é"} {
		if _, err := r.Get(ctx, id); !errors.Is(err, fault.ArgumentInvalid) {
			t.Errorf("a device called %q is answered %v", id, err)
		}
	}
}

// TestDeleteUnderOtherETag: an ETag that is none of the hub's is that of no device.
func TestDeleteUnderOtherETag(t *testing.T) {
	r := openRegistry(t, newDocuments(t), false)
	create(t, r, Device{DeviceID: "d"})
	for _, etag := range []string{"", "not base64", "AAAA"} {
		if _, conflict := store.IsConflict(second(r.documents.Commit(ctx, prepareDelete(t, r, "d", etag)...))); !conflict {
			t.Errorf("a device is deleted under the ETag %q", etag)
		}
	}
}
