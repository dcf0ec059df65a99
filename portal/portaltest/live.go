package portaltest

import (
	"bufio"
	"context"
	"net/http"
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
	open  map[chan time.Time]bool
}

// New is a ticker whose ticks come when the test says so.
func (k *Ticks) New(time.Duration) (tick <-chan time.Time, stop func()) {
	ticker := make(chan time.Time)
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if k.open == nil {
		k.open = make(map[chan time.Time]bool)
	}
	k.open[ticker] = true
	return ticker, func() {
		k.mutex.Lock()
		defer k.mutex.Unlock()
		delete(k.open, ticker)
	}
}

// Later lets some time pass, and all live pages look for changes.
func (f *Fixture) Later(d time.Duration) {
	f.T.Helper()
	f.Advance(d)
	// A page that takes the second tick has done what the first one made it do.
	for range 2 {
		f.Ticks.mutex.Lock()
		var open []chan time.Time
		for tick := range f.Ticks.open {
			open = append(open, tick)
		}
		f.Ticks.mutex.Unlock()
		for _, tick := range open {
			select {
			case tick <- f.Now():
			case <-time.After(eventTimeout):
				f.T.Fatal("a live page does not look")
			}
		}
	}
}

// Tab is a live page that a browser has open.
type Tab struct {
	Path   string
	Events chan string
	Close  func()

	fixture *Fixture
}

// Open opens the live part of a page, and waits for its first state.
func (b *Browser) Open(path string) *Tab {
	b.T.Helper()
	separator := "?"
	if strings.Contains(path, "?") {
		separator = "&"
	}
	ctx, cancel := context.WithCancel(context.Background())
	request := b.NewRequest(http.MethodGet, path+separator+"live=1", nil).WithContext(ctx)
	response, err := b.Client.Do(request)
	b.Must(err)
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
		b.T.Fatalf("%s is answered %s", path, response.Status)
	}
	t := &Tab{Path: path, Events: make(chan string, 100), fixture: b.Fixture}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer response.Body.Close()
		var event strings.Builder
		for lines := bufio.NewScanner(response.Body); lines.Scan(); {
			if lines.Text() == "" {
				t.Events <- event.String()
				event.Reset()
				continue
			}
			event.WriteString(lines.Text() + "\n")
		}
	}()
	t.Close = sync.OnceFunc(func() { cancel(); <-ended })
	b.T.Cleanup(t.Close)
	t.Next()
	return t
}

// Next returns the next event.
func (t *Tab) Next() string {
	t.fixture.T.Helper()
	select {
	case event := <-t.Events:
		return event
	case <-time.After(eventTimeout):
		t.fixture.T.Fatalf("%s: no event came", t.Path)
		return ""
	}
}
