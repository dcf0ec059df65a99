// Package portaltest is what tests of the portal's packages stand on: a clock that a test
// moves, services on real engines, and a browser. It knows nothing of the pages, so that
// the frame is tested with it too.
package portaltest

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/berth-iot/berth/clock/clocktest"
	"github.com/berth-iot/berth/health"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/pebble"
)

// Root is the path below which the site is, as web.Root.
const Root = "/portal/"

// Start is the time at which a fixture's clock stands at first.
var Start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// Fixture is what a site of pages needs, for one test.
type Fixture struct {
	clocktest.Clock
	T         *testing.T
	Context   context.Context
	DataDir   string
	Documents store.Documents // a ReadTracker, whose reads are counted
	Health    *health.Set
	Logger    *slog.Logger
	Reads     Reads
	Ticks     Ticks

	server *httptest.Server
}

// Site is what is tested.
type Site interface {
	http.Handler
	Close()
}

// New opens documents in a folder of the test.
func New(t *testing.T) *Fixture {
	t.Helper()
	f := &Fixture{
		T:       t,
		Context: context.Background(),
		DataDir: t.TempDir(),
		Logger:  slog.New(slog.DiscardHandler),
	}
	f.Set(Start)
	f.Health = health.New(f.Logger, f.Now)
	engine, err := pebble.Open(filepath.Join(f.DataDir, "documents"), pebble.Options{Logger: f.Logger})
	f.Must(err)
	t.Cleanup(func() { engine.Close() })
	f.Documents = store.TrackReads(countedDocuments{engine, &f.Reads})
	return f
}

// Serve serves the site until the test ends.
func (f *Fixture) Serve(site Site) {
	f.T.Helper()
	f.server = httptest.NewServer(site)
	f.T.Cleanup(func() { site.Close(); f.server.Close() })
}

// URL is the address of a path below Root.
func (f *Fixture) URL(path string) string { return f.server.URL + Root + path }

// Origin is the address of the server, without a path.
func (f *Fixture) Origin() string { return f.server.URL }

// Must ends the test when there is an error.
func (f *Fixture) Must(err error) {
	f.T.Helper()
	if err != nil {
		f.T.Fatal(err)
	}
}
