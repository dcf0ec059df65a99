package mqtt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/telemetry"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/wire/mqtt"
)

// messages waits for so many messages of a device and returns them.
func (f *fixture) messages(id string, n int) (found []telemetry.Message) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 20*time.Second)
	defer cancel()
	if err := f.Telemetry().Follow(ctx, telemetry.Position{Earliest: true}, id, func(m telemetry.Message) error {
		if found = append(found, m); len(found) == n {
			return telemetry.ErrStop
		}
		return nil
	}); err != nil {
		f.t.Fatalf("%d messages of %s after %v", len(found), id, err)
	}
	return found
}

// send publishes a message and waits until it is durable.
func (d *device) send(topic, payload string) error {
	d.t.Helper()
	acknowledged := make(chan error, 1)
	if err := d.Publish(topic, []byte(payload), 1, func(err error) { acknowledged <- err }); err != nil {
		return err
	}
	return <-acknowledged
}

// Property bags become the properties of messages, Azure's among them under the names that
// the service side has for them.
func TestTelemetryIsKeptWithItsProperties(t *testing.T) {
	f := newFixture(t)
	d := f.connect("d1", true)
	const events = "devices/d1/messages/events"
	sent := []struct {
		topic, payload, body string
		properties, system   map[string]string
	}{
		{events, "first", "first", nil, nil},
		{events + "/", "{\"n\":1}", `{"n":1}`, nil, nil},
		{events + "/level=high%20and%20rising&plain", "x", "x",
			map[string]string{"level": "high and rising", "plain": ""}, nil},
		{events + "/%24.mid=7&%24.cid=8&%24.ct=application%2Fjson&%24.ce=utf-8&a=b", `{"n":2}`, `{"n":2}`,
			map[string]string{"a": "b"}, map[string]string{"message-id": "7", "correlation-id": "8",
				"content-type": "application/json", "content-encoding": "utf-8"}},
		{"devices/d%31/messages/events/a=1", "encoded", "encoded", map[string]string{"a": "1"}, nil},
		{"devices/d%31/messages/events/a=2", "encoded", "encoded", map[string]string{"a": "2"}, nil},
		{events + "/a=3", "plain", "plain", map[string]string{"a": "3"}, nil},
	}
	for _, s := range sent {
		if err := d.send(s.topic, s.payload); err != nil {
			t.Fatalf("%s: %v", s.topic, err)
		}
	}
	for i, m := range f.messages("d1", len(sent)) {
		want := sent[i]
		if got := fmt.Sprintf("%s", m.Body); got != want.body {
			t.Errorf("%s is kept as %s", want.topic, got)
		}
		if !maps.Equal(m.Properties, want.properties) {
			t.Errorf("%s has the properties %v, want %v", want.topic, m.Properties, want.properties)
		}
		for name, value := range want.system {
			if m.SystemProperties[name] != value {
				t.Errorf("%s has %s %q, want %q", want.topic, name, m.SystemProperties[name], value)
			}
		}
	}
}

// Retained messages are not kept for subscribers; the message says that it was to be.
func TestRetainedTelemetryIsMarked(t *testing.T) {
	f := newFixture(t)
	d := f.connect("d1", false)
	d.Disconnect()
	conn := f.dialKept("d1")
	topic := text("devices/d1/messages/events/a=b")
	if _, err := conn.Write(append([]byte{0x31, byte(len(topic) + 1)}, append(topic, 'x')...)); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a": "b", "mqtt-retain": "true"}
	if got := f.messages("d1", 1)[0]; !maps.Equal(got.Properties, want) || fmt.Sprint(got.Body) != "x" {
		t.Errorf("it is kept as %+v", got)
	}
}

// Whatever is published to a topic that is none of the device's ends its connection.
func TestPublishingElsewhereEndsTheConnection(t *testing.T) {
	f := newFixture(t)
	for _, topic := range []string{
		"devices/d2/messages/events/", "devices/d1/messages/eventsX", "devices/d1/messages/devicebound/",
		"devices/d1/modules/m1/messages/events/", "anything", "$iothub/twin/GET/", "$iothub/twin/GET/?rid=1",
		"$iothub/twin/PATCH/properties/desired/?$rid=1", "$iothub/twin/PATCH/properties/reported/?",
		"$iothub/credentials/POST/issueCertificate/?id=1",
		"$iothub/twin/GET/?$rid=" + strings.Repeat("1", maxRequestID+1),
		"devices/d1/messages/events/" + strings.Repeat("a=1&", telemetry.MaxProperties+1),
	} {
		d := f.connect("d1", true)
		if err := d.send(topic, "{}"); err == nil {
			t.Errorf("%.60s is acknowledged", topic)
		}
		d.ends(topic)
	}
}

// brokenLog is a log whose disk fails.
type brokenLog struct{ store.Log }

var errDisk = errors.New("the disk is full")

func (brokenLog) Append(_ int, _ []byte, committed store.Committer, token uint64) {
	go committed.Committed(token, store.Position{}, errDisk)
}

// A message that can't be made durable is not acknowledged: the connection ends, and the
// device sends it again.
func TestTelemetryThatIsNotDurableIsNotAcknowledged(t *testing.T) {
	var log logged
	f := newFixture(t, func(config *hub.Config, served *Config) {
		config.Telemetry = brokenLog{config.Telemetry}
		served.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	d := f.connect("d1", true)
	if err := d.send("devices/d1/messages/events/", "x"); err == nil {
		t.Error("it is acknowledged")
	}
	d.ends("the connection")
	until(t, "the log says why", func() bool { return log.has("connection ended", "device=d1", errDisk.Error()) })
}

// until waits for a condition.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("not so: %s", what)
		}
	}
}

// A connection that ends without DISCONNECT leaves its will behind the device's messages; one
// that ends with it leaves none.
func TestWills(t *testing.T) {
	f := newFixture(t)
	will := func(payload string, retain bool) *mqtt.Will {
		return &mqtt.Will{Topic: "devices/d1/messages/events/%24.mid=7&a=b", Payload: []byte(payload), Retain: retain}
	}
	connect := func(will *mqtt.Will) *device {
		t.Helper()
		d, err := f.connectWith("d1", "/?api-version=2021-04-12", will)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := connect(will("not left", false))
	if err := d.send("devices/d1/messages/events/", "message"); err != nil {
		t.Fatal(err)
	}
	d.Disconnect()
	// Else the next connection takes over this one.
	until(t, "the server has read DISCONNECT", func() bool { return f.Stats().Connected == 0 })
	connect(will("lost", false)).Abort()
	f.messages("d1", 2) // the server notices a loss, and leaves the will, behind the client's back
	taken := connect(will("taken over", true))
	connect(nil).Disconnect()
	taken.ends("a connection that another one takes over")
	f.messages("d1", 3)
	wrong := connect(will("expelled", false))
	if err := wrong.Publish("anything", nil, 0, nil); err != nil {
		t.Fatal(err)
	}
	wrong.ends("a connection that publishes elsewhere")

	got := f.messages("d1", 4)
	for i, want := range []struct {
		body       string
		properties map[string]string
	}{
		{"message", nil},
		{"lost", map[string]string{"a": "b", "iothub-MessageType": "Will"}},
		{"taken over", map[string]string{"a": "b", "iothub-MessageType": "Will", "mqtt-retain": "true"}},
		{"expelled", map[string]string{"a": "b", "iothub-MessageType": "Will"}},
	} {
		if fmt.Sprint(got[i].Body) != want.body || !maps.Equal(got[i].Properties, want.properties) {
			t.Errorf("message %d is %v with %v, want %s with %v", i, got[i].Body, got[i].Properties, want.body,
				want.properties)
		}
		if i > 0 && got[i].SystemProperties["message-id"] != "7" {
			t.Errorf("the will %s has the system properties %v", want.body, got[i].SystemProperties)
		}
	}
}

// A will may go where the device's telemetry goes, and nowhere else.
func TestWillsThatGoElsewhereAreRefused(t *testing.T) {
	f := newFixture(t)
	for _, topic := range []string{"devices/d2/messages/events/", "will", "$iothub/twin/GET/?$rid=1",
		"devices/d1/messages/events/a=%zz"} {
		_, err := f.connectWith("d1", "/?api-version=2021-04-12", &mqtt.Will{Topic: topic})
		var refused *mqtt.RefusedError
		if !errors.As(err, &refused) || refused.Code != mqtt.NotAuthorized {
			t.Errorf("a will to %s: %v", topic, err)
		}
	}
}

// The newest connection of a device takes the place of the one before; a device that is
// disabled or deleted is disconnected.
func TestConnectionsEnd(t *testing.T) {
	f := newFixture(t)
	first := f.connect("d1", true)
	second := f.connect("d1", true)
	first.ends("the first connection")
	if err := second.send("devices/d1/messages/events/", "x"); err != nil {
		t.Errorf("the second connection: %v", err)
	}
	known, err := f.Device(t.Context(), "d1")
	if err != nil {
		t.Fatal(err)
	}
	known.Status = "disabled"
	if _, err := f.UpdateDevice(t.Context(), known, "*"); err != nil {
		t.Fatal(err)
	}
	second.ends("the connection of a device that is disabled")
	if _, err := f.connectWith("d1", "/?api-version=2021-04-12", nil); err == nil {
		t.Error("a device that is disabled is let in")
	}
	other := f.connect("d2", true)
	if err := f.DeleteDevice(t.Context(), "d2", "*"); err != nil {
		t.Fatal(err)
	}
	other.ends("the connection of a device that is deleted")
}

// CONNACK tells a client to come back (3) of what passes, and else to change something (5).
func TestConnectCodes(t *testing.T) {
	for code, want := range map[fault.Code]mqtt.ConnectCode{
		fault.Throttled: mqtt.ServerUnavailable, fault.Internal: mqtt.ServerUnavailable,
		fault.Unauthorized: mqtt.NotAuthorized, fault.HubNotFound: mqtt.NotAuthorized,
		fault.ArgumentInvalid: mqtt.NotAuthorized,
	} {
		if got := ConnectCode(fault.New(code, "no")); got != want {
			t.Errorf("%v is answered %d, want %d", code, got, want)
		}
	}
}
