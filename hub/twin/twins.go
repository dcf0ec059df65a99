package twin

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/store"
)

// Config says where twins are kept.
type Config struct {
	Documents store.Documents
	Prefix    string // what the names of the collections begin with, such as hub/berth/
	Now       func() time.Time

	// Changed returns what is to be committed with a change of a twin. It may be nil.
	Changed func(Update) []store.Change
}

// Twins keeps the twins of a hub's devices. Its methods may be called at once from many
// goroutines.
type Twins struct {
	documents store.Documents
	table     store.Table[Document]
	now       func() time.Time
	changed   func(Update) []store.Change
	updates   atomic.Uint64
}

// Open returns the twins on their documents.
func Open(config Config) *Twins {
	return &Twins{documents: config.Documents, table: store.NewTable[Document](config.Documents, config.Prefix+"twins"),
		now: config.Now, changed: config.Changed}
}

// Collection is that of the twins, as an Inspector knows it.
func (t *Twins) Collection() string { return t.table.Collection }

// Updates returns how often tags, desired and reported properties were changed since Open.
func (t *Twins) Updates() uint64 { return t.updates.Load() }

// Get returns a twin as it is stored. It returns fault 404001 when there is none.
func (t *Twins) Get(ctx context.Context, id string) (Document, error) {
	stored, etag, err := t.table.Get(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return Document{}, identity.NotFound(id)
	}
	stored.etag = etag
	return stored, err
}

// Decode returns the twin in a document of the Collection.
func (t *Twins) Decode(stored store.Document) (Document, error) {
	d, err := t.table.Decode(stored)
	d.etag = stored.ETag
	return d, err
}

// PrepareCreate returns what is to be committed with a new identity of this generation.
func (t *Twins) PrepareCreate(id, generation string, d Document) store.Change {
	d.Generation = generation
	return t.table.Put(id, store.Absent, d)
}

// PrepareReplace returns what is to be committed with an identity of this generation that
// takes the place of one that can't be read. With keep the twin that is there stays if it
// can be read.
func (t *Twins) PrepareReplace(ctx context.Context, id, generation string, d Document, keep bool) store.Change {
	match := store.Always
	if keep {
		if kept, err := t.Get(ctx, id); err == nil {
			d, match = kept, store.IfMatch(kept.etag)
		}
	}
	d.Generation = generation
	return t.table.Put(id, match, d)
}

// PrepareEmpty returns what is to be committed so that a twin that is there is empty.
func (t *Twins) PrepareEmpty(id string) store.Change {
	return t.table.Put(id, store.Present, newDocument(t.now()))
}

// PrepareDelete returns what is to be committed with the end of an identity.
func (t *Twins) PrepareDelete(id string) store.Change { return t.table.Delete(id, store.Always) }

// Patch merges a patch of tags and desired properties into a twin, or puts it in their
// place, under the condition ifMatch: "", "*" or the twin's ETag. It returns the faults
// 404001, 412001, and 400004 for what breaks a limit. What others want committed as well is
// in with, as store.CommitWith takes it.
func (t *Twins) Patch(
	ctx context.Context, id string, patch Patch, ifMatch string, replace bool, with ...store.Change,
) (Document, error) {
	return t.countUpdate(t.update(ctx, id, replace, func(d *Document) (body, error) {
		if err := fault.Precondition("twin", ifMatch, d.publicETag()); err != nil {
			return nil, err
		}
		if replace {
			return func() []byte { return d.Whole(id) }, d.apply(patch, replace, t.now())
		}
		return func() []byte { return d.update(patch, nil) }, d.apply(patch, replace, t.now())
	}, with...))
}

// Owner is the device that a twin is asked for by. A twin of another generation is not its
// own.
type Owner struct {
	DeviceID, Generation string
}

// ForDevice returns what a device sees of its twin:
// {"desired":{…,"$version":n},"reported":{…,"$version":n}}. It returns fault 404001 when
// the device has none.
func (t *Twins) ForDevice(ctx context.Context, owner Owner) (json.RawMessage, error) {
	stored, err := t.Get(ctx, owner.DeviceID)
	if err == nil {
		err = stored.checkOwner(owner)
	}
	if err != nil {
		return nil, err
	}
	return stored.forDevice(), nil
}

// Report merges a patch (null deletes) into the reported properties of a device, if they
// have the version that is asked for, and returns their new version. check is asked
// whether the device may still report, each time before that is tried. It returns the
// faults 404001, 412001, and 400004 for what breaks a limit.
func (t *Twins) Report(
	ctx context.Context, owner Owner, patch []byte, ifVersion *int64, check func() error,
) (int64, error) {
	parsed, err := readObject(limitsOfReported.name, patch)
	if err != nil {
		return 0, err
	}
	changed, err := t.countUpdate(t.update(ctx, owner.DeviceID, false, func(d *Document) (body, error) {
		if err := check(); err != nil {
			return nil, err
		}
		if err := d.checkOwner(owner); err != nil {
			return nil, err
		}
		if ifVersion != nil && *ifVersion != d.Reported.Version {
			return nil, fault.New(fault.PreconditionFailed,
				"The reported properties have the version %d, and $version asks for %d. Get the twin and report again",
				d.Reported.Version, *ifVersion)
		}
		d.Generation, d.Revision = owner.Generation, d.revision()
		d.Version++
		return func() []byte { return d.update(Patch{}, &parsed) },
			d.Reported.merge(limitsOfReported, parsed, false, t.now(), false)
	}))
	return changed.Reported.Version, err
}

var errSameModel = errors.New("the twin has this model id already")

// SetModel keeps the model id of IoT Plug and Play that a device announces when it
// connects (Azure, concepts-developer-guide-device); "" takes the model away. A twin that
// can't be read stays as it is. It returns fault 404001.
func (t *Twins) SetModel(ctx context.Context, owner Owner, modelID string) error {
	_, err := t.update(ctx, owner.DeviceID, false, func(d *Document) (body, error) {
		if err := d.checkOwner(owner); err != nil {
			return nil, err
		}
		if d.ModelID == modelID {
			return nil, errSameModel
		}
		d.Generation, d.ModelID, d.Revision = owner.Generation, modelID, d.revision()
		d.Version++
		return nil, nil
	})
	if errors.Is(err, errSameModel) || store.IsUnreadable(err) {
		return nil
	}
	return err
}

// countUpdate counts an update that was made.
func (t *Twins) countUpdate(changed Document, err error) (Document, error) {
	if err == nil {
		t.updates.Add(1)
	}
	return changed, err
}

// body makes what Update.Body is once the change is made; nil of one that is not told.
type body func() []byte

// update changes a twin by compare-and-swap. With replace, one that can't be read is taken
// for an empty one.
func (t *Twins) update(
	ctx context.Context, id string, replace bool, change func(*Document) (body, error), with ...store.Change,
) (Document, error) {
	return store.RetryOnConflict(ctx, func() (Document, error) {
		stored, err := t.Get(ctx, id)
		if replace && store.IsUnreadable(err) {
			etag := stored.etag
			stored, err = newDocument(t.now()), nil
			stored.etag = etag
		}
		if err != nil {
			return Document{}, err
		}
		revision, reported := stored.revision(), stored.Reported.Version
		told, err := change(&stored)
		if err != nil {
			return Document{}, err
		}
		put, err := t.prepare(id, stored)
		if err != nil {
			return Document{}, err
		}
		changes := []store.Change{put}
		if t.changed != nil {
			update := Update{ID: id, Generation: stored.Generation, Version: stored.Version, Replaced: replace,
				Written: stored.revision() != revision, Reported: stored.Reported.Version != reported}
			if told != nil {
				update.Body = told()
			}
			changes = append(changes, t.changed(update)...)
		}
		etags, err := store.CommitWith(ctx, t.documents, with, changes...)
		if err != nil {
			return Document{}, err
		}
		stored.etag = etags[0]
		return stored, nil
	})
}
