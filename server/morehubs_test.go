package server

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// TestMoreHubsThanConnectionsAllow: a server that was told how many connections there may
// be, as many as there can be with one hub, starts again after hubs were added.
func TestMoreHubsThanConnectionsAllow(t *testing.T) {
	c := DefaultConfig()
	most := newBudget(descriptors(), c.Telemetry, c.Events, c.Attempts).connections(1)
	if most == 0 {
		t.Fatal("this process may have any number of file descriptors: set a limit, as with ulimit -n 20000")
	}
	h := &fixture{t: t,
		config: Config{DataDir: t.TempDir(), Host: "localhost", HubHost: "127.0.0.1", Listen: "127.0.0.1",
			MaxConnections: most}}
	h.start()
	t.Cleanup(func() { h.stop() })
	if _, err := h.CreateHub(t.Context(), "second", "127.0.0.2"); err != nil {
		t.Fatal(err)
	}
	want := h.listeners.gate.Stats().Limit
	h.stop()
	h.start()
	if limit := h.listeners.gate.Stats().Limit; limit != want || limit >= most {
		t.Errorf("after the restart there may be %d connections, before %d, with one hub %d", limit, want, most)
	}
}

// TestAHubThatCannotBeOpened: what is left of a hub that could not be made keeps nobody
// from making it, or another with its host, and the server from starting.
func TestAHubThatCannotBeOpened(t *testing.T) {
	h := newFixture(t)
	inTheWay := filepath.Join(h.config.DataDir, "logs", "hub.second.telemetry")
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := h.CreateHub(t.Context(), "second", "127.0.0.2"); err == nil {
		t.Fatal("a hub without a log was made")
	}
	if _, err := h.CreateHub(t.Context(), "third", "127.0.0.2"); err != nil {
		t.Errorf("another hub with the same host: %v", err)
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	if _, err := h.CreateHub(t.Context(), "second", "127.0.0.3"); err != nil {
		t.Errorf("the same hub again: %v", err)
	}
	h.stop()
	h.start()
	if n := len(h.hubs.All()); n != 3 {
		t.Errorf("after a restart there are %d hubs", n)
	}
}

// TestDuplicateHubHost starts on what an earlier version could leave behind: two hubs
// with the same host name, of which the older one has it.
func TestDuplicateHubHost(t *testing.T) {
	h := newFixture(t)
	if _, err := h.CreateHub(t.Context(), "older", "127.0.0.2"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.documents.Commit(t.Context(), h.hubEntries().Put("a-younger-one", store.Absent,
		hubEntry{Name: "a-younger-one", Host: "127.0.0.2", Created: time.Now().Add(time.Hour)})); err != nil {
		t.Fatal(err)
	}
	h.stop()
	h.start()
	if found := h.hubs.ByHost("127.0.0.2"); found == nil || found.Name() != "older" || len(h.hubs.All()) != 2 {
		t.Errorf("the hub with the host is %v, of %d", found, len(h.hubs.All()))
	}
}

// TestHubListedElsewhere: a hub elsewhere that is linked has its host name, and the name by
// which it is listed, to itself.
func TestHubListedElsewhere(t *testing.T) {
	h, elsewhere := newFixture(t), newElsewhere(t, "fake.hub.test")
	h.link(elsewhere)
	for _, c := range []struct{ name, host string }{
		{"fake", "127.0.0.9"}, {"other", "fake.hub.test"}, {"other", "FAKE.hub.test"},
	} {
		if _, err := h.CreateHub(t.Context(), c.name, c.host); !errors.Is(err, fault.Conflict) {
			t.Errorf("the hub %s at %s: %v", c.name, c.host, err)
		}
	}
	if n := len(h.hubs.All()); n != 1 {
		t.Errorf("the server has %d hubs", n)
	}
	if err := h.Server.provisioning.Links().Delete(t.Context(), "fake.hub.test", "", false); err != nil {
		t.Fatal(err)
	}
	if _, err := h.CreateHub(t.Context(), "fake", "fake.hub.test"); err != nil {
		t.Errorf("when that is linked no more: %v", err)
	}
	h.stop()
	h.start()
	if n := len(h.hubs.All()); n != 2 {
		t.Errorf("after a restart there are %d hubs", n)
	}
}
