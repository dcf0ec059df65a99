package server

import (
	"errors"
	"testing"
	"time"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/c2d"
	"github.com/berth-iot/berth/hub/identity"
)

// TestMessageLimits has a hub go by the limits that its server was started with, and count
// what becomes of messages.
func TestMessageLimits(t *testing.T) {
	limits := c2d.DefaultLimits
	limits.Depth, limits.TTL = 2, 3*time.Minute
	h := &fixture{t: t, config: Config{DataDir: t.TempDir(), Host: "localhost", HubHost: "127.0.0.1",
		Listen: "127.0.0.1", Messages: limits}}
	h.start()
	t.Cleanup(h.stop)
	ctx := t.Context()
	if _, err := h.hub.CreateDevice(ctx, identity.Device{DeviceID: "d1"}); err != nil {
		t.Fatal(err)
	}
	for range limits.Depth {
		sent, err := h.hub.SendMessage(ctx, "d1", contract.DeviceMessage{Payload: "x"})
		if err != nil || sent.Expires.Sub(sent.EnqueuedTime.Time) != limits.TTL {
			t.Fatalf("sent is %+v, error %v", sent, err)
		}
	}
	if _, err := h.hub.SendMessage(ctx, "d1", contract.DeviceMessage{}); !errors.Is(err, fault.QueueFull) {
		t.Errorf("a message too many: %v", err)
	}
	if waiting := h.figure(`berth_hub_c2d_messages_waiting{hub="berth"}`); waiting != "2" {
		t.Errorf("%s messages wait", waiting)
	}
	if _, err := h.hub.PurgeMessages(ctx, "d1"); err != nil {
		t.Fatal(err)
	}
	for metric, want := range map[string]string{
		`berth_hub_c2d_messages_sent_total{hub="berth"}`:                                 "2",
		`berth_hub_c2d_messages_left_total{hub="berth",outcome="Purged"}`:                "2",
		`berth_hub_c2d_messages_left_total{hub="berth",outcome="Success"}`:               "0",
		`berth_hub_c2d_messages_abandoned_total{hub="berth"}`:                            "0",
		`berth_hub_c2d_messages_waiting{hub="berth"}`:                                    "0",
		`berth_hub_c2d_feedback_waiting{hub="berth"}`:                                    "0",
		`berth_hub_c2d_messages_left_total{hub="berth",outcome="Expired"}`:               "0",
		`berth_hub_c2d_messages_left_total{hub="berth",outcome="Rejected"}`:              "0",
		`berth_hub_c2d_messages_left_total{hub="berth",outcome="DeliveryCountExceeded"}`: "0",
	} {
		if got := h.figure(metric); got != want {
			t.Errorf("%s is %s, want %s", metric, got, want)
		}
	}
}
