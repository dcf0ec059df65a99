package twin

import (
	"context"
	"time"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// An Entry is one twin of a List: that of the identity with this id.
type Entry struct {
	ID string
	Document
}

// List returns at most limit twins, in the order of their ids, from after on, but for those
// that can't be read. It returns fewer only at the end.
func (t *Twins) List(ctx context.Context, after string, limit int) ([]Entry, error) {
	listed, err := t.table.List(ctx, "", after, limit)
	entries := make([]Entry, len(listed))
	for i, e := range listed {
		e.Value.etag = e.ETag
		entries[i] = Entry{e.Key, e.Value}
	}
	return entries, err
}

// PreparePatch returns what a twin becomes that a patch is merged into, and what is to be
// committed for it: a conflict means that the twin was changed since it was read. It returns
// fault 400004 for what breaks a limit.
func (t *Twins) PreparePatch(id string, d Document, patch Patch) (Document, []store.Change, error) {
	if err := d.apply(patch, false, t.now()); err != nil {
		return Document{}, nil, err
	}
	put, err := t.prepare(id, d)
	changes := []store.Change{put}
	if t.changed != nil {
		changes = append(changes, t.changed(Update{ID: id, Generation: d.Generation, Version: d.Version,
			Body: d.update(patch, nil)})...)
	}
	return d, changes, err
}

// Unchanged returns the check that a twin is as it was read.
func (t *Twins) Unchanged(id string, d Document) store.Change {
	return store.Change{Collection: t.table.Collection, Key: id, Match: store.IfMatch(d.etag), Check: true}
}

// prepare returns what is to be committed in the place of a twin as it was read.
func (t *Twins) prepare(id string, d Document) (store.Change, error) {
	put := t.table.Put(id, store.IfMatch(d.etag), d)
	if len(put.Value) > maxDocument { // only if a section was too large already, by the rules of an earlier version
		return store.Change{}, fault.New(fault.ArgumentInvalid,
			"The twin is too large: it takes %d bytes of JSON to store, and %d are allowed. "+
				"Delete properties of the section that is over its limit first", len(put.Value), maxDocument)
	}
	return put, nil
}

// CheckDesired says whether a patch of desired properties could be merged into a twin that
// has none. It returns fault 400004 for what breaks a limit.
func CheckDesired(patch document.Object) error {
	return new(Section).merge(limitsOfDesired, patch, true, time.Time{}, true)
}
