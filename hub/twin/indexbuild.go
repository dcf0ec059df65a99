package twin

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-iot/berth/store"
)

const (
	buildAtOnce  = 250 // twins
	deleteAtOnce = 500 // entries
)

// Build puts the twins of before into the indexes that are not ready, and deletes the
// entries of those that are gone. It goes on where it had ended, and returns when there is
// nothing more to do. One node of several calls it.
func (x *Indexes) Build(ctx context.Context) error {
	for {
		present, _, err := x.present(ctx)
		if err != nil {
			return err
		}
		switch unready := present.unready(); {
		case len(present.Dropped) > 0:
			err = x.drop(ctx, present.Dropped[0])
		case unready != nil:
			err = x.build(ctx, *unready)
		default:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (d definitions) unready() *definition {
	for i := range d.Indexes {
		if !d.Indexes[i].Ready {
			return &d.Indexes[i]
		}
	}
	return nil
}

// build puts twins into an index until all are in it, or it is gone. A twin that changes
// meanwhile is put into it by that change; what it had before may get an entry that is of
// no use.
func (x *Indexes) build(ctx context.Context, d definition) error {
	number := strconv.Itoa(d.Number)
	built, _, err := x.progress.Get(ctx, number)
	if err != nil && !errors.Is(err, store.ErrNotFound) && !store.IsUnreadable(err) {
		return err
	}
	for {
		twins, err := x.documents.List(ctx, x.twins, "", built.After, buildAtOnce)
		if err != nil {
			return err
		}
		known, check, err := x.load(ctx)
		if err != nil {
			return err
		}
		at := known.find(d.Path)
		if at < 0 || known.Indexes[at].Number != d.Number {
			return nil // it was deleted
		}
		changes := []store.Change{check}
		for _, twin := range twins {
			for _, key := range known.entriesOf(twin.Key, twin.Value) {
				if strings.HasPrefix(key, number+".") {
					changes = append(changes, x.entries.Put(key, store.Always, struct{}{}))
				}
			}
			built.After = twin.Key
		}
		built.Twins += len(twins)
		changes = append(changes, x.progress.Put(number, store.Always, built))
		if len(twins) < buildAtOnce {
			ready := known.definitions
			ready.Indexes = slices.Clone(ready.Indexes)
			ready.Indexes[at].Ready = true
			changes[0] = x.definitions.Put(definitionsKey, check.Match, ready)
			changes[len(changes)-1] = x.progress.Delete(number, store.Always)
		}
		switch _, err := x.documents.Commit(ctx, changes...); {
		case err == nil && len(twins) < buildAtOnce:
			return nil
		case err != nil:
			if _, conflict := store.IsConflict(err); !conflict {
				return err
			}
			return nil // the definitions are others now: Build looks at them
		}
	}
}

// drop deletes the entries of an index that is gone.
func (x *Indexes) drop(ctx context.Context, number int) error {
	prefix := strconv.Itoa(number) + "."
	for {
		entries, err := x.documents.List(ctx, x.entries.Collection, prefix, "", deleteAtOnce)
		if err != nil {
			return err
		}
		changes := []store.Change{x.progress.Delete(strconv.Itoa(number), store.Always)}
		for _, entry := range entries {
			changes = append(changes, x.entries.Delete(entry.Key, store.Always))
		}
		if _, err := x.documents.Commit(ctx, changes...); err != nil {
			return err
		}
		if len(entries) < deleteAtOnce {
			break
		}
	}
	_, err := store.RetryOnConflict(ctx, func() ([]string, error) {
		present, match, err := x.present(ctx)
		if err != nil {
			return nil, err
		}
		present.Dropped = slices.DeleteFunc(present.Dropped, func(n int) bool { return n == number })
		return x.documents.Commit(ctx, x.definitions.Put(definitionsKey, match, present))
	})
	return err
}
