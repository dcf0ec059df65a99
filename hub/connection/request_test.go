package connection_test

import (
	"errors"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/hub/telemetry"
)

// describe reads a device with what is known of its connections.
func (h *fixture) describe(id string) identity.Device {
	h.T.Helper()
	device, err := h.Device(ctx, id)
	if err != nil {
		h.T.Fatal(err)
	}
	return device
}

// A request is an activity of its device, and no connection: not before a restart, nor
// after it.
func TestRequestIsActivity(t *testing.T) {
	h := newFixture(t)
	device := h.Create(identity.Device{DeviceID: "d"})
	ask := func() time.Time {
		t.Helper()
		h.Advance(time.Minute)
		if _, err := h.Connections().Authenticate(ctx, "d", credential.Evidence{Token: h.Token(device)}); err != nil {
			t.Fatal(err)
		}
		return h.Now()
	}
	check := func(state string, changed, active time.Time) {
		t.Helper()
		got := h.describe("d")
		if got.ConnectionState != state || !got.ConnectionStateUpdatedTime.Equal(changed) ||
			!got.LastActivityTime.Equal(active) {
			t.Errorf("the device is %s since %v and was active at %v; want %s, %v, %v", got.ConnectionState,
				got.ConnectionStateUpdatedTime, got.LastActivityTime, state, changed, active)
		}
	}
	check(identity.Disconnected, time.Time{}, time.Time{})
	asked := ask()
	check(identity.Disconnected, time.Time{}, asked)
	h.Reopen()
	check(identity.Disconnected, time.Time{}, asked)

	session, _ := h.Connect(device, false)
	connected := h.Now()
	asked = ask()
	check(identity.Connected, connected, asked)
	session.Close(nil)
	left := h.Now()
	asked = ask()
	check(identity.Disconnected, left, asked)
	h.Reopen()
	check(identity.Disconnected, left, asked)
	asked = ask()
	check(identity.Disconnected, left, asked)
	h.Reopen()
	check(identity.Disconnected, left, asked)

	// Nothing of it is there in a device that is made anew, and nothing comes of a refusal.
	if err := h.DeleteDevice(ctx, "d", ""); err != nil {
		t.Fatal(err)
	}
	old := h.Token(device)
	device = h.Create(identity.Device{DeviceID: "d"})
	check(identity.Disconnected, time.Time{}, time.Time{})
	_, err := h.Connections().Authenticate(ctx, "d", credential.Evidence{Token: old})
	if !errors.Is(err, fault.UnauthorizedAccess) {
		t.Errorf("the token of the device before it: %v", err)
	}
	check(identity.Disconnected, time.Time{}, time.Time{})
}

// What a device has sent by a request is durable, all of it or nothing.
func TestRequestSends(t *testing.T) {
	h := newFixture(t)
	device := h.Create(identity.Device{DeviceID: "d"})
	requester, err := h.Connections().Authenticate(ctx, "d", credential.Evidence{Token: h.Token(device)})
	if err != nil {
		t.Fatal(err)
	}
	send := func(sizes ...int) error {
		messages := make([]message.Message, len(sizes))
		for i, size := range sizes {
			messages[i].Payload = make([]byte, size)
		}
		return requester.Send(ctx, messages)
	}
	if err := send(1, 2, telemetry.MaxMessage+1); !errors.Is(err, fault.MessageTooLarge) {
		t.Errorf("a message that is too large: %v", err)
	}
	if err := send(3, telemetry.MaxMessage, 5); err != nil {
		t.Fatal(err)
	}
	h.Reopen()
	var sizes []int
	err = h.Telemetry().Follow(ctx, telemetry.Position{Earliest: true}, "d", func(m telemetry.Message) error {
		text, _ := m.Body.(string)
		if sizes = append(sizes, len(text)); len(sizes) == 3 {
			return telemetry.ErrStop
		}
		return nil
	})
	if err != nil || len(sizes) != 3 || sizes[0] != 3 || sizes[1] != telemetry.MaxMessage || sizes[2] != 5 {
		t.Errorf("the messages have %v bytes, error %v", sizes, err)
	}
}
