package server

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/wire/mqtt"
)

// brittle is a clock that panics, once, when it is asked by a certain function.
type brittle struct {
	mutex sync.Mutex
	asker string // the end of a function's name; "" for nobody
	skip  int    // so many times it is answered before
}

func (b *brittle) breakFor(asker string, skip int) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.asker, b.skip = asker, skip
}

func (b *brittle) now() time.Time {
	pcs := make([]uintptr, 1)
	runtime.Callers(2, pcs)
	caller, _ := runtime.CallersFrames(pcs).Next()
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if b.asker != "" && strings.HasSuffix(caller.Function, b.asker) {
		if b.skip--; b.skip < 0 {
			b.asker = ""
			panic("the clock is broken")
		}
	}
	return time.Now()
}

// lines keeps what a server logs.
type lines struct {
	mutex sync.Mutex
	all   []string
}

func (l *lines) Write(b []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.all = append(l.all, string(b))
	return len(b), nil
}

// take returns the lines since the last time that say all of the texts.
func (l *lines) take(texts ...string) (found []string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for _, line := range l.all {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			found = append(found, line)
		}
	}
	l.all = nil
	return found
}

// until waits for a condition that another goroutine brings about.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain: " + what)
		}
	}
}

// figure reads one of the server's metrics.
func (h *fixture) figure(name string) string {
	h.t.Helper()
	response, err := http.Get(strings.TrimSuffix(h.Info().PortalURL, "/") + "/metrics")
	if err != nil {
		h.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	h.t.Fatalf("there is no metric %s", name)
	return ""
}

// open opens a connection for MQTT, over a WebSocket or not.
func (h *fixture) open(webSocket bool) net.Conn {
	h.t.Helper()
	if !webSocket {
		conn, err := h.dial(nil)
		if err != nil {
			h.t.Fatal(err)
		}
		return conn
	}
	transport := &http.Transport{DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{RootCAs: h.roots, ServerName: "localhost"}}
	address := fmt.Sprintf("wss://127.0.0.1:%d/$iothub/websocket", h.Info().Ports.HTTPS)
	socket, _, err := websocket.Dial(context.Background(), address,
		&websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}, Subprotocols: []string{"mqtt"}})
	if err != nil {
		h.t.Fatal(err)
	}
	return websocket.NetConn(context.Background(), socket, websocket.MessageBinary)
}

// connectToken connects a device that shows a token.
func (h *fixture) connectToken(conn net.Conn, id, token string,
	receive func(topic string, payload []byte)) (*mqtt.Client, error) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	connect := &mqtt.Connect{ClientID: id, Username: "127.0.0.1/" + id + "/?api-version=2021-04-12",
		Password: []byte(token), HasPassword: true, CleanSession: true, KeepAlive: 60}
	client, _, err := mqtt.NewClient(ctx, conn, connect, receive)
	if err == nil {
		h.t.Cleanup(client.Abort)
	}
	return client, err
}

// A panic behind any door ends the connection or request that it happened in, is
// logged with its stack and counted, and leaves nothing: no device that counts as
// connected, no lock, no server that has ended. Another device goes on all the time.
func TestPanicEndsConnection(t *testing.T) {
	clock, logged := new(brittle), new(lines)
	h := &fixture{t: t,
		config: Config{DataDir: t.TempDir(), Host: "localhost", HubHost: "127.0.0.1", Listen: "127.0.0.1",
			Now: clock.now, Logger: slog.New(slog.NewTextHandler(logged, nil))}}
	clock.breakFor("audit.(*Log).Prune", 0) // a part of the first sweep
	h.start()
	t.Cleanup(h.stop)
	until(t, "the sweep has panicked", func() bool { return h.figure(`berth_panics_total{door="background"}`) == "1" })

	ctx := context.Background()
	keys := validKeys(t, "honest")
	h.enroll(keys)
	if registered := h.provision(&keys, h.Info().IDScope, "honest").ask(registerTopic,
		`{"registrationId":"honest"}`); !strings.Contains(registered.topic, "/res/200/") {
		t.Fatalf("registering is answered %+v", registered)
	}
	honest := h.berth(&keys, "honest")
	honest.subscribe("$iothub/twin/res/#")
	device, err := h.hub.CreateDevice(ctx, identity.Device{DeviceID: "d1"})
	if err != nil {
		t.Fatal(err)
	}
	token, err := credential.NewToken("127.0.0.1/devices/d1", "", *device.Authentication.SymmetricKey.PrimaryKey,
		time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}

	connect := func(webSocket bool) func() error {
		return func() error {
			client, err := h.connectToken(h.open(webSocket), "d1", token, nil)
			if err == nil {
				client.Disconnect()
			}
			return err
		}
	}
	publish := func(webSocket bool) func() error {
		return func() error {
			client, err := h.connectToken(h.open(webSocket), "d1", token, nil)
			if err != nil {
				t.Fatal(err)
			}
			told := make(chan error, 1)
			if err := client.Publish("devices/d1/messages/events/", []byte("x"), 1,
				func(err error) { told <- err }); err != nil {
				return err
			}
			err = <-told
			client.Disconnect()
			return err
		}
	}
	patch := func() error { // a request that clients do not repeat by themselves
		_, err := h.hub.PatchTwin(ctx, "d1", json.RawMessage(`{"tags":{"a":1}}`), "")
		return err
	}
	bulks := 0
	bulk := func() error { // several goroutines of one request
		bulks++
		var enrollments []enroll.Enrollment
		for i := range 3 {
			enrollments = append(enrollments, enroll.Enrollment{RegistrationID: fmt.Sprintf("bulk-%d-%d", bulks, i),
				Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "symmetricKey"}}})
		}
		failed, err := h.provisioning.BulkEnrollments(ctx, backend.BulkCreate, enrollments)
		if len(failed) > 0 {
			err = fmt.Errorf("%+v", failed)
		}
		return err
	}
	page := func() error {
		link, err := h.LoginLink(ctx, "")
		if err != nil {
			return err
		}
		response, err := http.Get(link.URL)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode >= 500 {
			return fmt.Errorf("status %d", response.StatusCode)
		}
		return nil
	}
	gone := func() bool {
		seen, err := h.hub.Device(ctx, "d1")
		return err == nil && seen.ConnectionState == "Disconnected" &&
			h.figure(`berth_hub_connected_devices{hub="berth"}`) == "1"
	}
	for _, c := range []struct {
		door, asker string
		skip        int
		do          func() error
	}{
		{"mqtt", "connection.(*Connections).OpenSession", 0, connect(false)},
		{"mqtt", "connection.(*Session).validate", 0, connect(false)}, // the session can be found already
		{"websocket", "connection.(*Session).validate", 0, connect(true)},
		{"mqtt", "connection.(*Session).markActive", 1, publish(false)},
		{"websocket", "connection.(*Session).markActive", 1, publish(true)},
		{"mqtt", "connection.(*activity).leave", 0, publish(false)}, // the end of a connection
		{"https", "access.(*Policies).Authorize", 0, patch},
		{"https", "enroll.(*Enrollments).write", 0, bulk},
		{"portal", "web.(*sessions).login", 0, page},
	} {
		t.Run(c.door+" "+c.asker, func(t *testing.T) {
			logged.take()
			metric := fmt.Sprintf("berth_panics_total{door=%q}", c.door)
			before := h.figure(metric)
			clock.breakFor(c.asker, c.skip)
			err := c.do()
			if err == nil && !strings.HasSuffix(c.asker, "leave") {
				t.Error("no panic showed")
			}
			until(t, "the panic is counted", func() bool { return h.figure(metric) != before })
			told := logged.take("level=ERROR", "msg=panic", "door="+c.door, "the clock is broken", c.asker)
			if len(told) != 1 {
				t.Errorf("%d lines tell of the panic: %s", len(told), told)
			}
			until(t, "the device is not connected", gone)
			if twin := honest.ask("$iothub/twin/GET/?$rid=1", ""); !strings.Contains(twin.topic, "/res/200/") {
				t.Errorf("the honest device is answered %+v", twin)
			}
			// The same again, with a clock that is whole.
			if err := c.do(); err != nil {
				t.Errorf("afterwards: %v", err)
			}
			until(t, "the connections have ended", gone) // else the next one ends them, and breaks for it
		})
	}
}
