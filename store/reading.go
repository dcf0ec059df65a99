package store

import (
	"context"
	"sync"
	"sync/atomic"
)

// ReadTracker is Documents whose readers can ask later whether what they have read has
// changed since, without reading it again.
type ReadTracker struct {
	Documents

	mutex   sync.Mutex // held by the one who adds a collection
	changes sync.Map   // collection -> *atomic.Uint64
}

// TrackReads returns the documents with an account of what is read of them in a context
// of NewReading.
func TrackReads(documents Documents) *ReadTracker { return &ReadTracker{Documents: documents} }

// changesOf returns the number of changes that a collection has had since somebody read it for
// the first time. It is watched from then on.
func (r *ReadTracker) changesOf(collection string) *atomic.Uint64 {
	if changes, ok := r.changes.Load(collection); ok {
		return changes.(*atomic.Uint64)
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if changes, ok := r.changes.Load(collection); ok {
		return changes.(*atomic.Uint64)
	}
	changes := new(atomic.Uint64)
	r.Documents.Watch(context.Background(), func() { changes.Add(1) }, collection)
	r.changes.Store(collection, changes) // only now: who finds it relies on the watch
	return changes
}

// Get implements Documents.
func (r *ReadTracker) Get(ctx context.Context, collection, key string) (Document, error) {
	r.track(ctx, collection)
	return r.Documents.Get(ctx, collection, key)
}

// List implements Documents.
func (r *ReadTracker) List(ctx context.Context, collection, prefix, after string, limit int) ([]Document, error) {
	r.track(ctx, collection)
	return r.Documents.List(ctx, collection, prefix, after, limit)
}

// Count implements Documents.
func (r *ReadTracker) Count(ctx context.Context, collections ...string) ([]int, error) {
	for _, collection := range collections {
		r.track(ctx, collection)
	}
	return r.Documents.Count(ctx, collections...)
}

type readingKey struct{}

// Reading is what was read of the documents of a ReadTracker in one context.
type Reading struct {
	mutex sync.Mutex
	seen  map[*atomic.Uint64]uint64 // changes of the collections, as they were before they were read
}

// NewReading returns a context in which it is noted what is read.
func NewReading(ctx context.Context) (context.Context, *Reading) {
	reading := &Reading{seen: make(map[*atomic.Uint64]uint64)}
	return context.WithValue(ctx, readingKey{}, reading), reading
}

// track is called before a collection is read: a change in between counts as one after.
func (r *ReadTracker) track(ctx context.Context, collection string) {
	reading, ok := ctx.Value(readingKey{}).(*Reading)
	if !ok {
		return
	}
	changes := r.changesOf(collection)
	reading.mutex.Lock()
	defer reading.mutex.Unlock()
	if _, again := reading.seen[changes]; !again {
		reading.seen[changes] = changes.Load()
	}
}

// Stale reports whether anything may have changed in the collections that were read.
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
