package store

import (
	"context"
	"sync/atomic"
	"time"
)

// Cache keeps a value that is made of documents for as long as they stay as they are.
// Its methods may be called at once from many goroutines.
//
// A Get that begins after a Commit of this process has returned sees what it changed;
// what other processes change it sees as late as Documents.Watch tells of it.
type Cache[T any] struct {
	load    func(context.Context) (T, error)
	changes atomic.Uint64 // that Watch has told of, or Invalidate
	latest  atomic.Pointer[cached[T]]
	loading chan struct{} // held by the one who loads
}

type cached[T any] struct {
	value   T
	changes uint64 // that there had been when it began to be loaded
}

// NewCache returns a cache of what load makes of the documents of the collections, which
// it watches for as long as the documents are open. The value is shared by all who Get
// it, so nobody may change it.
func NewCache[T any](documents Documents, load func(context.Context) (T, error), collections ...string) *Cache[T] {
	c := &Cache[T]{load: load, loading: make(chan struct{}, 1)}
	documents.Watch(context.Background(), c.Invalidate, collections...)
	return c
}

// Invalidate has the value loaded again: something else has changed of what it is made of.
func (c *Cache[T]) Invalidate() { c.changes.Add(1) }

// Get returns the value, and loads it when something has changed. Its errors are those of
// load, and of the context; the next Get tries again.
func (c *Cache[T]) Get(ctx context.Context) (T, error) {
	changes := c.changes.Load()
	if latest := c.latest.Load(); latest != nil && latest.changes >= changes {
		return latest.value, nil
	}
	return c.loadOnce(ctx, changes)
}

// loadTimeout bounds how long GetOrFormer waits.
const loadTimeout = 5 * time.Second

// GetOrFormer is Get for those who can do with an older value, and wait for nobody longer
// than five seconds. With the error comes the value that was loaded last, or the zero T.
func (c *Cache[T]) GetOrFormer() (T, error) {
	changes, latest := c.changes.Load(), c.latest.Load()
	if latest != nil && latest.changes >= changes {
		return latest.value, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), loadTimeout)
	defer cancel()
	value, err := c.loadOnce(ctx, changes)
	if err != nil && latest != nil {
		return latest.value, err
	}
	return value, err
}

// loadOnce loads the value, unless another who is waited for has loaded all that had
// changed when the caller began.
func (c *Cache[T]) loadOnce(ctx context.Context, changes uint64) (value T, err error) {
	select {
	case c.loading <- struct{}{}:
		defer func() { <-c.loading }()
	case <-ctx.Done():
		return value, ctx.Err()
	}
	if latest := c.latest.Load(); latest != nil && latest.changes >= changes {
		return latest.value, nil
	}
	changes = c.changes.Load()
	if value, err = c.load(ctx); err == nil {
		c.latest.Store(&cached[T]{value, changes})
	}
	return value, err
}
