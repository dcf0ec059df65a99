package mqtt

import (
	"bytes"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub/c2d"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/wire/mqtt"
)

// module creates a module with the device that it is of, and returns a token that it makes
// with its key.
func (f *fixture) module(deviceID, moduleID string) (identity.Module, string) {
	f.t.Helper()
	if _, err := f.CreateDevice(f.t.Context(), identity.Device{DeviceID: deviceID}); err != nil {
		f.t.Fatal(err)
	}
	m, err := f.CreateModule(f.t.Context(), identity.Module{DeviceID: deviceID, ModuleID: moduleID})
	if err != nil {
		f.t.Fatal(err)
	}
	token, err := credential.NewToken(credential.ModuleResource("hub.local", deviceID, moduleID).String(), "",
		*m.Authentication.SymmetricKey.PrimaryKey, time.Now().Add(time.Hour))
	if err != nil {
		f.t.Fatal(err)
	}
	return m, token
}

// TestModule connects a module under the names that clients use, sends to an output, and
// has it told of its messages and desired properties.
func TestModule(t *testing.T) {
	for _, c := range []struct{ deviceID, moduleID, username, events string }{
		{"d1", "m1", "hub.local/d1/m1/?api-version=2021-04-12&DeviceClientType=py", "devices/d1/modules/m1/"},
		{"d1", "m1", "hub.local/d1/m1/api-version=2016-11-14", "devices/d1/modules/m1/"},
		{"d#1", "m%25", "hub.local/d#1/m%25/?api-version=2021-04-12", "devices/d%231/modules/m%2525/"},
		{"d#1", "m#", "hub.local/d%231/m%23/?api-version=2021-04-12", "devices/d%231/modules/m%23/"},
	} {
		t.Run(c.username, func(t *testing.T) {
			f, ctx := newFixture(t), t.Context()
			_, token := f.module(c.deviceID, c.moduleID)
			id := c.deviceID + "/" + c.moduleID
			d := f.connectAs(id, c.username, token, false)
			below := c.events
			codes, err := d.Subscribe(ctx,
				mqtt.Subscription{Filter: below + "inputs/#", QoS: 1},
				mqtt.Subscription{Filter: below + "messages/devicebound/#", QoS: 1},
				mqtt.Subscription{Filter: below + "#", QoS: 1},
				mqtt.Subscription{Filter: "$iothub/twin/PATCH/properties/desired/#", QoS: 1},
				mqtt.Subscription{Filter: "devices/" + below[len("devices/"):strings.Index(below, "/modules")] +
					"/messages/devicebound/#", QoS: 1},
				mqtt.Subscription{Filter: "devices/d1/modules/other/inputs/#", QoS: 1})
			if err != nil || !bytes.Equal(codes, []byte{1, 1, 1, 1, mqtt.Refused, mqtt.Refused}) {
				t.Fatalf("the subscriptions are granted %v, error %v", codes, err)
			}
			if err := d.send(c.events+"messages/events/%24.on=out&level=1/", "21"); err != nil {
				t.Fatal(err)
			}
			sent, err := f.Telemetry().Recent(ctx, id, 5)
			if err != nil || len(sent) != 1 || sent[0].DeviceID != c.deviceID || sent[0].ModuleID != c.moduleID ||
				sent[0].SystemProperties["iothub-outputname"] != "out" || sent[0].Properties["level"] != "1" {
				t.Errorf("readers get %+v, error %v", sent, err)
			}
			if _, err := f.PatchTwin(ctx, id, []byte(`{"properties":{"desired":{"a":1}}}`), ""); err != nil {
				t.Fatal(err)
			}
			if got := d.next(); !strings.HasPrefix(got.topic, "$iothub/twin/PATCH/properties/desired/") {
				t.Errorf("the module gets %s on %s", got.payload, got.topic)
			}
			if _, err := f.SendMessage(ctx, id, c2d.Outgoing{MessageID: "1",
				Message: message.Message{Payload: []byte("open")}}); err != nil {
				t.Fatal(err)
			}
			if got := d.next(); string(got.payload) != "open" ||
				!strings.HasPrefix(got.topic, below+"messages/devicebound/%24.mid=1&%24.to=") {
				t.Errorf("the module gets %s on %s", got.payload, got.topic)
			}
			if err := d.Disconnect(); err != nil && !errors.Is(err, net.ErrClosed) {
				t.Fatal(err)
			}
			if again := f.connectAs(id, c.username, token, false); !again.present {
				t.Error("the subscriptions of the module are not kept")
			}
		})
	}
}

// TestModulePublishesForOthers ends the connection of a module, or of its device, that sends
// telemetry in the name of the other.
func TestModulePublishesForOthers(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	_, token := f.module("d1", "m1")
	for name, c := range map[string]struct {
		d     *device
		topic string
	}{
		"a module for its device": {f.connectAs("d1/m1", "hub.local/d1/m1/?api-version=2021-04-12", token, true),
			"devices/d1/messages/events/"},
		"a device for its module": {f.connect("d1", true), "devices/d1/modules/m1/messages/events/"},
	} {
		if err := c.d.send(c.topic, "21"); err == nil {
			t.Errorf("%s may publish", name)
		}
	}
	if sent, err := f.Telemetry().Recent(ctx, "", 5); err != nil || len(sent) > 0 {
		t.Errorf("readers get %+v, error %v", sent, err)
	}
}

// TestModuleRefused: there must be the module, and the names must be the same.
func TestModuleRefused(t *testing.T) {
	f := newFixture(t)
	_, token := f.module("d1", "m1")
	for _, c := range []struct{ clientID, username string }{
		{"d1/m2", "hub.local/d1/m2/?api-version=2021-04-12"},
		{"d2/m1", "hub.local/d2/m1/?api-version=2021-04-12"},
		{"d1", "hub.local/d1/m1/?api-version=2021-04-12"},
		{"d1/m1", "hub.local/d1/?api-version=2021-04-12"},
		{"d1/m1", "hub.local/d1/m1/x/?api-version=2021-04-12"},
	} {
		conn, err := net.Dial("tcp", f.address)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = mqtt.NewClient(t.Context(), conn, &mqtt.Connect{ClientID: c.clientID, Username: c.username,
			Password: []byte(token), HasPassword: true, CleanSession: true, KeepAlive: 60}, nil)
		var refused *mqtt.RefusedError
		if !errors.As(err, &refused) {
			t.Errorf("%s as %s: %v", c.username, c.clientID, err)
		}
		conn.Close()
	}
}
