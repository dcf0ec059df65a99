package mqtt

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/wire/mqtt"
)

// connectWith connects a device, which is created when it is not there, with parameters
// in its user name and a will.
func (f *fixture) connectWith(id, parameters string, will *mqtt.Will) (*device, error) {
	f.t.Helper()
	known, err := f.Device(f.t.Context(), id)
	if err != nil {
		if known, err = f.CreateDevice(f.t.Context(), identity.Device{DeviceID: id}); err != nil {
			f.t.Fatal(err)
		}
	}
	token, err := credential.NewToken("hub.local/devices/"+id, "", *known.Authentication.SymmetricKey.PrimaryKey,
		time.Now().Add(time.Hour))
	if err != nil {
		f.t.Fatal(err)
	}
	conn, err := net.Dial("tcp", f.address)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close() })
	d := &device{t: f.t, messages: make(chan received, 100)}
	connect := &mqtt.Connect{ClientID: id, Username: "hub.local/" + id + parameters, Password: []byte(token),
		HasPassword: true, CleanSession: true, KeepAlive: 60, Will: will}
	d.Client, _, err = mqtt.NewClient(f.t.Context(), conn, connect, func(topic string, payload []byte) {
		d.messages <- received{topic, payload}
	})
	if err == nil {
		f.t.Cleanup(d.Abort)
	}
	return d, err
}

// twinDevice is a device that has subscribed to all of its twin.
func (f *fixture) twinDevice(id string) *device {
	f.t.Helper()
	d := f.connect(id, true)
	if _, err := d.Subscribe(f.t.Context(), mqtt.Subscription{Filter: "$iothub/twin/res/#", QoS: 1},
		mqtt.Subscription{Filter: "$iothub/twin/PATCH/properties/desired/#", QoS: 1}); err != nil {
		f.t.Fatal(err)
	}
	return d
}

// ask publishes and returns the answer as it is on the wire.
func (d *device) ask(topic, payload string) string {
	d.t.Helper()
	if err := d.Publish(topic, []byte(payload), 0, nil); err != nil {
		d.t.Fatal(err)
	}
	answer := d.next()
	return strings.TrimSpace(answer.topic + " " + string(answer.payload))
}

const (
	getTwin      = "$iothub/twin/GET/?$rid=1"
	reportTwin   = "$iothub/twin/PATCH/properties/reported/?$rid=1"
	twinAnswered = "$iothub/twin/res/200/?$rid=1 "
	reportTaken  = "$iothub/twin/res/204/?$rid=1&$version="
)

// A device reads members in the order in which they were written, and $version last,
// with the bytes of numbers and strings as they came.
func TestTwinsKeepTheirOrderOnTheWire(t *testing.T) {
	f := newFixture(t)
	d := f.twinDevice("d1")
	patch := func(desired, want string) {
		t.Helper()
		if _, err := f.PatchTwin(t.Context(), "d1", json.RawMessage(`{"properties":{"desired":`+desired+`}}`),
			""); err != nil {
			t.Fatal(err)
		}
		if told := d.next(); string(told.payload) != want {
			t.Errorf("the device is told %s, want %s", told.payload, want)
		}
	}
	patch(`{ "zone": {"z":1.10, "a":1e16, "<m>":"\u00e9é"}, "alarm": true }`,
		`{"zone":{"z":1.10,"a":1e16,"<m>":"\u00e9é"},"alarm":true,"$version":2}`)
	patch(`{"middle":9007199254740993.0,"zone":{"z":null,"b":-0}}`,
		`{"middle":9007199254740993.0,"zone":{"z":null,"b":-0},"$version":3}`)
	patch(`{"zone":{"z":[3,{"y":1,"x":2}]},"alarm":null}`, `{"zone":{"z":[3,{"y":1,"x":2}]},"alarm":null,"$version":4}`)
	patch(`{"alarm":"again"}`, `{"alarm":"again","$version":5}`)
	for i, report := range []string{`{"z":{"b":1,"a":2.0},"y":"&"}`, `{"x":0,"z":{"c":3}}`} {
		if got, want := d.ask(reportTwin, report), fmt.Sprint(reportTaken, i+2); got != want {
			t.Fatalf("%s is answered %s", report, got)
		}
	}
	const want = `{"desired":{"zone":{"a":1e16,"<m>":"\u00e9é","b":-0,"z":[3,{"y":1,"x":2}]},"middle":9007199254740993.0,"alarm":"again","$version":5},` +
		`"reported":{"z":{"b":1,"a":2.0,"c":3},"y":"&","x":0,"$version":3}}`
	if got := d.ask(getTwin, ""); got != twinAnswered+want {
		t.Errorf("the twin is %s\nwant %s", got, want)
	}
	// All of it in another order, by a replacement.
	if _, err := f.ReplaceTwin(t.Context(), "d1",
		json.RawMessage(`{"properties":{"desired":{"b":{"d":1,"c":2},"a":3}}}`), ""); err != nil {
		t.Fatal(err)
	}
	if told := d.next(); string(told.payload) != `{"b":{"d":1,"c":2},"a":3,"$version":6}` {
		t.Errorf("the device is told %s", told.payload)
	}
}
