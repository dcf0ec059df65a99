package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/berth-iot/berth/store"
)

// counts keeps the sizes of the collections that somebody has counted. A size is
// written in the batch of the commit that changes it, so a collection is read through
// only once: when it is counted for the first time ever.
type counts struct {
	// Commits hold it for reading while they change documents: between the
	// beginning of a count and its snapshot there is no commit.
	mutex sync.RWMutex
	of    map[string]*count

	// order is held while a batch that changes sizes takes its place in the write-ahead
	// log: the size that is written last is the latest. The sync is waited for without it,
	// and shared with others.
	order sync.Mutex
}

// count is the size of one collection: what the scan found, and what was added
// and removed since its snapshot.
type count struct {
	key     []byte     // where the size is written
	once    sync.Mutex // held by the one that scans
	scanned atomic.Bool
	size    int64 // under counts.order
}

// The keys of sizes lie in no collection, since they start with a zero byte.
const (
	countPrefix    = "\x00count\x00"
	countPrefixEnd = "\x00count\x01"
)

// countEpochKey holds the epoch of the last Open that kept the sizes. Another one than
// that of the documents means that a program has changed them that keeps no sizes.
var countEpochKey = []byte("\x00counted")

func newCount(collection string) *count { return &count{key: []byte(countPrefix + collection)} }

// watched returns the count of a collection, or nil when nobody counted it. The
// caller holds the mutex for reading.
func (c *counts) watched(collection string) *count { return c.of[collection] }

// Count implements store.Documents.
func (d *Documents) Count(ctx context.Context, collections ...string) ([]int, error) {
	release, err := d.use(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	counted := make([]*count, len(collections))
	for i, collection := range collections {
		if !store.ValidCollection(collection) {
			continue // nothing can be there
		}
		d.counts.mutex.RLock()
		counted[i] = d.counts.watched(collection)
		d.counts.mutex.RUnlock()
		if counted[i] == nil || !counted[i].scanned.Load() {
			if counted[i], err = d.scan(ctx, collection); err != nil {
				return nil, err
			}
		}
	}
	sizes := make([]int, len(collections))
	d.counts.order.Lock()
	defer d.counts.order.Unlock()
	for i, one := range counted {
		if one != nil {
			sizes[i] = int(one.size)
		}
	}
	return sizes, nil
}

// scan counts a collection by reading its keys, while commits go on.
func (d *Documents) scan(ctx context.Context, collection string) (*count, error) {
	d.counts.mutex.Lock()
	counted := d.counts.of[collection]
	if counted == nil {
		counted = newCount(collection)
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
	d.counts.order.Lock()
	counted.size = 0
	d.counts.order.Unlock()
	d.counts.mutex.Unlock()
	defer snapshot.Close()
	n, err := countKeys(ctx, snapshot, collection)
	if err != nil {
		return nil, err
	}
	d.counts.order.Lock()
	defer d.counts.order.Unlock()
	// No sync: a crash that loses the size loses no commit, and the next count scans again.
	if err := d.db.Set(counted.key, encodeCount(counted.size+n), pebble.NoSync); err != nil {
		return nil, fmt.Errorf("keep the count of %s: %w", collection, err)
	}
	counted.size += n
	counted.scanned.Store(true)
	return counted, nil
}

func countKeys(ctx context.Context, snapshot *pebble.Snapshot, collection string) (n int64, err error) {
	lower := appendKey(nil, collection, "")
	upper := successor(appendKey(nil, collection, ""))
	iterator, err := snapshot.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: lower, UpperBound: upper})
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

// commit makes a batch durable, and with it the sizes that the collections have then.
func (c *counts) commit(db *pebble.DB, batch *pebble.Batch, changed difference) error {
	if len(changed) == 0 {
		return batch.Commit(pebble.Sync)
	}
	if err := c.enqueue(db, batch, changed); err != nil {
		return err
	}
	return batch.SyncWait()
}

// enqueue writes a batch and does not wait for the sync.
func (c *counts) enqueue(db *pebble.DB, batch *pebble.Batch, changed difference) error {
	c.order.Lock()
	defer c.order.Unlock()
	for counted, n := range changed {
		if !counted.scanned.Load() {
			continue // the scan writes what it finds, with what was changed meanwhile
		}
		if err := batch.Set(counted.key, encodeCount(counted.size+n), nil); err != nil {
			return err
		}
	}
	if err := db.ApplyNoSyncWait(batch, pebble.Sync); err != nil {
		return err
	}
	for counted, n := range changed {
		counted.size += n
	}
	return nil
}

// difference is what a commit does to the counts of its collections; no entry is zero.
type difference map[*count]int64

// add counts a change. present says whether the document was there.
func (d difference) add(counted *count, change store.Change, present bool) {
	switch {
	case change.Delete && present:
		d[counted]--
	case !change.Delete && !present:
		d[counted]++
	}
	if d[counted] == 0 {
		delete(d, counted)
	}
}

// openCounts begins to keep sizes, in the batch that begins the epoch. Those of before
// are good if the last Open kept them as well.
func (d *Documents) openCounts(batch *pebble.Batch, last, now []byte) error {
	d.counts.of = make(map[string]*count)
	kept, err := d.stored(countEpochKey)
	if err != nil {
		return fmt.Errorf("read the epoch of the counts: %w", err)
	}
	if err := batch.Set(countEpochKey, now, nil); err != nil {
		return err
	}
	if kept == nil || string(kept) != string(last) {
		d.stale = last != nil
		return batch.DeleteRange([]byte(countPrefix), []byte(countPrefixEnd), nil)
	}
	iterator, err := d.db.NewIter(&pebble.IterOptions{
		LowerBound: []byte(countPrefix),
		UpperBound: []byte(countPrefixEnd),
	})
	if err != nil {
		return fmt.Errorf("read the counts: %w", asLoss(err))
	}
	for more := iterator.First(); more; more = iterator.Next() {
		collection := string(iterator.Key()[len(countPrefix):])
		size, err := decodeCount(iterator.Value())
		if err != nil {
			continue // is counted again
		}
		counted := newCount(collection)
		counted.size = size
		counted.scanned.Store(true)
		d.counts.of[collection] = counted
	}
	if err := iterator.Close(); err != nil {
		return fmt.Errorf("read the counts: %w", asLoss(err))
	}
	return nil
}

// Stale reports whether the documents were changed since the last Open by a program that
// keeps no counts: an earlier version, which keeps up nothing that came later either.
func (d *Documents) Stale() bool { return d.stale }

func encodeCount(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

func decodeCount(stored []byte) (int64, error) {
	if len(stored) != 8 {
		return 0, fmt.Errorf("a count is damaged: %x", stored)
	}
	return int64(binary.BigEndian.Uint64(stored)), nil
}

// countCheck holds the sizes that were kept against what is read in the order of the
// keys, which begin with those of the counts.
type countCheck struct {
	kept               map[string]int64
	epoch, countsEpoch []byte
	collection         string // that is being read
	seen               map[string]int64
}

// see takes the next key and value.
func (c *countCheck) see(key, value []byte) {
	end := bytes.IndexByte(key, 0)
	switch collection, isCount := bytes.CutPrefix(key, []byte(countPrefix)); {
	case isCount:
		n, err := decodeCount(value)
		if err != nil {
			n = -1 // no number of documents
		}
		c.kept[string(collection)] = n
	case bytes.Equal(key, countEpochKey):
		c.countsEpoch = bytes.Clone(value)
	case bytes.Equal(key, epochKey):
		c.epoch = bytes.Clone(value)
	case end > 0:
		if c.collection != string(key[:end]) {
			c.collection = string(key[:end])
		}
		c.seen[c.collection]++
	}
}

// errCounts says that counts are not those of the documents.
var errCounts = errors.New("the counts of the documents are wrong")

// wrong returns which sizes are not those of the collections. What a program has left
// that keeps none is counted anew at the next start.
func (c *countCheck) wrong() error {
	if string(c.epoch) != string(c.countsEpoch) {
		return nil
	}
	var wrong []error
	for collection, n := range c.kept {
		if n != c.seen[collection] {
			wrong = append(wrong,
				fmt.Errorf("%s has %d documents, and %d were counted", collection, c.seen[collection], n))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return &store.LossError{Of: "documents", Err: fmt.Errorf("%w: %w", errCounts, errors.Join(wrong...))}
}
