// Package clustertest holds the suite that every bus must pass. A bus's test calls Run.
package clustertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-iot/berth/cluster"
)

// Connect returns the buses of n nodes that reach each other, until the test ends.
type Connect func(t testing.TB, n int) []cluster.Bus

// Run tests an implementation of cluster.Bus.
func Run(t *testing.T, connect func(t testing.TB, n int) []cluster.Bus) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Connect)
	}{
		{"TheNewestServerWins", theNewestServerWins},
		{"TheNewestServerWinsElsewhere", theNewestServerWinsElsewhere},
		{"Subjects", subjects},
		{"RequestEnds", requestEnds},
		{"Presence", presence},
		{"Broadcast", broadcast},
		{"ManyAtOnce", manyAtOnce},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, connect) })
	}
}

// echo answers with its name and counts its displacements.
type echo struct {
	name      string
	displaced atomic.Int32
}

func (e *echo) Handle(_ context.Context, request []byte) ([]byte, error) {
	return []byte(e.name + " " + string(request)), nil
}

func (e *echo) Displaced() { e.displaced.Add(1) }

// eventually waits until condition holds: what one node does, others see soon.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it is not so after 10 s: %s", what)
		}
	}
}

func serve(t *testing.T, bus cluster.Bus, subject string, server cluster.Server) (release func()) {
	t.Helper()
	release, err := bus.Serve(subject, server)
	if err != nil {
		t.Fatal(err)
	}
	return release
}

// answers reports whether a request on the bus is answered so.
func answers(t *testing.T, bus cluster.Bus, subject, want string) bool {
	t.Helper()
	answer, err := bus.Request(t.Context(), subject, []byte("hello"))
	return err == nil && string(answer) == want
}

func nobody(t *testing.T, bus cluster.Bus, subject string) bool {
	t.Helper()
	_, err := bus.Request(t.Context(), subject, nil)
	return errors.Is(err, cluster.ErrNobody)
}

func theNewestServerWins(t *testing.T, connect Connect) {
	bus, ctx := connect(t, 1)[0], context.Background()
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

// theNewestServerWinsElsewhere has a subject move from node to node and back.
func theNewestServerWinsElsewhere(t *testing.T, connect Connect) {
	nodes := connect(t, 3)
	var former *echo
	var release func()
	for i, bus := range []cluster.Bus{nodes[0], nodes[1], nodes[2], nodes[0]} {
		newest := &echo{name: fmt.Sprint(i)}
		late := release
		release = serve(t, bus, "d", newest)
		if former != nil {
			displaced := former
			eventually(t, "the former one is told", func() bool { return displaced.displaced.Load() == 1 })
			late() // it must not touch the newest
		}
		for from, asking := range nodes {
			eventually(t, fmt.Sprintf("node %d reaches the newest", from), func() bool {
				return answers(t, asking, "d", newest.name+" hello")
			})
			if here := asking.Server("d"); (here == newest) != (asking == bus) || len(asking.Servers("d")) > 1 {
				t.Errorf("node %d has the server %v of its own", from, here)
			}
		}
		if n := newest.displaced.Load(); n != 0 {
			t.Errorf("the newest was displaced %d times", n)
		}
		former = newest
	}
	release()
	for from, asking := range nodes {
		eventually(t, fmt.Sprintf("node %d reaches nobody", from), func() bool { return nobody(t, asking, "d") })
	}
}

// subjects are any text.
func subjects(t *testing.T, connect Connect) {
	nodes := connect(t, 2)
	long := make([]byte, 1024)
	for i := range long {
		long[i] = 'x'
	}
	odd := []string{"a.b", "a.*", "a.>", "*", ">", "$SYS", "a b", "ä\n", "A.B", "a", string(long)}
	for _, subject := range odd {
		serve(t, nodes[0], subject, &echo{name: subject})
	}
	for _, subject := range odd {
		eventually(t, fmt.Sprintf("%.20q is served", subject), func() bool {
			return answers(t, nodes[1], subject, subject+" hello")
		})
	}
	for _, subject := range []string{"a.c", "b", "$SYS.x", "a.b.c"} {
		if !nobody(t, nodes[1], subject) {
			t.Errorf("%q is served, which nobody serves", subject)
		}
	}
}

// waiting never answers by itself, and notes until when it may.
type waiting struct{ until atomic.Pointer[time.Time] }

func (w *waiting) Handle(ctx context.Context, _ []byte) ([]byte, error) {
	if until, bounded := ctx.Deadline(); bounded {
		w.until.Store(&until)
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func (w *waiting) Displaced() {}

// requestEnds has a server that does not answer keep nobody longer than he wants, and
// bounds what it may take for those who would wait for ever.
func requestEnds(t *testing.T, connect Connect) {
	nodes := connect(t, 2)
	silent := new(waiting)
	serve(t, nodes[0], "d", silent)
	eventually(t, "the server is reached", func() bool {
		present, err := nodes[1].Present(t.Context(), "d")
		return err == nil && present[0]
	})
	for _, bus := range nodes {
		silent.until.Store(nil)
		ctx, cancel := context.WithCancel(t.Context())
		answered := make(chan error)
		go func() {
			_, err := bus.Request(ctx, "d", nil)
			answered <- err
		}()
		eventually(t, "the request has a deadline", func() bool { return silent.until.Load() != nil })
		if left := time.Until(*silent.until.Load()); left > cluster.RequestTimeout {
			t.Errorf("the server may take %v, want %v at most", left, cluster.RequestTimeout)
		}
		cancel()
		if err := <-answered; !errors.Is(err, context.Canceled) {
			t.Errorf("a request that was given up: %v", err)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if _, err := bus.Request(short, "d", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a request with little time: %v", err)
		}
		cancel()
	}
}

// presence is the same from wherever it is asked for.
func presence(t *testing.T, connect Connect) {
	nodes := connect(t, 3)
	server := &echo{name: "x"}
	release := serve(t, nodes[0], "hub.device.a", server)
	serve(t, nodes[1], "hub.device.b", server)
	serve(t, nodes[1], "other.device.c", server)
	asked := []string{"hub.device.a", "hub.device.b", "hub.device.c", "hub.device.", "hub.device.a"}
	check := func(want []bool, counts map[string]int) {
		t.Helper()
		for i, bus := range nodes {
			eventually(t, fmt.Sprintf("node %d sees who is present", i), func() bool {
				present, err := bus.Present(t.Context(), asked...)
				for prefix, n := range counts {
					counted, err := bus.Count(t.Context(), prefix)
					if err != nil || counted != n {
						return false
					}
				}
				return err == nil && slices.Equal(present, want)
			})
		}
	}
	check([]bool{true, true, false, false, true}, map[string]int{"hub.": 2, "other.": 1, "": 3, "x": 0})
	serve(t, nodes[2], "hub.device.a", server) // the same device on another node is one
	release()
	check([]bool{true, true, false, false, true}, map[string]int{"hub.": 2, "": 3})
	for i, want := range []int{0, 1, 1} {
		if here := len(nodes[i].Servers("hub.")); here != want {
			t.Errorf("node %d has %d servers of its own, want %d", i, here, want)
		}
	}
	if present, err := nodes[0].Present(t.Context()); err != nil || len(present) != 0 {
		t.Errorf("of no subject: %v, %v", present, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := nodes[0].Present(ended, "a")
	_, counting := nodes[0].Count(ended, "a")
	if !errors.Is(err, context.Canceled) || !errors.Is(counting, context.Canceled) {
		t.Errorf("with an ended context: %v, %v", err, counting)
	}
}

// broadcast reaches all nodes, the sender's own before it returns.
func broadcast(t *testing.T, connect Connect) {
	nodes := connect(t, 3)
	var received [3]atomic.Int64
	cancels := make([]func(), len(nodes))
	for i, bus := range nodes {
		cancel, err := bus.Receive("topic", func(message []byte) { received[i].Add(int64(len(message))) })
		if err != nil {
			t.Fatal(err)
		}
		cancels[i] = cancel
		other := func([]byte) { t.Error("a message of another topic is received") }
		if _, err := bus.Receive("top", other); err != nil {
			t.Fatal(err)
		}
	}
	want := int64(0)
	for i, bus := range nodes {
		want += int64(i + 1)
		if err := bus.Broadcast(t.Context(), "topic", make([]byte, i+1)); err != nil {
			t.Fatal(err)
		}
		if received[i].Load() != want {
			t.Errorf("node %d has not received what it has broadcast itself", i)
		}
		for n := range nodes {
			eventually(t, fmt.Sprintf("node %d receives", n), func() bool { return received[n].Load() == want })
		}
	}
	cancels[0]()
	if err := errors.Join(nodes[0].Broadcast(t.Context(), "topic", []byte("x")),
		nodes[0].Broadcast(t.Context(), "nobody", []byte("x"))); err != nil {
		t.Error(err)
	}
	eventually(t, "the others receive", func() bool {
		return received[1].Load() == want+1 && received[2].Load() == want+1
	})
	if received[0].Load() != want {
		t.Error("who receives no more has received")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := nodes[0].Broadcast(ended, "topic", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}

func manyAtOnce(t *testing.T, connect Connect) {
	bus := connect(t, 1)[0]
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
