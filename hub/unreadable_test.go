package hub_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/connection"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/store"
)

// damage leaves a record that is none in a collection of the hub.
func (h *fixture) damage(collection, key string) {
	h.T.Helper()
	damaged := store.Change{Collection: "hub/test/" + collection, Key: key, Value: []byte(`"?"`)}
	if _, err := h.Documents.Commit(ctx, damaged); err != nil {
		h.T.Fatal(err)
	}
}

// TestDeleteUnreadable: what goes with a record that can't be read depends on what it was,
// and the hub works as ever afterwards.
func TestDeleteUnreadable(t *testing.T) {
	h := newFixture(t)
	remove := func(collection, key string, want bool) {
		t.Helper()
		if handled, err := h.DeleteUnreadable(ctx, "hub/test/"+collection, key); handled != want || err != nil {
			t.Errorf("%s %q: the hub takes care of it: %v, error %v, want %v", collection, key, handled, err, want)
		}
	}

	device := h.Create(identity.Device{DeviceID: "d"})
	_, line := h.Connect(device, false)
	h.damage("devices", "d")
	remove("devices", "d", true)
	if _, err := h.Device(ctx, "d"); !errors.Is(err, fault.DeviceNotFound) {
		t.Errorf("the device is answered %v", err)
	}
	if reason := line.Ended(); !errors.Is(reason, connection.ErrDeleted) {
		t.Errorf("its connection ended with %v", reason)
	}
	h.Create(identity.Device{DeviceID: "d"})

	h.damage("twins", "d")
	remove("twins", "d", true)
	if twin, err := h.Twin(ctx, "d"); err != nil || twin.Tags.String() != "{}" {
		t.Errorf("the twin is %+v, error %v", twin, err)
	}
	h.damage("twins", "nobody")
	remove("twins", "nobody", false)

	h.Create(identity.Device{DeviceID: "off", Status: identity.Disabled})
	h.damage("disabled", "off")
	remove("disabled", "off", true)
	h.wantStatistics(statistics(1, 1))

	before, err := h.Access().Get(ctx, "service")
	if err != nil {
		t.Fatal(err)
	}
	h.damage("policies", "service")
	remove("policies", "service", true)
	after, err := h.Access().Get(ctx, "service")
	if err != nil || after.PrimaryKey == before.PrimaryKey || after.PrimaryKey == "" {
		t.Errorf("the policy is %+v, error %v", after, err)
	}

	h.damage("activity", "d")
	remove("activity", "d", false) // there is no more to it than the record
}

// TestCreateInPlaceOfUnreadable: a device is put in the place of one that can't be read,
// keeps the twin that is there unless it comes with one, and is another one.
func TestCreateInPlaceOfUnreadable(t *testing.T) {
	h := newFixture(t)
	for _, c := range []struct {
		name      string
		tags      string
		twin      bool // can be read
		want      string
		operation func(identity.Device, json.RawMessage) (identity.Device, error)
	}{
		{"created without a twin", "", true, `{"old":true}`, h.createWithTwin},
		{"created without a twin, the other is damaged too", "", false, `{}`, h.createWithTwin},
		{"created with a twin", `{"new":true}`, true, `{"new":true}`, h.createWithTwin},
		{"updated", "", true, `{"old":true}`, func(d identity.Device, _ json.RawMessage) (identity.Device, error) {
			return h.UpdateDevice(ctx, d, "*")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.T = t
			before := h.Create(identity.Device{DeviceID: "d"})
			if _, err := h.PatchTwin(ctx, "d", []byte(`{"tags":{"old":true}}`), ""); err != nil {
				t.Fatal(err)
			}
			_, line := h.Connect(before, false)
			h.damage("devices", "d")
			if !c.twin {
				h.damage("twins", "d")
			}
			wanted := identity.Device{DeviceID: "d", Status: identity.Disabled}
			after, err := c.operation(wanted, json.RawMessage(c.tags))
			if err != nil || after.GenerationID == before.GenerationID ||
				after.ConnectionState != identity.Disconnected {
				t.Fatalf("the device is %+v, error %v", after, err)
			}
			if twin, err := h.Twin(ctx, "d"); err != nil || twin.Tags.String() != c.want {
				t.Errorf("its tags are %s, error %v, want %s", twin.Tags, err, c.want)
			}
			if line.Ended() == nil {
				t.Error("the former device is still connected")
			}
			if err := h.DeleteDevice(ctx, "d", after.ETag); err != nil {
				t.Fatal(err)
			}
		})
	}
	h.T = t
}

func (h *fixture) createWithTwin(device identity.Device, tags json.RawMessage) (identity.Device, error) {
	return h.CreateDeviceWithTwin(ctx, device, tags, nil)
}

// TestStats counts what has happened since the hub was opened.
func TestStats(t *testing.T) {
	h := newFixture(t)
	session, _ := h.Connect(h.Create(identity.Device{DeviceID: "d"}), false)
	h.Send(session, message.Message{Payload: []byte("21.5")})
	if _, err := session.Report(ctx, []byte(`{"a":1}`)); err != nil {
		t.Fatal(err)
	}
	if stats := h.Stats(); stats.Connected != 1 || stats.Messages != 1 || stats.Bytes != 4 || stats.TwinUpdates != 1 ||
		stats.Connections != 1 {
		t.Errorf("the hub counts %+v", stats)
	}
	session.Close(nil)
	if stats := h.Stats(); stats.Connected != 0 || stats.Connections != 2 {
		t.Errorf("after the device has gone the hub counts %+v", stats)
	}
	h.Reopen()
	if stats := h.Stats(); stats.Messages != 0 || stats.Connections != 0 {
		t.Errorf("a hub that was opened again counts %+v", stats)
	}
}
