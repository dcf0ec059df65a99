package store

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Watchers are those who watch the documents of an engine: the part of Watch that is the
// same in every engine. The zero value has none.
type Watchers struct {
	mutex sync.Mutex // held by who replaces what follows

	// byCollection is read by every commit, so that it is replaced and never changed.
	byCollection atomic.Pointer[map[string][]*watcher]
}

type watcher struct{ changed func() }

// Watch is that of Documents.
func (w *Watchers) Watch(ctx context.Context, changed func(), collections ...string) {
	one := &watcher{changed}
	w.replace(func(byCollection map[string][]*watcher) {
		for _, collection := range collections {
			byCollection[collection] = append(slices.Clip(byCollection[collection]), one)
		}
	})
	context.AfterFunc(ctx, func() {
		w.replace(func(byCollection map[string][]*watcher) {
			for _, collection := range collections {
				left := slices.DeleteFunc(slices.Clone(byCollection[collection]),
					func(other *watcher) bool { return other == one })
				if byCollection[collection] = left; len(left) == 0 {
					delete(byCollection, collection)
				}
			}
		})
	})
}

func (w *Watchers) replace(edit func(byCollection map[string][]*watcher)) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	byCollection := make(map[string][]*watcher)
	if present := w.byCollection.Load(); present != nil {
		maps.Copy(byCollection, *present)
	}
	edit(byCollection)
	w.byCollection.Store(&byCollection)
}

// Notify calls those who watch the collections of a commit. An engine calls it when the
// changes can be read, and also when it does not know what became of them.
func (w *Watchers) Notify(changes []Change) {
	byCollection := w.byCollection.Load()
	if byCollection == nil {
		return
	}
	for _, change := range changes {
		if !change.Check {
			for _, watcher := range (*byCollection)[change.Collection] {
				watcher.changed()
			}
		}
	}
}
