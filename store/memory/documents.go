// Package memory keeps documents and logs in the memory of this process, for as long as it
// runs: for tests, and for what is thrown away after a moment.
package memory

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/berth-iot/berth/store"
)

// Store is a place for documents and logs that several can open, as the nodes of one
// service open one database. What is in it goes with it.
type Store struct {
	mutex       sync.RWMutex
	collections map[string]*collection
	revision    uint64 // of the last change
	watchers    store.Watchers
	logs        map[string]*log
}

// collection is the documents of one collection.
type collection struct {
	keys      []string // in order
	documents map[string]stored
}

type stored struct {
	etag  string
	value []byte
}

// New returns an empty store.
func New() *Store {
	return &Store{collections: make(map[string]*collection), logs: make(map[string]*log)}
}

// Documents implements store.Documents on a Store. Commits see each other at once,
// through whichever Documents of the store they are made.
type Documents struct {
	store *Store
	life  context.Context // until Close
	end   context.CancelFunc
}

var _ store.Documents = (*Documents)(nil)

// Open returns the documents of the store, for its caller to close.
func (s *Store) Open() *Documents {
	life, end := context.WithCancel(context.Background())
	return &Documents{store: s, life: life, end: end}
}

// check returns why a call can't be made.
func (d *Documents) check(ctx context.Context) error {
	if d.life.Err() != nil {
		return store.ErrClosed
	}
	return ctx.Err()
}

// Close implements store.Documents. What is in the store stays there.
func (d *Documents) Close() error {
	d.store.mutex.Lock()
	defer d.store.mutex.Unlock()
	if d.life.Err() != nil {
		return store.ErrClosed
	}
	d.end()
	return nil
}

// Get implements store.Documents.
func (d *Documents) Get(ctx context.Context, collection, key string) (store.Document, error) {
	d.store.mutex.RLock()
	defer d.store.mutex.RUnlock()
	if err := d.check(ctx); err != nil {
		return store.Document{}, err
	}
	found, ok := d.store.find(collection, key)
	if !ok {
		return store.Document{}, store.ErrNotFound
	}
	return store.Document{Key: key, ETag: found.etag, Value: bytes.Clone(found.value)}, nil
}

// List implements store.Documents.
func (d *Documents) List(ctx context.Context, collection, prefix, after string, limit int) ([]store.Document, error) {
	if limit <= 0 {
		return nil, fmt.Errorf("a list of %s with limit %d: the limit must be positive", collection, limit)
	}
	d.store.mutex.RLock()
	defer d.store.mutex.RUnlock()
	if err := d.check(ctx); err != nil {
		return nil, err
	}
	listed := d.store.collections[collection]
	if listed == nil {
		return nil, nil
	}
	first, found := slices.BinarySearch(listed.keys, max(prefix, after))
	if found && after >= prefix {
		first++ // after itself is not wanted
	}
	var documents []store.Document
	for _, key := range listed.keys[first:] {
		if !strings.HasPrefix(key, prefix) || len(documents) == limit {
			break
		}
		one := listed.documents[key]
		documents = append(documents, store.Document{Key: key, ETag: one.etag, Value: bytes.Clone(one.value)})
	}
	return documents, nil
}

// Count implements store.Documents.
func (d *Documents) Count(ctx context.Context, collections ...string) ([]int, error) {
	d.store.mutex.RLock()
	defer d.store.mutex.RUnlock()
	if err := d.check(ctx); err != nil {
		return nil, err
	}
	sizes := make([]int, len(collections))
	for i, collection := range collections {
		if counted := d.store.collections[collection]; counted != nil {
			sizes[i] = len(counted.keys)
		}
	}
	return sizes, nil
}

// Commit implements store.Documents, but for the loss of power.
func (d *Documents) Commit(ctx context.Context, changes ...store.Change) ([]string, error) {
	if err := store.CheckChanges(changes); err != nil {
		return nil, err
	}
	etags, err := d.commit(ctx, changes)
	if err == nil {
		d.store.watchers.Notify(changes)
	}
	return etags, err
}

func (d *Documents) commit(ctx context.Context, changes []store.Change) ([]string, error) {
	d.store.mutex.Lock()
	defer d.store.mutex.Unlock()
	if err := d.check(ctx); err != nil {
		return nil, err
	}
	etags := make([]string, len(changes))
	for i, change := range changes {
		present, _ := d.store.find(change.Collection, change.Key)
		if !change.Match.Holds(present.etag) {
			return nil, &store.ConflictError{Index: i, Collection: change.Collection, Key: change.Key}
		}
		if change.Check {
			etags[i] = present.etag
		}
	}
	for i, change := range changes {
		switch {
		case change.Check:
		case change.Delete:
			d.store.delete(change.Collection, change.Key)
		default:
			etags[i] = d.store.put(change.Collection, change.Key, change.Value)
		}
	}
	return etags, nil
}

// Watch implements store.Documents. It ends with Close, too.
func (d *Documents) Watch(ctx context.Context, changed func(), collections ...string) {
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(d.life, cancel)
	d.store.watchers.Watch(ctx, changed, collections...)
}

// What follows is called with the mutex held.

func (s *Store) find(collection, key string) (stored, bool) {
	if c := s.collections[collection]; c != nil {
		found, ok := c.documents[key]
		return found, ok
	}
	return stored{}, false
}

func (s *Store) put(name, key string, value []byte) (etag string) {
	c := s.collections[name]
	if c == nil {
		c = &collection{documents: make(map[string]stored)}
		s.collections[name] = c
	}
	if _, ok := c.documents[key]; !ok {
		i, _ := slices.BinarySearch(c.keys, key)
		c.keys = slices.Insert(c.keys, i, key)
	}
	s.revision++
	etag = fmt.Sprintf("%016x", s.revision)
	c.documents[key] = stored{etag, bytes.Clone(value)}
	return etag
}

func (s *Store) delete(name, key string) {
	c := s.collections[name]
	if c == nil {
		return
	}
	if i, ok := slices.BinarySearch(c.keys, key); ok {
		c.keys = slices.Delete(c.keys, i, i+1)
		delete(c.documents, key)
	}
}
