package device_test

import (
	"encoding/json"
	"errors"
	"net"
	"reflect"
	"testing"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/wire/mqtt"
)

func TestTwin(t *testing.T) {
	f := newFixture(t)
	options := f.sasDevice("lamp")
	type notice struct {
		version int64
		patch   json.RawMessage
	}
	notices := make(chan notice, 1)
	options.OnDesired = func(version int64, patch json.RawMessage) { notices <- notice{version, patch} }
	client := f.connect(options)

	version, err := client.Report(f.ctx, json.RawMessage(`{"power":"on","room":null}`))
	if err != nil || version != 2 {
		t.Fatalf("reporting returned version %d and %v, want 2", version, err)
	}
	if _, err := f.Hub.PatchTwin(f.ctx, "lamp", json.RawMessage(`{"properties":{"desired":{"colour":"red"}}}`),
		""); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-notices:
		if want := `{"$version":2,"colour":"red"}`; got.version != 2 || canonical(t, got.patch) != want {
			t.Errorf("told of version %d with %s, want 2 with %s", got.version, got.patch, want)
		}
	case <-client.Ended():
		t.Fatal(client.Err())
	}
	desired, reported, err := client.Twin(f.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := canonical(t, desired), `{"$version":2,"colour":"red"}`; got != want {
		t.Errorf("desired is %s, want %s", got, want)
	}
	if got, want := canonical(t, reported), `{"$version":2,"power":"on"}`; got != want {
		t.Errorf("reported is %s, want %s", got, want)
	}
}

// TestOnMessage has a device get what a back end sends to it, also what waits for it.
func TestOnMessage(t *testing.T) {
	f := newFixture(t)
	options := f.sasDevice("lamp")
	send := func(message contract.DeviceMessage) {
		t.Helper()
		if _, err := f.Hub.SendMessage(f.ctx, "lamp", message); err != nil {
			t.Fatal(err)
		}
	}
	send(contract.DeviceMessage{MessageID: "m 1", CorrelationID: "c/1", ContentType: "application/json", Ack: "full",
		UserID: "me", Properties: map[string]string{"größe": "a&b=c", "empty": ""}, Payload: `{"on":true}`})
	messages := make(chan device.Message)
	options.OnMessage = func(m device.Message) { messages <- m }
	client := f.connect(options)
	next := func() (m device.Message) {
		select {
		case m = <-messages:
		case <-client.Ended():
			t.Fatal(client.Err())
		}
		return m
	}
	want := device.Message{MessageID: "m 1", CorrelationID: "c/1", ContentType: "application/json",
		Properties: map[string]string{"größe": "a&b=c", "empty": ""}, Payload: []byte(`{"on":true}`)}
	if got := next(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	send(contract.DeviceMessage{PayloadBase64: []byte{0xff, 0}})
	if got := next(); string(got.Payload) != "\xff\x00" {
		t.Errorf("got %+v", got)
	}
}

// canonical sorts the names of a JSON object.
func canonical(t *testing.T, text json.RawMessage) string {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal(text, &object); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	sorted, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return string(sorted)
}

func TestReportRefused(t *testing.T) {
	f := newFixture(t)
	client := f.connect(f.sasDevice("lamp"))
	_, err := client.Report(f.ctx, json.RawMessage(`["not an object"]`))
	var problem *fault.Error
	if !errors.As(err, &problem) || problem.Code != fault.ArgumentInvalid || problem.Message == "" ||
		problem.TrackingID == "" {
		t.Errorf("got %#v, want fault 400004 with message and tracking id", err)
	}
	// The connection is still good.
	if err := client.Send(f.ctx, device.Message{Payload: []byte("hello")}); err != nil {
		t.Error(err)
	}
}

func TestConnectRefused(t *testing.T) {
	f := newFixture(t)
	wrongKey := f.sasDevice("lamp")
	wrongKey.SASKey = credential.NewKey(32)
	unknown := f.sasDevice("lamp-2")
	unknown.DeviceID = "nobody"
	for name, options := range map[string]device.HubOptions{"wrong key": wrongKey, "unknown device": unknown} {
		client, err := device.Connect(f.ctx, options)
		var refused *mqtt.RefusedError
		if !errors.As(err, &refused) || refused.Code != mqtt.NotAuthorized {
			t.Errorf("%s: got %v and %v, want CONNACK 5", name, client, err)
		}
	}
	distrustful := f.sasDevice("lamp-3")
	distrustful.RootCAs = nil // the system's
	if client, err := device.Connect(f.ctx, distrustful); err == nil {
		client.Close()
		t.Error("connected to a server whose authority is not trusted")
	}
}

// The newest connection of a device wins.
func TestClientEnded(t *testing.T) {
	f := newFixture(t)
	options := f.sasDevice("lamp")
	first := f.connect(options)
	second := f.connect(options)
	<-first.Ended()
	if err := first.Err(); err == nil {
		t.Error("the first connection does not say why it ended")
	}
	if err := first.Send(f.ctx, device.Message{}); err == nil {
		t.Error("sent on a connection that has ended")
	}
	if err := second.Send(f.ctx, device.Message{}); err != nil {
		t.Error(err)
	}
	if err := second.Close(); err != nil || !errors.Is(second.Err(), net.ErrClosed) {
		t.Errorf("Close returned %v and the end was for %v, want net.ErrClosed", err, second.Err())
	}
}
