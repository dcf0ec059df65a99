package event_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/event"
	"github.com/berth-iot/berth/hub/telemetry"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/memory"
)

// line is the way of a node to the documents: while dies is set, nothing is taken out of the
// outbox, as when the node is killed after it has written to the log.
type line struct {
	store.Documents
	dies atomic.Bool
}

// Commit implements store.Documents.
func (l *line) Commit(ctx context.Context, changes ...store.Change) ([]string, error) {
	takes := slices.ContainsFunc(changes, func(c store.Change) bool { return c.Collection == "outbox" && c.Delete })
	if takes && l.dies.Load() {
		return nil, errors.New("the node was killed")
	}
	return l.Documents.Commit(ctx, changes...)
}

// node is a node with the events of a hub.
type node struct {
	*event.Events
	*line
	close func()
}

func newNode(t *testing.T, shared *memory.Store, name string, limit int) *node {
	n := &node{line: &line{Documents: shared.Open()}}
	logs := shared.OpenLogs(nil)
	log, err := logs.Open("events", store.LogOptions{Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	n.Events = event.Open(event.Config{Hub: "berth", Documents: n.line, Log: log, Node: name, Limit: limit, Now: time.Now,
		Logger: slog.New(slog.DiscardHandler)})
	n.close = func() {
		n.Events.Close()
		if err := errors.Join(logs.Close(), n.line.Close()); err != nil {
			t.Error(err)
		}
	}
	return n
}

// happens commits an event of a device.
func (n *node) happens(t *testing.T, id string, version int64) {
	t.Helper()
	_, err := n.Commit(t.Context(), n.Prepare(event.Event{Operation: event.TwinUpdated, ID: id, Time: time.Now(),
		Place: event.AtVersion("1", version), Body: fmt.Appendf(nil, `{"version":%d}`, version)})...)
	if err != nil {
		t.Fatal(err)
	}
}

// told returns the versions that were told of each device, of all events in the log.
func (n *node) told(t *testing.T) map[string][]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	told := make(map[string][]string)
	err := n.Log().Follow(ctx, telemetry.Position{Earliest: true}, "", func(m telemetry.Message) error {
		told[m.DeviceID] = append(told[m.DeviceID], fmt.Sprintf("%s", m.Body))
		return nil
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	return told
}

func checkTold(t *testing.T, told map[string][]string, devices, versions int) {
	t.Helper()
	if len(told) != devices {
		t.Errorf("told of %d devices, want %d", len(told), devices)
	}
	var want []string
	for v := range versions {
		want = append(want, fmt.Sprintf(`{"version":%d}`, v))
	}
	for id, got := range told {
		if !slices.Equal(got, want) {
			t.Errorf("of %s is told %q", id, got)
		}
	}
}

// TestEventsOnce has each event once in the log, those of a device in their order, though the
// node dies each time that it has written some, and another follows.
func TestEventsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const devices, versions = 100, 4 // more than are taken at once
		shared := memory.New()
		n := newNode(t, shared, "n", 0)
		for v := range versions {
			for d := range devices {
				n.happens(t, fmt.Sprint("d", d), int64(v))
			}
			if v == 1 {
				n.dies.Store(true)
				synctest.Wait()
			}
		}
		for range 3 {
			time.Sleep(20 * time.Second) // it tries again
			n.close()
			n = newNode(t, shared, "n", 0)
			n.dies.Store(true)
		}
		n.dies.Store(false)
		time.Sleep(20 * time.Second)
		checkTold(t, n.told(t), devices, versions)
		if left, err := store.Count(t.Context(), n.line, "outbox"); err != nil || left != 0 {
			t.Errorf("%d events are left in the outbox, error %v", left, err)
		}
		n.close()
	})
}

// TestEventsOfTwoNodes has one node write what happens at both, and the other follow it.
func TestEventsOfTwoNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := memory.New()
		a := newNode(t, shared, "a", 0)
		synctest.Wait()
		b := newNode(t, shared, "b", 0)
		for v := range 6 {
			[]*node{a, b}[v%2].happens(t, "d1", int64(v))
			if v == 2 {
				a.dies.Store(true)
				a.Events.Close()
			}
		}
		time.Sleep(time.Minute)
		checkTold(t, b.told(t), 1, 6)
		a.close()
		b.close()
	})
}

// TestLargeBody has a change whose twin is too large to be told be told without.
func TestLargeBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, memory.New(), "", 0)
		defer n.close()
		large := fmt.Appendf(nil, `{"a":%q}`, strings.Repeat("x", store.MaxValue))
		_, err := n.Commit(t.Context(), n.Prepare(event.Event{Operation: event.Created, ID: "d1",
			Place: event.AtVersion("1", 1), Body: large})...)
		if err != nil {
			t.Fatal(err)
		}
		if told := n.told(t); len(told["d1"]) != 1 || told["d1"][0] != "{}" {
			t.Errorf("told is %.100v", told)
		}
	})
}

// TestOutboxIsBounded refuses changes while too many events wait, and takes them again.
func TestOutboxIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, memory.New(), "", 10)
		defer n.close()
		n.dies.Store(true)
		for v := range 10 {
			n.happens(t, "d1", int64(v))
		}
		time.Sleep(10 * time.Second) // it has failed to write them
		more := event.Event{Operation: event.Created, ID: "d2", Place: event.AtVersion("1", 1), Body: []byte(`{}`)}
		if _, err := n.Commit(t.Context(), n.Prepare(more)...); !errors.Is(err, fault.Unavailable) {
			t.Errorf("an event too many: %v", err)
		}
		n.dies.Store(false)
		time.Sleep(20 * time.Second)
		if _, err := n.Commit(t.Context(), n.Prepare(more)...); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Second)
		if told := n.told(t); len(told["d1"]) != 10 || len(told["d2"]) != 1 {
			t.Errorf("told is %v", told)
		}
	})
}
