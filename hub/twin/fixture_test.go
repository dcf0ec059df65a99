package twin

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/pebble"
	"github.com/berth-iot/berth/store/storetest"
)

var (
	noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	ctx  = context.Background()
)

// generation is that of all devices of the tests.
const generation = "100"

// fixture is twins on a real store. Its methods are what back ends and devices do.
type fixture struct {
	*Twins
	t         testing.TB
	dir       string
	clock     time.Time
	documents store.Documents
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: t.TempDir(), clock: noon}
	f.open()
	t.Cleanup(f.close)
	return f
}

func (f *fixture) open() {
	f.t.Helper()
	var err error
	if f.documents, err = pebble.Open(f.dir, pebble.Options{}); err != nil {
		f.t.Fatal(err)
	}
	f.Twins = Open(Config{Documents: f.documents, Prefix: "hub/test/", Now: func() time.Time { return f.clock }})
}

func (f *fixture) close() {
	f.t.Helper()
	if err := f.documents.Close(); err != nil {
		f.t.Error(err)
	}
}

func (f *fixture) reopen() {
	f.t.Helper()
	f.close()
	f.open()
}

func (f *fixture) commit(changes ...store.Change) {
	f.t.Helper()
	if _, err := f.documents.Commit(ctx, changes...); err != nil {
		f.t.Fatal(err)
	}
}

// create makes the twin of a new device.
func (f *fixture) create(id string) Owner {
	f.t.Helper()
	d, err := New(nil, nil, f.clock)
	if err != nil {
		f.t.Fatal(err)
	}
	f.commit(f.PrepareCreate(id, generation, d))
	return Owner{DeviceID: id, Generation: generation}
}

// twin is a twin as back ends read it.
func (f *fixture) twin(id string) Twin {
	f.t.Helper()
	d, err := f.Get(ctx, id)
	if err != nil {
		f.t.Fatal(err)
	}
	return d.Describe(identity.Device{DeviceID: id})
}

func (f *fixture) patch(id, body, ifMatch string) (Twin, error) {
	return f.write(id, body, ifMatch, false)
}

func (f *fixture) replace(id, body, ifMatch string) (Twin, error) {
	return f.write(id, body, ifMatch, true)
}

func (f *fixture) write(id, body, ifMatch string, replace bool) (Twin, error) {
	f.t.Helper()
	patch, err := ReadPatch(json.RawMessage(body), replace)
	if err != nil {
		return Twin{}, err
	}
	d, err := f.Patch(ctx, id, patch, ifMatch, replace)
	return d.Describe(identity.Device{DeviceID: id}), err
}

// report is what a device does whose session goes on.
func (f *fixture) report(owner Owner, patch string) (int64, error) {
	return f.Report(ctx, owner, []byte(patch), nil, func() error { return nil })
}

func TestRoundTrip(t *testing.T) { storetest.RoundTrip[Document](t) }
