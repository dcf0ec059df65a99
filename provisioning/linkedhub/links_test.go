package linkedhub

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store/memory"
	"github.com/berth-iot/berth/store/storetest"
)

// slowHub is a hub elsewhere that answers once it may.
type slowHub struct {
	Hub
	host   string
	asked  chan<- struct{} // gets one when the hub is asked
	answer <-chan struct{}
}

func (h *slowHub) Host() string { return h.host }

func (h *slowHub) Twin(ctx context.Context, _ string) (*InitialTwin, error) {
	h.asked <- struct{}{}
	select {
	case <-h.answer:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// localHub is one of this process.
type localHub struct {
	Hub
	host string
}

func (h *localHub) Host() string { return h.host }

func newLinks(t *testing.T, reach func(Link) (Hub, error)) *Links {
	t.Helper()
	return newNode(t, memory.New(), reach)
}

// newNode returns the links of a node whose documents are in the store.
func newNode(t *testing.T, shared *memory.Store, reach func(Link) (Hub, error)) *Links {
	t.Helper()
	links := New(Config{Documents: shared.Open(), Hubs: []Hub{&localHub{host: "a.local"}, &localHub{host: "b.local"}},
		Reach: reach, AssignedTo: func(context.Context, string) (int, error) { return 0, nil },
		Logger: slog.New(slog.DiscardHandler)})
	if err := links.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	return links
}

// TestPutDoesNotBlock links a hub that takes its time to answer, and meanwhile changes
// other links, and the same one: who commits first has it.
func TestPutDoesNotBlock(t *testing.T) {
	ctx := context.Background()
	asked, answer := make(chan struct{}), make(chan struct{})
	links := newLinks(t, func(link Link) (Hub, error) {
		return &slowHub{host: link.HostName, asked: asked, answer: answer}, nil
	})
	remote := Link{HostName: "far.example", ConnectionString: "first"}
	type outcome struct {
		link Link
		err  error
	}
	done := make(chan outcome)
	put := func(link Link, ifMatch string) {
		go func() {
			link, err := links.Put(ctx, link, ifMatch)
			done <- outcome{link, err}
		}()
		<-asked
	}
	put(remote, "")
	if err := links.Delete(ctx, "b.local", "", false); err != nil {
		t.Fatalf("another link ends while the hub is asked: %v", err)
	}
	weight := 3
	if _, err := links.Put(ctx, Link{HostName: "a.local", AllocationWeight: &weight}, ""); err != nil {
		t.Fatalf("another link is changed while the hub is asked: %v", err)
	}
	if err := links.Add(ctx, &localHub{host: "c.local"}); err != nil {
		t.Fatalf("a hub of this process comes while the hub is asked: %v", err)
	}
	answer <- struct{}{}
	first := <-done
	if first.err != nil {
		t.Fatal(first.err)
	}

	// Two who change the same link under its ETag: the later commit finds another.
	put(Link{HostName: remote.HostName, ConnectionString: "second", Location: "here"}, first.link.ETag)
	put(Link{HostName: remote.HostName, ConnectionString: "third", Location: "there"}, first.link.ETag)
	answer <- struct{}{}
	if second := <-done; second.err != nil {
		t.Fatal(second.err)
	}
	answer <- struct{}{}
	if third := <-done; !errors.Is(third.err, fault.PreconditionFailed) {
		t.Errorf("the later of two changes under one ETag: %+v, want fault 412001", third)
	}
	hosts := links.Hosts()
	if want := []string{"a.local", "c.local", "far.example"}; len(hosts) != 3 || hosts[0] != want[0] ||
		hosts[1] != want[1] || hosts[2] != want[2] {
		t.Errorf("linked are %q, want %q", hosts, want)
	}
	if link, err := links.Get("a.local"); err != nil || *link.AllocationWeight != 3 {
		t.Errorf("a.local: %+v, %v", link, err)
	}
}

// What one node links, changes and unlinks, the other has linked, changed and unlinked.
func TestLinksOfAnotherNode(t *testing.T) {
	ctx, shared := context.Background(), memory.New()
	reach := func(link Link) (Hub, error) {
		asked, answer := make(chan struct{}, 1), make(chan struct{})
		close(answer)
		return &slowHub{host: link.HostName, asked: asked, answer: answer}, nil
	}
	here, elsewhere := newNode(t, shared, reach), newNode(t, shared, reach)
	want := func(hosts ...string) {
		t.Helper()
		if found := elsewhere.Hosts(); !slices.Equal(found, hosts) {
			t.Errorf("elsewhere %q are linked, want %q", found, hosts)
		}
	}
	want("a.local", "b.local")
	if _, err := here.Put(ctx, Link{HostName: "far.example", ConnectionString: "secret"}, ""); err != nil {
		t.Fatal(err)
	}
	want("a.local", "b.local", "far.example")
	weight := 3
	if _, err := here.Put(ctx, Link{HostName: "a.local", AllocationWeight: &weight}, ""); err != nil {
		t.Fatal(err)
	}
	if found := elsewhere.Find("a.local"); found.Weight() != weight {
		t.Errorf("elsewhere it weighs %d, want %d", found.Weight(), weight)
	}
	if err := here.Delete(ctx, "b.local", "", false); err != nil {
		t.Fatal(err)
	}
	want("a.local", "far.example")
	// A hub that only the other node has is not offered here before it is added.
	if err := here.Add(ctx, &localHub{host: "c.local"}); err != nil {
		t.Fatal(err)
	}
	want("a.local", "far.example")
	if err := elsewhere.Add(ctx, &localHub{host: "c.local"}); err != nil {
		t.Fatal(err)
	}
	want("a.local", "c.local", "far.example")
}

func TestRoundTrip(t *testing.T) { storetest.RoundTrip[storedLink](t) }
