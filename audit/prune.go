package audit

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"

	"github.com/berth-iot/berth/store"
)

// The audit forgets what is old, and its oldest when it gets too large: a fleet of a
// million devices that is enrolled, changed and deleted one by one must not fill the disk.
const (
	mostEntries = 256 << 20 // bytes
	mostItems   = 128 << 20 // bytes, of the things of bulk operations
)

// bound is that of one collection.
type bound struct {
	most     int64        // bytes
	measured int64        // bytes that were there when they were last added up; -1 is never
	grown    atomic.Int64 // bytes that came since, about
}

func newBound(most int64) *bound { return &bound{most: most, measured: -1} }

// grew notes what a change will add.
func (l *Log) grew(change store.Change) {
	if b := l.bounds[change.Collection]; b != nil {
		b.grown.Add(int64(len(change.Key) + len(change.Value)))
	}
}

// Prune forgets what is older than 400 days, and the oldest of what is too much. One
// works at a time; others wait.
func (l *Log) Prune(ctx context.Context) error {
	if l == nil {
		return nil
	}
	l.pruning.Lock()
	defer l.pruning.Unlock()
	end := fmt.Sprintf("%016x", uint64(math.MaxInt64-l.now().Add(-keep).UnixNano()))
	for collection, bound := range l.bounds {
		if err := l.forget(ctx, collection, end); err != nil {
			return err
		}
		if bound.measured >= 0 && bound.measured+bound.grown.Load() <= bound.most {
			continue
		}
		if err := l.cut(ctx, collection, bound); err != nil {
			return err
		}
	}
	return nil
}

// cut adds up what a collection holds, and forgets its oldest if that is too much: down
// to seven eighths of the bound, so that it is not added up again soon.
func (l *Log) cut(ctx context.Context, collection string, bound *bound) error {
	bound.grown.Store(0)
	total, kept, end := int64(0), int64(0), ""
	for after := ""; ; {
		documents, err := l.documents.List(ctx, collection, "", after, pruneAtOnce)
		if err != nil {
			return err
		}
		for _, document := range documents {
			if total += int64(len(document.Key) + len(document.Value)); total <= bound.most/8*7 {
				kept, end = total, document.Key
			}
		}
		if len(documents) < pruneAtOnce {
			break
		}
		after = documents[len(documents)-1].Key
	}
	if total > bound.most {
		if err := l.forget(ctx, collection, end); err != nil {
			return err
		}
		total = kept
	}
	bound.measured = total
	return nil
}

// forget removes what comes after a key, but for records that are not the audit's: they
// are for an operator to look at.
func (l *Log) forget(ctx context.Context, collection, end string) error {
	for {
		documents, err := l.documents.List(ctx, collection, "", end, pruneAtOnce)
		if err != nil || len(documents) == 0 {
			return err
		}
		var changes []store.Change
		for _, document := range documents {
			if end = document.Key; momentOf(end) != 0 {
				changes = append(changes, store.Change{Collection: collection, Key: end, Delete: true})
			}
		}
		if len(changes) == 0 {
			continue
		}
		if _, err := l.documents.Commit(ctx, changes...); err != nil {
			return err
		}
	}
}
