package portal

import (
	"context"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/telemetry"
	"github.com/berth-iot/berth/provisioning/attempts"
	"github.com/berth-iot/berth/provisioning/attest"
	"github.com/berth-iot/berth/store"
)

const (
	// lookShare bounds what looking costs: after a look that took a time, the next is no
	// sooner than so many times that later.
	lookShare = 20
	// lookAnyway is after how long a page is made anew though nothing has moved: it may
	// say how long something is still good for.
	lookAnyway = time.Minute
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

	turn   chan struct{} // held by who looks; guards what follows
	data   any
	number int // of loads
	read   *store.Reading
	moving any
	loaded time.Time
	took   time.Duration

	attempts *attempts.Search
	recent   *telemetry.Search
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
func (c *call) watchKey(name string) string {
	query := c.r.URL.Query()
	query.Del("live")
	reader := []string{name, string(c.session.Role), c.language.Tag, c.system()}
	return strings.Join(reader, " ") + " " + c.r.URL.EscapedPath() + "?" + query.Encode()
}

// look returns what a watch has to show and the number of its load. moving is what the
// page shows that is not in the documents; first is asked by who has just opened the
// page, and must not be shown less than the page has.
func (c *call) look(
	w *watch, first bool, moving func() any, load func() (any, error),
) (data any, number int, err error) {
	ctx := c.r.Context()
	select {
	case w.turn <- struct{}{}:
		defer func() { <-w.turn }()
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	now, moved := c.config.Now(), any(nil)
	if moving != nil {
		moved = moving()
	}
	if w.number > 0 && (!w.stale(now, moved) || !first && now.Sub(w.loaded).Abs() < w.pause()) {
		return w.data, w.number, nil
	}
	reading, read := store.NewReading(ctx)
	request, began := c.r, time.Now()
	c.r, c.watch = request.WithContext(reading), w
	defer func() { c.r, c.watch = request, nil }()
	loaded, err := load()
	if err != nil {
		return nil, 0, err
	}
	w.data, w.read, w.moving, w.loaded, w.took = loaded, read, moved, now, time.Since(began)
	w.number++
	return w.data, w.number, nil
}

// fading is what changes with time alone.
type fading interface{ Fades() bool }

// stale reports whether there may be something new to show.
func (w *watch) stale(now time.Time, moving any) bool {
	if page, ok := w.data.(fading); ok && page.Fades() {
		return true
	}
	return w.read.Stale() || !reflect.DeepEqual(w.moving, moving) || now.Sub(w.loaded).Abs() >= lookAnyway
}

// pause is how long nobody looks again, whoever else opens the page.
func (w *watch) pause() time.Duration {
	return max(lookAgain-lookAgain/10, lookShare*w.took)
}

// attempts returns attempts to register. A live page reads only those that are new.
func (c *call) attempts(ctx context.Context, filter attempts.Filter) ([]attest.Attempt, error) {
	if c.watch == nil {
		return c.config.Provisioning.Attempts().Find(ctx, filter)
	}
	if c.watch.attempts == nil {
		c.watch.attempts = c.config.Provisioning.Attempts().Search(filter)
	}
	return c.watch.attempts.Look(ctx)
}

// recent returns the newest messages of a device, likewise.
func (c *call) recent(ctx context.Context, h *hub.Hub, deviceID string, most int) ([]telemetry.Message, error) {
	if c.watch == nil {
		return h.Telemetry().Recent(ctx, deviceID, most)
	}
	if !c.watch.recent.Of(h.Telemetry(), deviceID) {
		c.watch.recent = h.Telemetry().Search(deviceID, most)
	}
	return c.watch.recent.Look(ctx)
}

// What pages show that is not in the documents.

// attemptsEnd moves with the attempts to register.
func (c *call) attemptsEnd() any { return c.config.Provisioning.Attempts().End() }

// traffic moves with what a hub's devices do.
func traffic(h *hub.Hub) func() any { return func() any { return h.Stats() } }

// someTime moves every ten seconds: for figures that nobody counts changes of.
func (c *call) someTime() any { return c.config.Now().Truncate(10 * time.Second) }

// links moves with the hubs, what links them and what their devices do.
func (c *call) links() any { return []any{c.config.Provisioning.HubLinks(), c.everything()} }

// everything moves with all that happens at the service and in its hubs.
func (c *call) everything() any {
	figures := []any{c.config.Provisioning.Attempts().End(), c.config.Provisioning.Tally()}
	for _, h := range c.config.Hubs.All() {
		figures = append(figures, h.Stats())
	}
	return figures
}
