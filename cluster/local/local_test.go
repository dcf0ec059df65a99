package local

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/berth-iot/berth/cluster"
)

// echo answers with its name and counts its displacements.
type echo struct {
	name      string
	displaced atomic.Int32
}

func (e *echo) Handle(_ context.Context, request []byte) ([]byte, error) {
	return []byte(e.name + " " + string(request)), nil
}

func (e *echo) Displaced() { e.displaced.Add(1) }

func TestTheNewestServerWins(t *testing.T) {
	bus, ctx := New(), context.Background()
	first, second := &echo{name: "first"}, &echo{name: "second"}
	if _, err := bus.Request(ctx, "d", nil); !errors.Is(err, cluster.ErrNobody) {
		t.Errorf("a subject that nobody serves answers %v", err)
	}
	releaseFirst, _ := bus.Serve("d", first)
	releaseSecond, _ := bus.Serve("d", second)
	if n := first.displaced.Load(); n != 1 {
		t.Errorf("the first was displaced %d times", n)
	}
	releaseFirst() // late: it must not touch the second
	if answer, err := bus.Request(ctx, "d", []byte("hello")); err != nil || string(answer) != "second hello" {
		t.Errorf("answered %s, error %v", answer, err)
	}
	bus.Serve("e", first)
	if bus.Server("d") != second || len(bus.Servers("d")) != 1 || len(bus.Servers("")) != 2 || bus.Server("") != nil {
		t.Errorf("d is served by %v, and there are %d subjects", bus.Server("d"), len(bus.Servers("")))
	}
	releaseSecond()
	releaseSecond()
	if bus.Server("d") != nil || len(bus.Servers("d")) != 0 {
		t.Error("the subject is still served")
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := bus.Request(ended, "d", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a request whose time is over answers %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	bus := New()
	servers := make([]*echo, 50)
	var group sync.WaitGroup
	for i := range servers {
		servers[i] = &echo{name: "x"}
		group.Go(func() {
			if _, err := bus.Serve("d", servers[i]); err != nil {
				t.Error(err)
			}
			if _, err := bus.Request(context.Background(), "d", nil); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	displaced := 0
	for _, server := range servers {
		displaced += int(server.displaced.Load())
	}
	if displaced != len(servers)-1 {
		t.Errorf("%d of %d were displaced", displaced, len(servers))
	}
}
