package hub

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/berth-iot/berth/cluster/local"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/pebble"
	"github.com/berth-iot/berth/store/segment"
)

var (
	noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	ctx  = context.Background()
)

// house is a hub on real engines, which can be closed and opened again.
type house struct {
	*Hub
	issuer *issuance.Service
	t      testing.TB
	dir    string
	mutex  sync.Mutex
	now    time.Time
	close  func()

	wrapTelemetry func(store.Log) store.Log // when the hub is opened; nil leaves the log as it is
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir(), now: noon}
	h.open()
	t.Cleanup(func() { h.close() })
	return h
}

func (h *house) open() {
	h.t.Helper()
	documents, err := pebble.Open(h.dir+"/documents", pebble.Options{})
	if err != nil {
		h.t.Fatal(err)
	}
	logs, err := segment.Open(h.dir+"/logs", segment.Options{Now: h.clock})
	if err != nil {
		h.t.Fatal(err)
	}
	telemetry, err := logs.Open("telemetry", store.LogOptions{Partitions: 4})
	if err != nil {
		h.t.Fatal(err)
	}
	if h.wrapTelemetry != nil {
		telemetry = h.wrapTelemetry(telemetry)
	}
	if h.issuer, err = issuance.Open(ctx, issuance.Config{Documents: documents, Now: h.clock}); err != nil {
		h.t.Fatal(err)
	}
	h.Hub, err = Open(ctx, Config{Name: "test", Host: "hub.local", Documents: documents, Telemetry: telemetry,
		Bus: local.New(), Issuer: h.issuer, Now: h.clock, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		h.t.Fatal(err)
	}
	h.issuer.OnRevoke(h.Hub.EndRevoked)
	h.close = func() {
		h.t.Helper()
		if err := errors.Join(h.Hub.Close(ctx), logs.Close(), documents.Close()); err != nil {
			h.t.Error(err)
		}
	}
}

func (h *house) reopen() {
	h.t.Helper()
	h.close()
	h.open()
}

func (h *house) clock() time.Time {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	return h.now
}

func (h *house) advance(d time.Duration) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.now = h.now.Add(d)
}

func (h *house) create(d identity.Device) identity.Device {
	h.t.Helper()
	created, err := h.CreateDevice(ctx, d)
	if err != nil {
		h.t.Fatal(err)
	}
	return created
}

// token is a device's own token, good for an hour.
func (h *house) token(d identity.Device) string {
	h.t.Helper()
	token, err := credential.NewToken("hub.local/devices/"+d.DeviceID, "", *d.Authentication.SymmetricKey.PrimaryKey, h.clock().Add(time.Hour))
	if err != nil {
		h.t.Fatal(err)
	}
	return token
}

// line is a device's connection as the hub sees it: it remembers what came down.
type line struct {
	mutex   sync.Mutex
	desired []string
	reasons []error
}

func (l *line) Desired(_ int64, patch json.RawMessage) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.desired = append(l.desired, string(patch))
}

func (l *line) Close(reason error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.reasons = append(l.reasons, reason)
}

func (l *line) ended() error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if len(l.reasons) == 0 {
		return nil
	}
	return l.reasons[0]
}

func (h *house) connect(d identity.Device, keep bool) (*Session, *line) {
	h.t.Helper()
	down := new(line)
	session, err := h.OpenSession(ctx, d.DeviceID, credential.Evidence{Token: h.token(d)}, keep, down)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { session.Close(nil) })
	return session, down
}

// settled waits for what a Send promised.
type settled chan error

func (s settled) Committed(_ uint64, _ store.Position, err error) { s <- err }

func (h *house) send(s *Session, m message.Message) {
	h.t.Helper()
	done := make(settled, 1)
	if err := s.Send(&m, done, 1); err != nil {
		h.t.Fatal(err)
	}
	if err := <-done; err != nil {
		h.t.Fatal(err)
	}
}

func text(s string) *string { return &s }

// newKeys are keys that nobody has.
func newKeys() identity.KeyPair {
	return identity.KeyPair{PrimaryKey: text(credential.NewKey(32)), SecondaryKey: text(credential.NewKey(32))}
}

// leaving is a store whose caller is gone once a commit is done.
type leaving struct {
	store.Documents
	leave context.CancelFunc
}

func (l leaving) Commit(ctx context.Context, changes ...store.Change) ([]string, error) {
	defer l.leave()
	return l.Documents.Commit(ctx, changes...)
}

// contextThatEndsAtCommit is that of a caller who is gone when the next commit is
// done. stop gives the hub its store back.
func contextThatEndsAtCommit(h *house) (gone context.Context, stop func()) {
	gone, leave := context.WithCancel(ctx)
	documents := h.config.Documents
	h.config.Documents = leaving{documents, leave}
	return gone, func() { leave(); h.config.Documents = documents }
}
