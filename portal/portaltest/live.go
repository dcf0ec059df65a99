package portaltest

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// eventTimeout is how long a test waits for what a live page sends, however slow the
// machine is.
const eventTimeout = 20 * time.Second

// Ticks are the tickers of the live pages that are open.
type Ticks struct {
	mutex sync.Mutex
	open  map[*ticker]bool
}

// ticker is that of one page.
type ticker struct {
	ticks   chan time.Time
	stopped chan struct{} // closed when the page has gone
}

// New is a ticker whose ticks come when the test says so.
func (k *Ticks) New(time.Duration) (tick <-chan time.Time, stop func()) {
	one := &ticker{make(chan time.Time), make(chan struct{})}
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if k.open == nil {
		k.open = make(map[*ticker]bool)
	}
	k.open[one] = true
	return one.ticks, func() {
		k.mutex.Lock()
		defer k.mutex.Unlock()
		delete(k.open, one)
		close(one.stopped)
	}
}

// all are the tickers of the pages that are open now.
func (k *Ticks) all() []*ticker {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	return slices.Collect(maps.Keys(k.open))
}

// Later lets some time pass, and all live pages look for changes.
func (f *Fixture) Later(d time.Duration) {
	f.T.Helper()
	f.Advance(d)
	// A page that takes the second tick has done what the first one made it do.
	for range 2 {
		for _, one := range f.Ticks.all() {
			select {
			case one.ticks <- f.Now():
			case <-one.stopped: // its browser left a moment ago
			case <-time.After(eventTimeout):
				f.T.Fatal("a live page does not look")
			}
		}
	}
}

// Tab is a live page, or another stream of events, that a browser has open.
type Tab struct {
	Path   string
	Events chan string
	Close  func()

	fixture *Fixture
	ended   chan struct{}
}

// Open opens the live part of a page, and waits for its first state.
func (b *Browser) Open(path string) *Tab {
	b.T.Helper()
	separator := "?"
	if strings.Contains(path, "?") {
		separator = "&"
	}
	t := b.Stream(path + separator + "live=1")
	t.Path = path
	t.Next()
	return t
}

// Stream opens a stream of events. It does not wait for an answer, which comes with the
// first event.
func (b *Browser) Stream(path string) *Tab {
	b.T.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	request := b.NewRequest(http.MethodGet, path, nil).WithContext(ctx)
	t := &Tab{Path: path, Events: make(chan string, 1000), fixture: b.Fixture, ended: make(chan struct{})}
	go func() {
		defer close(t.ended)
		if err := t.read(b.Client, request); err != nil && ctx.Err() == nil {
			b.T.Errorf("%s: %v", path, err)
		}
	}()
	t.Close = sync.OnceFunc(func() { cancel(); <-t.ended })
	b.T.Cleanup(t.Close)
	return t
}

// read takes events until the stream ends.
func (t *Tab) read(client *http.Client, request *http.Request) error {
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
		return fmt.Errorf("it is answered %s", response.Status)
	}
	var event strings.Builder
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if lines.Text() == "" {
			select {
			case t.Events <- event.String():
			case <-request.Context().Done():
				return nil // the tab is closed, and nobody reads
			}
			event.Reset()
			continue
		}
		event.WriteString(lines.Text() + "\n")
	}
	return nil
}

// Next returns the next event.
func (t *Tab) Next() string {
	t.fixture.T.Helper()
	return t.next(time.After(eventTimeout), nil)
}

// Poll has all live pages look for changes until this one has an event, and returns it.
func (t *Tab) Poll() string {
	t.fixture.T.Helper()
	return t.next(time.After(eventTimeout), func() { t.fixture.Later(0) })
}

// next waits for an event, and calls meanwhile again and again unless it is nil.
func (t *Tab) next(timeout <-chan time.Time, meanwhile func()) string {
	t.fixture.T.Helper()
	for {
		var pause <-chan time.Time
		if meanwhile != nil {
			pause = time.After(time.Millisecond)
		}
		select {
		case event := <-t.Events:
			return event
		case <-pause:
			meanwhile()
		case <-t.ended:
			select {
			case event := <-t.Events:
				return event
			default:
				t.fixture.T.Fatalf("%s: the stream has ended", t.Path)
			}
		case <-timeout:
			t.fixture.T.Fatalf("%s: no event came", t.Path)
		}
	}
}
