package linkedhub

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store/pebble"
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
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	engine, err := pebble.Open(t.TempDir(), pebble.Options{Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	links := New(Config{Documents: engine, Hubs: []Hub{&localHub{host: "a.local"}, &localHub{host: "b.local"}},
		Reach: reach, AssignedTo: func(context.Context, string) (int, error) { return 0, nil }, Logger: logger})
	if err := links.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	return links
}

// TestPutHoldsUpNobody links a hub that takes its time to answer, and meanwhile changes
// other links, and the same one: who commits first has it.
func TestPutHoldsUpNobody(t *testing.T) {
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
	put(Link{HostName: remote.HostName, Location: "here"}, first.link.ETag)
	put(Link{HostName: remote.HostName, Location: "there"}, first.link.ETag)
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

func TestRoundTrip(t *testing.T) { storetest.RoundTrip[storedLink](t) }
