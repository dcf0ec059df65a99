package mqtt

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-iot/berth/cluster/local"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/pebble"
	"github.com/berth-iot/berth/store/segment"
	"github.com/berth-iot/berth/wire/mqtt"
)

// counted is documents that count their commits.
type counted struct {
	store.Documents
	commits atomic.Int64
}

func (c *counted) Commit(ctx context.Context, changes ...store.Change) ([]string, error) {
	c.commits.Add(1)
	return c.Documents.Commit(ctx, changes...)
}

// fixture is a hub on real engines that serves MQTT on a free port, without TLS.
type fixture struct {
	*hub.Hub
	t         testing.TB
	documents *counted
	server    *mqtt.Server
	address   string
}

func newFixture(t testing.TB, configure ...func(*hub.Config, *Config)) *fixture {
	t.Helper()
	documents, err := pebble.Open(t.TempDir(), pebble.Options{})
	if err != nil {
		t.Fatal(err)
	}
	logs, err := segment.Open(t.TempDir(), segment.Options{})
	if err != nil {
		t.Fatal(err)
	}
	telemetry, err := logs.Open("telemetry", store.LogOptions{Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, documents: &counted{Documents: documents}}
	logger := slog.New(slog.DiscardHandler)
	hubs := hub.NewDirectory()
	config := hub.Config{Name: "test", Host: "hub.local", Documents: f.documents, Telemetry: telemetry,
		Bus: local.New(), Now: time.Now, Logger: logger}
	served := Config{Hubs: hubs, Logger: logger}
	for _, change := range configure {
		change(&config, &served)
	}
	if f.Hub, err = hub.Open(context.Background(), config); err != nil {
		t.Fatal(err)
	}
	hubs.Add(f.Hub)
	f.server = &mqtt.Server{Backend: New(served), Logger: logger}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.address = listener.Addr().String()
	ended := make(chan error, 1)
	go func() { ended <- f.server.Serve(listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		shutdown, served := f.server.Shutdown(ctx), <-ended
		if errors.Is(served, mqtt.ErrShutdown) {
			served = listener.Close() // the test was over before it was served
		}
		if err := errors.Join(shutdown, served, f.Hub.Close(ctx), logs.Close(), documents.Close()); err != nil {
			t.Error(err)
		}
	})
	return f
}

// received is a message that a device got.
type received struct {
	topic   string
	payload []byte
}

// device is a client whose messages can be waited for.
type device struct {
	*mqtt.Client
	t        testing.TB
	present  bool // the hub had kept its session
	messages chan received
}

// connect creates the device when it is not there, and connects it.
func (f *fixture) connect(id string, clean bool) *device {
	f.t.Helper()
	created, err := f.Device(f.t.Context(), id)
	if err != nil {
		if created, err = f.CreateDevice(f.t.Context(), identity.Device{DeviceID: id}); err != nil {
			f.t.Fatal(err)
		}
	}
	return f.connectAs(id, "hub.local/"+id+"/?api-version=2021-04-12", f.token(created), clean)
}

// token is one that the device makes with its key.
func (f *fixture) token(of identity.Device) string {
	f.t.Helper()
	token, err := credential.NewToken("hub.local/devices/"+of.DeviceID, "",
		*of.Authentication.SymmetricKey.PrimaryKey, time.Now().Add(time.Hour))
	if err != nil {
		f.t.Fatal(err)
	}
	return token
}

// connectAs connects a device that is there by its client id and this user name.
func (f *fixture) connectAs(id, username, token string, clean bool) *device {
	f.t.Helper()
	conn, err := net.Dial("tcp", f.address)
	if err != nil {
		f.t.Fatal(err)
	}
	d := &device{t: f.t, messages: make(chan received, 1000)}
	connect := &mqtt.Connect{ClientID: id, Username: username, Password: []byte(token), HasPassword: true,
		CleanSession: clean, KeepAlive: 60}
	d.Client, d.present, err = mqtt.NewClient(f.t.Context(), conn, connect,
		func(topic string, payload []byte) { d.messages <- received{topic, payload} })
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(d.Abort)
	return d
}

func (d *device) next() received {
	d.t.Helper()
	select {
	case message := <-d.messages:
		return message
	case <-d.Ended():
		d.t.Fatalf("the connection ended: %v", d.Err())
	case <-time.After(20 * time.Second):
		d.t.Fatal("no message came")
	}
	return received{}
}
