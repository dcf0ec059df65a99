package hubtest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/berth-iot/berth/hub/connection"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/store"
)

// TestHub is what tests do with a hub: a device connects, sends and is told things, and
// all that is to stay is there when the hub is opened again.
func TestHub(t *testing.T) {
	h, ctx := New(t), context.Background()
	device := h.Create(identity.Device{DeviceID: "d"})
	session, line := h.Connect(device, false)
	h.Send(session, message.Message{Payload: []byte("21.5")})
	patch := []byte(`{"properties":{"desired":{"interval":5}}}`)
	if _, err := h.PatchTwin(ctx, "d", patch, ""); err != nil {
		t.Fatal(err)
	}
	if want := []string{`{"interval":5,"$version":2}`}; !slices.Equal(line.Notices(), want) || line.Ended() != nil {
		t.Errorf("the device was told %q, and its line ended with %v", line.Notices(), line.Ended())
	}
	h.Advance(time.Minute)
	device.Authentication.SymmetricKey = NewKeys()
	if _, err := h.UpdateDevice(ctx, device, ""); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(line.Ended(), connection.ErrCredentialChanged) {
		t.Errorf("with other keys the line ended with %v", line.Ended())
	}

	h.Reopen()
	h.Connect(device, false) // with the new keys
	messages, err := h.Telemetry().Recent(ctx, "d", 10)
	if err != nil || len(messages) != 1 || !messages[0].EnqueuedTime.Equal(Noon) {
		t.Errorf("the messages are %+v, error %v", messages, err)
	}
	if twin, err := h.Twin(ctx, "d"); err != nil || twin.Properties.Desired.Get("interval").String() != "5" {
		t.Errorf("the twin is %+v, error %v", twin, err)
	}
}

// TestWrapping puts something between the hub and its engines.
func TestWrapping(t *testing.T) {
	h, commits, opened := New(t), 0, 0
	after := func() { commits++ }
	h.Documents.AfterCommit.Store(&after)
	h.Create(identity.Device{DeviceID: "d"})
	if commits != 1 {
		t.Errorf("%d commits are counted, want 1", commits)
	}
	h.WrapTelemetry = func(log store.Log) store.Log { opened++; return log }
	h.Reopen()
	if opened != 1 {
		t.Errorf("the log is asked for %d times", opened)
	}
}
