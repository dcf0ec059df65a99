package hub_test

import (
	"errors"
	"testing"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/c2d"
	"github.com/berth-iot/berth/hub/hubtest"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/message"
)

// TestMessagesToDevices sends to devices that are there, counts what waits for them, and
// keeps nothing of those that are deleted.
func TestMessagesToDevices(t *testing.T) {
	h, ctx := hubtest.New(t), t.Context()
	for _, id := range []string{"a", "b", "c"} {
		h.Create(identity.Device{DeviceID: id})
	}
	out := c2d.Outgoing{MessageID: "m", Ack: c2d.AckFull, Message: message.Message{Payload: []byte("open")}}
	if _, err := h.SendMessage(ctx, "none", out); !errors.Is(err, fault.DeviceNotFound) {
		t.Errorf("a message to nobody is answered %v", err)
	}
	connected, _ := h.Connect(must(h.Device(ctx, "c")), false)
	for _, id := range []string{"a", "c", "c"} {
		if _, err := h.SendMessage(ctx, id, out); err != nil {
			t.Fatal(err)
		}
	}
	h.Reopen()
	if err := connected.ReleaseMessages(ctx); err == nil {
		t.Error("a session outlives its hub")
	}
	devices, _, err := h.Devices(ctx, "", "", 10)
	if err != nil || len(devices) != 3 || devices[0].CloudToDeviceMessageCount != 1 ||
		devices[1].CloudToDeviceMessageCount != 0 || devices[2].CloudToDeviceMessageCount != 2 {
		t.Errorf("the devices are %+v, error %v", devices, err)
	}
	if twin, err := h.Twin(ctx, "c"); err != nil || twin.CloudToDeviceMessageCount != 2 {
		t.Errorf("the twin is %+v, error %v", twin, err)
	}

	// Another device of the same id gets nothing that was for the first.
	if err := h.DeleteDevice(ctx, "c", ""); err != nil {
		t.Fatal(err)
	}
	if again := h.Create(identity.Device{DeviceID: "c"}); again.CloudToDeviceMessageCount != 0 {
		t.Errorf("another device has messages: %+v", again)
	}
	if purged, err := h.PurgeMessages(ctx, "c"); err != nil || purged != 0 {
		t.Errorf("%d messages of another device are purged, error %v", purged, err)
	}

	// What expires goes, and whoever sent it hears of it.
	h.Advance(2 * time.Hour)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		batch, err := h.Messages().ReceiveFeedback(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(batch.Records) > 0 {
			if r := batch.Records[0]; len(batch.Records) != 1 || r.Outcome != c2d.Expired || r.DeviceID != "a" {
				t.Errorf("the feedback is %+v", batch.Records)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing is told of a message that has expired")
		}
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
