package store

import (
	"context"
	"sync"
	"sync/atomic"
)

// Watched are Documents whose readers can ask later whether what they have read has
// changed since, without reading it again. It knows of the changes that are made
// through it: the embedded engine has no other writers. An engine that several nodes
// write to has to tell of theirs.
type Watched struct {
	Documents

	changes sync.Map // collection -> *atomic.Uint64
}

// Watch returns the documents with an account of what changes.
func Watch(documents Documents) *Watched { return &Watched{Documents: documents} }

// of returns the number of changes in a collection so far.
func (w *Watched) of(collection string) *atomic.Uint64 {
	if changes, ok := w.changes.Load(collection); ok {
		return changes.(*atomic.Uint64)
	}
	changes, _ := w.changes.LoadOrStore(collection, new(atomic.Uint64))
	return changes.(*atomic.Uint64)
}

// Get implements Documents.
func (w *Watched) Get(ctx context.Context, collection, key string) (Document, error) {
	w.note(ctx, collection)
	return w.Documents.Get(ctx, collection, key)
}

// List implements Documents.
func (w *Watched) List(ctx context.Context, collection, prefix, after string, limit int) ([]Document, error) {
	w.note(ctx, collection)
	return w.Documents.List(ctx, collection, prefix, after, limit)
}

// Count implements Documents.
func (w *Watched) Count(ctx context.Context, collections ...string) ([]int, error) {
	for _, collection := range collections {
		w.note(ctx, collection)
	}
	return w.Documents.Count(ctx, collections...)
}

// Commit implements Documents. What fails may have happened all the same, but for a
// condition that did not hold.
func (w *Watched) Commit(ctx context.Context, changes ...Change) ([]string, error) {
	etags, err := w.Documents.Commit(ctx, changes...)
	if _, conflict := IsConflict(err); !conflict {
		for _, change := range changes {
			if !change.Check {
				w.of(change.Collection).Add(1)
			}
		}
	}
	return etags, err
}

type readingKey struct{}

// Reading is what was read of Watched documents in one context.
type Reading struct {
	mutex sync.Mutex
	seen  map[*atomic.Uint64]uint64 // changes of the collections, as they were before they were read
}

// NewReading returns a context in which it is noted what is read.
func NewReading(ctx context.Context) (context.Context, *Reading) {
	reading := &Reading{seen: make(map[*atomic.Uint64]uint64)}
	return context.WithValue(ctx, readingKey{}, reading), reading
}

// note is called before a collection is read: a change in between counts as one after.
func (w *Watched) note(ctx context.Context, collection string) {
	reading, ok := ctx.Value(readingKey{}).(*Reading)
	if !ok {
		return
	}
	changes := w.of(collection)
	reading.mutex.Lock()
	defer reading.mutex.Unlock()
	if _, again := reading.seen[changes]; !again {
		reading.seen[changes] = changes.Load()
	}
}

// Stale reports whether anything has changed in the collections that were read.
func (r *Reading) Stale() bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for changes, before := range r.seen {
		if changes.Load() != before {
			return true
		}
	}
	return false
}

// Any reports whether anything was read that is watched.
func (r *Reading) Any() bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return len(r.seen) > 0
}
