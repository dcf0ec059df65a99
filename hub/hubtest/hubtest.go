// Package hubtest opens a hub on real engines for the tests of package hub and of the
// packages below it.
package hubtest

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-iot/berth/clock/clocktest"
	"github.com/berth-iot/berth/cluster"
	"github.com/berth-iot/berth/cluster/local"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/connection"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/job"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/pebble"
	"github.com/berth-iot/berth/store/segment"
)

// Noon is when a hub is opened first.
var Noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// Hub is a hub named test at hub.local, which can be closed and opened again. What fails
// in a method fails T.
type Hub struct {
	*hub.Hub
	clocktest.Clock // that the hub goes by

	T         testing.TB // a subtest may put itself here
	Documents *Documents
	Issuer    *issuance.Service
	Bus       cluster.Bus

	// WrapTelemetry is asked for the log of telemetry when the hub is opened again; nil
	// leaves it as it is.
	WrapTelemetry func(store.Log) store.Log

	Blobs job.Blobs // of the hub when it is opened again; nil for none

	// NoEvents leaves the events out when the hub is opened again.
	NoEvents bool

	dir   string
	close func()
}

// New opens a new hub, and closes it at the end of the test.
func New(t testing.TB) *Hub {
	t.Helper()
	h := &Hub{T: t, dir: t.TempDir()}
	h.Set(Noon)
	h.open()
	t.Cleanup(func() { h.close() })
	return h
}

func (h *Hub) open() {
	h.T.Helper()
	documents, err := pebble.Open(h.dir+"/documents", pebble.Options{})
	if err != nil {
		h.T.Fatal(err)
	}
	logs, err := segment.Open(h.dir+"/logs", segment.Options{Now: h.Now})
	if err != nil {
		h.T.Fatal(err)
	}
	telemetry, err := logs.Open("telemetry", store.LogOptions{Partitions: 4})
	if err != nil {
		h.T.Fatal(err)
	}
	events, err := logs.Open("events", store.LogOptions{Partitions: 1})
	if err != nil {
		h.T.Fatal(err)
	}
	if h.NoEvents {
		events = nil
	}
	if h.WrapTelemetry != nil {
		telemetry = h.WrapTelemetry(telemetry)
	}
	h.Issuer, err = issuance.Open(context.Background(), issuance.Config{Documents: documents, Now: h.Now})
	if err != nil {
		h.T.Fatal(err)
	}
	h.Documents, h.Bus = &Documents{Documents: documents}, local.New()
	h.Hub, err = hub.Open(context.Background(), hub.Config{Name: "test", Host: "hub.local", Documents: h.Documents,
		Telemetry: telemetry, Events: events, Bus: h.Bus, Issuer: h.Issuer, Now: h.Now,
		Logger: slog.New(slog.DiscardHandler), Blobs: h.Blobs})
	if err != nil {
		h.T.Fatal(err)
	}
	h.Issuer.OnRevoke(h.Connections().EndRevoked)
	h.close = func() {
		h.T.Helper()
		if err := errors.Join(h.Hub.Close(context.Background()), logs.Close(), documents.Close()); err != nil {
			h.T.Error(err)
		}
	}
}

// Reopen closes the hub and opens it again on what it has stored.
func (h *Hub) Reopen() {
	h.T.Helper()
	h.close()
	h.open()
}

// Create adds a device.
func (h *Hub) Create(d identity.Device) identity.Device {
	h.T.Helper()
	created, err := h.CreateDevice(context.Background(), d)
	if err != nil {
		h.T.Fatal(err)
	}
	return created
}

// Token makes a token with a device's own key, good for an hour.
func (h *Hub) Token(d identity.Device) string {
	h.T.Helper()
	token, err := credential.NewToken("hub.local/devices/"+d.DeviceID, "", *d.Authentication.SymmetricKey.PrimaryKey,
		h.Now().Add(time.Hour))
	if err != nil {
		h.T.Fatal(err)
	}
	return token
}

// Connect opens a session with a device's token, and closes it at the end of the test.
func (h *Hub) Connect(d identity.Device, keep bool) (*connection.Session, *Line) {
	h.T.Helper()
	down := new(Line)
	session, err := h.Connections().OpenSession(context.Background(), d.DeviceID,
		credential.Evidence{Token: h.Token(d)}, keep, down)
	if err != nil {
		h.T.Fatal(err)
	}
	h.T.Cleanup(func() { session.Close(nil) })
	return session, down
}

// Send sends a message and waits until it is durable.
func (h *Hub) Send(s *connection.Session, m message.Message) {
	h.T.Helper()
	done := make(Settled, 1)
	if err := s.Send(&m, done, 1); err != nil {
		h.T.Fatal(err)
	}
	if err := <-done; err != nil {
		h.T.Fatal(err)
	}
}

// Settled is a store.Committer that gets what became of each message.
type Settled chan error

// Committed implements store.Committer.
func (s Settled) Committed(_ uint64, _ store.Position, err error) { s <- err }

// Line is a device's connection as the hub sees it: it remembers what came down.
type Line struct {
	mutex    sync.Mutex
	desired  []string
	messages int
	reasons  []error
	calls    []Call
	refusal  error
}

// Call is a call of a method that a device was handed.
type Call struct{ RequestID, Name, Payload string }

// Call implements connection.Downlink.
func (l *Line) Call(requestID, name string, payload []byte) error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.refusal != nil {
		return l.refusal
	}
	l.calls = append(l.calls, Call{requestID, name, string(payload)})
	return nil
}

// RefuseCalls has each call be refused with an error, nil takes them again.
func (l *Line) RefuseCalls(err error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.refusal = err
}

// Calls returns the calls that the device was handed, in their order.
func (l *Line) Calls() []Call {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return slices.Clone(l.calls)
}

// Desired implements connection.Downlink.
func (l *Line) Desired(_ int64, patch json.RawMessage) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.desired = append(l.desired, string(patch))
}

// Messages implements connection.Downlink.
func (l *Line) Messages() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.messages++
}

// Close implements connection.Downlink.
func (l *Line) Close(reason error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.reasons = append(l.reasons, reason)
}

// Notices returns the desired properties that the device was told, in their order.
func (l *Line) Notices() []string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return slices.Clone(l.desired)
}

// MessageNotices returns how often the device was told that there are messages.
func (l *Line) MessageNotices() int {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.messages
}

// Ended returns why the connection was ended, nil when it was not.
func (l *Line) Ended() error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if len(l.reasons) == 0 {
		return nil
	}
	return l.reasons[0]
}

// Documents are those of a hub. AfterCommit is called after each commit, when it is set.
type Documents struct {
	store.Documents
	AfterCommit atomic.Pointer[func()]
}

// Commit implements store.Documents.
func (d *Documents) Commit(ctx context.Context, changes ...store.Change) ([]string, error) {
	if after := d.AfterCommit.Load(); after != nil {
		defer (*after)()
	}
	return d.Documents.Commit(ctx, changes...)
}

// NewKeys returns keys that nobody has.
func NewKeys() identity.KeyPair {
	return identity.KeyPair{PrimaryKey: new(credential.NewKey(32)), SecondaryKey: new(credential.NewKey(32))}
}
