package web

import (
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/berth-iot/berth/store"
)

const (
	// loadShare bounds what looking costs: after a look that took a time, the next is no
	// sooner than so many times that later.
	loadShare = 20
	// maxPageAge is after how long a page is made anew though nothing has moved: it may
	// say how long something is still good for.
	maxPageAge = time.Minute
)

// watches are the live pages that are open, each once, however many look at it.
type watches struct {
	mutex sync.Mutex
	open  map[string]*watch
}

// watch is what a live page shows, shared by all who have it open. It is loaded again
// only when something has moved of what it was loaded from.
type watch struct {
	key     string
	readers int // guarded by the mutex of watches

	turn     chan struct{} // held by who looks; guards what follows
	data     any
	number   int // of loads
	reading  *store.Reading
	revision any
	loaded   time.Time
	took     time.Duration

	kept map[any]any // by Keep
}

// join returns the watch of a page, the same for all who have it open.
func (w *watches) join(key string) *watch {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	shared, ok := w.open[key]
	if !ok {
		shared = &watch{key: key, turn: make(chan struct{}, 1)}
		w.open[key] = shared
	}
	shared.readers++
	return shared
}

func (w *watches) leave(shared *watch) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if shared.readers--; shared.readers == 0 {
		delete(w.open, shared.key)
	}
}

// watchKey is the same for two calls that load the same: the page, what of it was asked
// for, and by whom.
func (c *Call) watchKey(name string) string {
	query := c.Request.URL.Query()
	query.Del("live")
	reader := []string{name, string(c.session.Role), c.language.Tag, c.System()}
	return strings.Join(reader, " ") + " " + c.Request.URL.EscapedPath() + "?" + query.Encode()
}

// refresh returns what a watch has to show and the number of its load. revision is what the
// page shows that is not in the documents; first is asked by who has just opened the
// page, and must not be shown less than the page has.
func (c *Call) refresh(
	w *watch, first bool, revision func() any, load func() (any, error),
) (data any, number int, err error) {
	ctx := c.Context()
	select {
	case w.turn <- struct{}{}:
		defer func() { <-w.turn }()
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	now, moved := c.Now(), any(nil)
	if revision != nil {
		moved = revision()
	}
	if w.number > 0 && (!w.stale(now, moved) || !first && now.Sub(w.loaded).Abs() < w.pause()) {
		return w.data, w.number, nil
	}
	tracked, reading := store.NewReading(ctx)
	request, began := c.Request, time.Now()
	c.Request, c.watch = request.WithContext(tracked), w
	defer func() { c.Request, c.watch = request, nil }()
	loaded, err := load()
	if err != nil {
		return nil, 0, err
	}
	w.data, w.reading, w.revision, w.loaded, w.took = loaded, reading, moved, now, time.Since(began)
	w.number++
	return w.data, w.number, nil
}

// fading is what changes with time alone.
type fading interface{ Fades() bool }

// stale reports whether there may be something new to show.
func (w *watch) stale(now time.Time, revision any) bool {
	if page, ok := w.data.(fading); ok && page.Fades() {
		return true
	}
	return w.reading.Stale() || !reflect.DeepEqual(w.revision, revision) || now.Sub(w.loaded).Abs() >= maxPageAge
}

// pause is how long nobody looks again, whoever else opens the page.
func (w *watch) pause() time.Duration {
	return max(checkInterval-checkInterval/10, loadShare*w.took)
}

// Keep returns what a live page keeps under a key from one load to the next, which is
// made at first: such as a search that goes on where it came to. live is false, and
// nothing kept, when the page is loaded for one answer only.
func Keep[T any](c *Call, key any, create func() T) (kept T, live bool) {
	if c.watch == nil {
		return kept, false
	}
	kept, ok := c.watch.kept[key].(T)
	if !ok {
		kept = create()
		if c.watch.kept == nil {
			c.watch.kept = make(map[any]any)
		}
		c.watch.kept[key] = kept
	}
	return kept, true
}
