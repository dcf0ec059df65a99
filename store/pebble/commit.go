package pebble

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/berth-iot/berth/store"
)

// Commit implements store.Documents.
func (d *Documents) Commit(ctx context.Context, changes ...store.Change) ([]string, error) {
	if err := store.CheckChanges(changes); err != nil {
		return nil, err
	}
	keys := make([][]byte, len(changes))
	for i, change := range changes {
		keys[i] = appendKey(nil, change.Collection, change.Key)
	}
	if full := d.disk.options.Full; full != nil {
		if err := full(); err != nil {
			return nil, err
		}
	}
	release, err := d.use(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	unlock := d.locks.lock(keys, changes)
	defer unlock()
	d.counts.mutex.RLock()
	defer d.counts.mutex.RUnlock()

	batch := d.db.NewBatch()
	defer batch.Close()
	etags := make([]string, len(changes))
	var sizes difference
	for i, change := range changes {
		counted := d.counts.watched(change.Collection)
		if change.Match != store.Always || change.Check || counted != nil {
			present, err := d.etag(keys[i])
			if err != nil {
				return nil, err
			}
			if !change.Match.Holds(present) {
				return nil, &store.ConflictError{Index: i, Collection: change.Collection, Key: change.Key}
			}
			if change.Check {
				etags[i] = present
				continue
			}
			if counted != nil {
				if sizes == nil {
					sizes = make(difference)
				}
				sizes.add(counted, change, present != "")
			}
		}
		if change.Delete {
			err = batch.Delete(keys[i], nil)
		} else {
			etags[i], err = d.put(batch, keys[i], change.Value)
		}
		if err != nil {
			return nil, fmt.Errorf("change %s %q: %w", change.Collection, change.Key, err)
		}
	}
	if batch.Empty() {
		return etags, nil
	}
	// The locks are held until the batch is durable; other keys share the sync.
	err = d.counts.commit(d.db, batch, sizes)
	d.watchers.Notify(changes)
	if err != nil {
		return nil, fmt.Errorf("commit %d changes: %w", len(changes), err)
	}
	return etags, nil
}

// put writes value to the batch with a new revision, straight into the batch's
// own memory.
func (d *Documents) put(batch *pebble.Batch, key, value []byte) (etag string, err error) {
	op := batch.SetDeferred(len(key), revisionSize+len(value))
	copy(op.Key, key)
	revision := d.appendRevision(op.Value[:0])
	copy(op.Value[revisionSize:], value)
	return hex.EncodeToString(revision), op.Finish()
}

// etag returns the ETag of what the key holds, or "" when it holds nothing.
func (d *Documents) etag(key []byte) (string, error) {
	stored, closer, err := d.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read %q: %w", key, asLoss(err))
	}
	etag, _, err := split(stored)
	return etag, errors.Join(err, closer.Close())
}

// stripes are locks on keys. There are enough that two keys seldom share one.
type stripes [4096]sync.RWMutex

var seed = maphash.MakeSeed()

// lock locks the keys of changes. Those that are only checked are shared with other
// commits that check them. It takes the locks in one order, so two commits never wait
// for each other.
func (s *stripes) lock(keys [][]byte, changes []store.Change) (unlock func()) {
	type taken struct {
		stripe int
		shared bool
	}
	locks := make([]taken, len(keys))
	for i, key := range keys {
		locks[i] = taken{int(maphash.Bytes(seed, key) % uint64(len(s))), changes[i].Check}
	}
	slices.SortFunc(locks, func(a, b taken) int {
		if a.stripe == b.stripe && a.shared != b.shared { // the one that is not shared counts
			if b.shared {
				return -1
			}
			return 1
		}
		return a.stripe - b.stripe
	})
	locks = slices.CompactFunc(locks, func(a, b taken) bool { return a.stripe == b.stripe })
	for _, l := range locks {
		if l.shared {
			s[l.stripe].RLock()
		} else {
			s[l.stripe].Lock()
		}
	}
	return func() {
		for _, l := range locks {
			if l.shared {
				s[l.stripe].RUnlock()
			} else {
				s[l.stripe].Unlock()
			}
		}
	}
}
