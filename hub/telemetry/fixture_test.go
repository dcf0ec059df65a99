package telemetry

import (
	"context"
	"testing"
	"time"

	"github.com/berth-iot/berth/clock/clocktest"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/segment"
)

var (
	noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	ctx  = context.Background()
)

// fixture is telemetry on a real log, which can be closed and opened again.
type fixture struct {
	*Log
	t     testing.TB
	dir   string
	clock clocktest.Clock
	close func() error
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: t.TempDir()}
	f.clock.Set(noon)
	f.open()
	t.Cleanup(func() {
		if err := f.close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func (f *fixture) open() {
	f.t.Helper()
	logs, err := segment.Open(f.dir, segment.Options{Now: f.clock.Now})
	if err != nil {
		f.t.Fatal(err)
	}
	log, err := logs.Open("telemetry", store.LogOptions{Partitions: 4})
	if err != nil {
		f.t.Fatal(err)
	}
	f.Log = New(Config{Log: log, Now: f.clock.Now})
	f.close = logs.Close
}

func (f *fixture) reopen() {
	f.t.Helper()
	if err := f.close(); err != nil {
		f.t.Fatal(err)
	}
	f.open()
}

// sender sends as a device does that proved itself with a key of its own.
func (f *fixture) sender(deviceID string) *Sender {
	return f.NewSender(deviceID, "1", message.DeviceKey)
}

// settled waits for what a Send promised.
type settled chan error

func (s settled) Committed(_ uint64, _ store.Position, err error) { s <- err }

func (f *fixture) send(s *Sender, m message.Message) {
	f.t.Helper()
	done := make(settled, 1)
	if err := s.Send(&m, done, 1); err != nil {
		f.t.Fatal(err)
	}
	if err := <-done; err != nil {
		f.t.Fatal(err)
	}
}
