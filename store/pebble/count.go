package pebble

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/berth-iot/berth/store"
)

// counts keeps the sizes of the collections that somebody has counted, so that
// all keys of a collection are read only the first time.
type counts struct {
	// Commits hold it for reading while they change documents: between the
	// beginning of a count and its snapshot there is no commit.
	mutex sync.RWMutex
	of    map[string]*count
}

// count is the size of one collection: what the scan found, and what was added
// and removed since its snapshot.
type count struct {
	once    sync.Mutex // held by the one that scans
	scanned atomic.Bool
	size    atomic.Int64
}

// watched returns the count of a collection, or nil when nobody counted it. The
// caller holds the mutex for reading.
func (c *counts) watched(collection string) *count { return c.of[collection] }

// Count implements store.Documents. It reads all keys of the collection the first
// time, and the commits keep the count afterwards.
func (d *Documents) Count(ctx context.Context, collection string) (int, error) {
	release, err := d.use(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	if !validName(collection, maxCollection) {
		return 0, nil // nothing can be there
	}
	d.counts.mutex.RLock()
	counted := d.counts.watched(collection)
	d.counts.mutex.RUnlock()
	if counted == nil || !counted.scanned.Load() {
		if counted, err = d.scan(ctx, collection); err != nil {
			return 0, err
		}
	}
	return int(counted.size.Load()), nil
}

// scan counts a collection by reading its keys, while commits go on.
func (d *Documents) scan(ctx context.Context, collection string) (*count, error) {
	d.counts.mutex.Lock()
	counted := d.counts.of[collection]
	if counted == nil {
		if d.counts.of == nil {
			d.counts.of = make(map[string]*count)
		}
		counted = new(count)
		d.counts.of[strings.Clone(collection)] = counted
	}
	d.counts.mutex.Unlock()

	counted.once.Lock()
	defer counted.once.Unlock()
	if counted.scanned.Load() {
		return counted, nil
	}
	d.counts.mutex.Lock()
	snapshot := d.db.NewSnapshot()
	counted.size.Store(0)
	d.counts.mutex.Unlock()
	defer snapshot.Close()
	n, err := countKeys(ctx, snapshot, collection)
	if err != nil {
		return nil, err
	}
	counted.size.Add(n)
	counted.scanned.Store(true)
	return counted, nil
}

func countKeys(ctx context.Context, snapshot *pebble.Snapshot, collection string) (n int64, err error) {
	lower := appendKey(nil, collection, "")
	iterator, err := snapshot.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: lower, UpperBound: successor(appendKey(nil, collection, ""))})
	if err != nil {
		return 0, fmt.Errorf("count %s: %w", collection, asLoss(err))
	}
	for more := iterator.First(); more; more = iterator.Next() {
		if n++; n%1024 == 0 && ctx.Err() != nil {
			break
		}
	}
	if err := iterator.Close(); err != nil {
		return 0, fmt.Errorf("count %s: %w", collection, asLoss(err))
	}
	return n, ctx.Err()
}

// difference is what a commit does to the counts of its collections.
type difference map[*count]int64

// of notes a change. present says whether the document was there.
func (d difference) of(counted *count, change store.Change, present bool) {
	switch {
	case change.Delete && present:
		d[counted]--
	case !change.Delete && !present:
		d[counted]++
	}
}

func (d difference) apply() {
	for counted, n := range d {
		counted.size.Add(n)
	}
}
