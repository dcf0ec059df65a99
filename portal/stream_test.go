package portal

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/attest"
	"github.com/berth-iot/berth/store"
)

// reads counts what is read of the store.
type reads struct {
	documents atomic.Int64 // calls
	records   atomic.Int64
	places    atomic.Int64 // times that were looked up in a log
}

type countedDocuments struct {
	store.Documents
	reads *reads
}

func (d countedDocuments) Get(ctx context.Context, collection, key string) (store.Document, error) {
	d.reads.documents.Add(1)
	return d.Documents.Get(ctx, collection, key)
}

func (d countedDocuments) List(ctx context.Context, collection, prefix, after string, limit int) ([]store.Document, error) {
	d.reads.documents.Add(1)
	return d.Documents.List(ctx, collection, prefix, after, limit)
}

func (d countedDocuments) Count(ctx context.Context, collections ...string) ([]int, error) {
	d.reads.documents.Add(1)
	return d.Documents.Count(ctx, collections...)
}

type countedLog struct {
	store.Log
	reads *reads
}

func (l countedLog) Read(ctx context.Context, partition int, from int64, maxRecords, maxBytes int) ([]store.Record, error) {
	records, err := l.Log.Read(ctx, partition, from, maxRecords, maxBytes)
	l.reads.records.Add(int64(len(records)))
	return records, err
}

func (l countedLog) SequenceAt(ctx context.Context, partition int, unixNano int64) (int64, error) {
	l.reads.places.Add(1)
	return l.Log.SequenceAt(ctx, partition, unixNano)
}

func (r *reads) all() int64 { return r.documents.Load() + r.records.Load() + r.places.Load() }

// liveHouse is a portal whose live pages look when the test says so.
type liveHouse struct {
	*house
	ticks struct {
		sync.Mutex
		open map[chan time.Time]bool
	}
}

func newLiveHouse(t *testing.T) *liveHouse {
	h := &liveHouse{house: newHouse(t)}
	h.ticks.open = make(map[chan time.Time]bool)
	h.ticker = func(time.Duration) (<-chan time.Time, func()) {
		tick := make(chan time.Time)
		h.ticks.Lock()
		defer h.ticks.Unlock()
		h.ticks.open[tick] = true
		return tick, func() {
			h.ticks.Lock()
			defer h.ticks.Unlock()
			delete(h.ticks.open, tick)
		}
	}
	return h
}

// later lets some time pass, and all live pages look. A page that takes the second tick
// has done what the first one made it do.
func (h *liveHouse) later(d time.Duration) {
	h.t.Helper()
	h.advance(d)
	h.look()
}

func (h *liveHouse) look() {
	h.t.Helper()
	for range 2 {
		h.ticks.Lock()
		var open []chan time.Time
		for tick := range h.ticks.open {
			open = append(open, tick)
		}
		h.ticks.Unlock()
		for _, tick := range open {
			select {
			case tick <- h.clock():
			case <-time.After(20 * time.Second):
				h.t.Fatal("a live page does not look")
			}
		}
	}
}

// tab is a live page that a browser has open.
type tab struct {
	t      *testing.T
	path   string
	events chan string
	close  func()
}

// open opens the live part of a page, and waits for its first state.
func (h *liveHouse) open(b *browser, path string) *tab {
	h.t.Helper()
	address := h.server.URL + Root + path + "?live=1"
	if strings.Contains(path, "?") {
		address = h.server.URL + Root + path + "&live=1"
	}
	ctx, cancel := context.WithCancel(context.Background())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	h.must(err)
	response, err := b.client.Do(request)
	h.must(err)
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
		h.t.Fatalf("%s is answered %s", path, response.Status)
	}
	t := &tab{t: h.t, path: path, events: make(chan string, 100)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer response.Body.Close()
		var event strings.Builder
		for lines := bufio.NewScanner(response.Body); lines.Scan(); {
			if lines.Text() == "" {
				t.events <- event.String()
				event.Reset()
				continue
			}
			event.WriteString(lines.Text() + "\n")
		}
	}()
	t.close = sync.OnceFunc(func() { cancel(); <-ended })
	h.t.Cleanup(t.close)
	t.next()
	return t
}

// next returns the next event.
func (t *tab) next() string {
	t.t.Helper()
	select {
	case event := <-t.events:
		return event
	case <-time.After(20 * time.Second):
		t.t.Fatalf("%s: no event came", t.path)
		return ""
	}
}

// settled waits for a record of a log to be durable.
type settled chan error

func (s settled) Committed(_ uint64, _ store.Position, err error) { s <- err }

// attempt puts attempts into the log, and returns the sequence after the last.
func (h *liveHouse) attempt(outcome attest.Outcome, ids ...string) {
	h.t.Helper()
	done := make(settled, len(ids))
	for _, id := range ids {
		record, err := json.Marshal(attest.Attempt{Time: h.clock(), RegistrationID: id, Outcome: outcome, Protocol: "mqtt"})
		h.must(err)
		h.attempts.Append(0, record, done, 0)
	}
	for range ids {
		h.must(<-done)
	}
}

func names(prefix string, n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("%s-%d", prefix, i))
	}
	return ids
}

// keyed is an enrollment by symmetric key.
func keyed(id string) provisioning.Enrollment {
	return provisioning.Enrollment{RegistrationID: id, EnrollmentSettings: provisioning.EnrollmentSettings{Attestation: provisioning.AttestationMechanism{Type: "symmetricKey"}}}
}

// fill gives the pages something to show.
func (h *liveHouse) fill() {
	h.t.Helper()
	_, err := h.config.Provisioning.CreateEnrollment(ctx, keyed("e1"))
	h.must(err)
	_, err = h.config.Provisioning.PutGroup(ctx, provisioning.EnrollmentGroup{EnrollmentGroupID: "g1", EnrollmentSettings: provisioning.EnrollmentSettings{Attestation: provisioning.AttestationMechanism{Type: "symmetricKey"}}}, "")
	h.must(err)
	_, err = h.config.Hubs.All()[0].CreateDevice(ctx, hub.Device{DeviceID: "d1"})
	h.must(err)
	h.attempt(attest.Assigned, names("good", 500)...)
	h.attempt(attest.Refused, names("bad", 10)...)
}

// livePages are all that keep themselves up to date, but for that of an import.
var livePages = []string{"", "enrollments", "enrollments?prefix=e", "groups", "group/g1", "registrations", "registrations?status=failed", "attempts",
	"attempts?outcome=refused", "attempts?id=good-7", "attempts?before=100", "hubs", "hubs/berth", "hubs/berth/devices", "hubs/berth/device/d1",
	"hubs/berth/device/d1/twin", "quickstart", "certificates", "credentials", "credentials?prefix=d1", "audit", "audit?by=server", "lockouts", "networks"}

// A page that is open while nothing moves reads nothing, for a while.
func TestLivePagesAtRestReadNothing(t *testing.T) {
	h := newLiveHouse(t)
	h.fill()
	h.loggedIn(Operator) // the first page after a login may write that the session was seen
	b := h.loggedIn(Operator)
	var tabs []*tab
	for _, path := range livePages {
		tabs = append(tabs, h.open(b, path))
	}
	before := h.reads.all()
	for range 5 {
		h.later(time.Second)
	}
	if n := h.reads.all() - before; n != 0 {
		t.Errorf("%d tabs at which nothing happened read %d times", len(tabs), n)
	}
	if h.later(lookAnyway); h.reads.all() == before {
		t.Error("after a minute no page was made anew, which may say how long something is good for")
	}
	for _, tab := range tabs {
		select {
		case event := <-tab.events:
			t.Errorf("%s: sends what is not new:\n%s", tab.path, event)
		default:
		}
	}
}

// Many who watch the same search cost one search a second, and that only of what is
// new, however much there is.
func TestLiveSearchReadsOnlyWhatIsNew(t *testing.T) {
	const size, more, rounds, watchers = 3000, 20, 5, 4
	for _, c := range []struct {
		path          string
		shows         bool
		first, second int64 // records at first, and for each round
	}{
		{"attempts?outcome=refused", true, size + 1, more + 1},
		{"attempts?outcome=failed", false, size + 1, more + 1},
		{"attempts", true, pageSize, more + 1},
		{"attempts?id=nobody", false, size + 1, more + 1},
		{"attempts?before=1000", false, pageSize, 0},
		{"", true, latestAttempts, latestAttempts},
	} {
		t.Run(c.path, func(t *testing.T) {
			h := newLiveHouse(t)
			h.attempt(attest.Assigned, names("good", size)...)
			h.attempt(attest.Refused, "bad")
			b := h.loggedIn(Reader)
			before := h.reads.records.Load()
			var tabs []*tab
			for range watchers {
				tabs = append(tabs, h.open(b, c.path))
			}
			if n := h.reads.records.Load() - before; n > c.first {
				t.Errorf("%d tabs read %d records to begin with, want at most %d", watchers, n, c.first)
			}
			for round := range rounds {
				h.attempt(attest.Assigned, names("good", more)...)
				refused := fmt.Sprintf("refused-%d", round)
				h.attempt(attest.Refused, refused)
				before := h.reads.records.Load()
				h.later(lookAnyway - time.Second) // a slow machine has shown the last one slowly
				if n := h.reads.records.Load() - before; n > c.second {
					t.Errorf("%d tabs read %d records, %d of them new", watchers, n, more+1)
				}
				for _, tab := range tabs {
					if c.shows && !strings.Contains(tab.next(), refused) {
						t.Errorf("%s does not show %s", c.path, refused)
					}
				}
			}
		})
	}
}

// Each live page shows what changes, whoever changes it.
func TestLivePagesShowWhatChanges(t *testing.T) {
	h := newLiveHouse(t)
	h.fill()
	service, first := h.config.Provisioning, h.config.Hubs.All()[0]
	enroll := func(id string) func() error {
		return func() error { _, err := service.CreateEnrollment(ctx, keyed(id)); return err }
	}
	device := func(id string) func() error {
		return func() error { _, err := first.CreateDevice(ctx, hub.Device{DeviceID: id}); return err }
	}
	attempt := func(id string) func() error {
		return func() error { h.attempt(attest.Refused, id); return nil }
	}
	for _, c := range []struct {
		path, shows string
		change      func() error
	}{
		{"", "attempt-1", attempt("attempt-1")},
		{"", "<strong>", enroll("counted")},
		{"enrollments", "new-1", enroll("new-1")},
		{"groups", "new-2", func() error {
			_, err := service.PutGroup(ctx, provisioning.EnrollmentGroup{EnrollmentGroupID: "new-2", EnrollmentSettings: provisioning.EnrollmentSettings{Attestation: provisioning.AttestationMechanism{Type: "symmetricKey"}}}, "")
			return err
		}},
		{"attempts?id=attempt-3", "attempt-3", attempt("attempt-3")},
		{"hubs", ">2<", device("new-4")},
		{"hubs/berth", "2", device("new-5")},
		{"hubs/berth/devices", "new-6", device("new-6")},
		{"hubs/berth/device/d1", "disabled", func() error {
			d, err := first.Device(ctx, "d1")
			if err == nil {
				d.Status = "disabled"
				_, err = first.UpdateDevice(ctx, d, d.ETag)
			}
			return err
		}},
		{"quickstart?id=q1", "", enroll("q1")},
		{"audit", "new-8", enroll("new-8")},
		{"networks", "192.0.2.0/24", func() error {
			_, err := service.PutNetwork(ctx, provisioning.Network{Prefix: "192.0.2.0/24", Latencies: map[string]float64{"west": 3}}, "")
			return err
		}},
	} {
		t.Run(c.path, func(t *testing.T) {
			tab := h.open(h.loggedIn(Reader), c.path)
			defer tab.close()
			h.must(c.change())
			h.later(lookAnyway - time.Second)
			if event := tab.next(); !strings.HasPrefix(event, "event: live\n") || !strings.Contains(event, c.shows) {
				t.Errorf("%s does not show %q:\n%s", c.path, c.shows, event)
			}
		})
	}
}

// What can't be searched by what is new alone is not searched all the time.
func TestLookTakesItsShare(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{time.Millisecond: 900 * time.Millisecond, 500 * time.Millisecond: 10 * time.Second} {
		if pause := (&watch{took: took}).pause(); pause != want {
			t.Errorf("after a look of %s the next is in %s, want %s", took, pause, want)
		}
	}
}

// One session can't take all the places for live pages.
func TestLivePagesOfASession(t *testing.T) {
	h := newLiveHouse(t)
	greedy, other := h.loggedIn(Reader), h.loggedIn(Operator)
	var tabs []*tab
	for range maxSessionStreams {
		tabs = append(tabs, h.open(greedy, "networks"))
	}
	if status, page := greedy.get("networks?live=1"); status != http.StatusServiceUnavailable || !strings.Contains(page, "Too many pages of your session") {
		t.Errorf("one page too many is answered %d:\n%s", status, page)
	}
	h.open(other, "networks")
	tabs[0].close()
	// The server notices at its own time that the browser has gone.
	for deadline := time.Now().Add(20 * time.Second); ; {
		h.streams.Lock()
		n := h.streams.all
		h.streams.Unlock()
		if n == maxSessionStreams {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d places are taken", n)
		}
	}
	h.open(greedy, "networks")
}
