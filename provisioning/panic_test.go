package provisioning

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/provisioning/allocation"
)

// panickingWebhook panics once and then answers.
type panickingWebhook struct{ calls atomic.Int32 }

func (w *panickingWebhook) Call(context.Context, string, []byte, int) (int, []byte, error) {
	if w.calls.Add(1) == 1 {
		panic("webhook")
	}
	return 200, []byte(`{"iotHubHostName":"one.local"}`), nil
}

func quietPanics() *panics.Recorder { return panics.NewRecorder(slog.New(slog.DiscardHandler)) }

// An assignment that panics in the background is over, for the device that waits for
// it too, and the device's next one finds nothing in its way.
func TestAnAssignmentThatPanics(t *testing.T) {
	h, device := newFixture(t, "one.local"), valid(t, "d1")
	enrollment := device.enrollment()
	enrollment.AllocationPolicy = allocation.Custom
	enrollment.CustomAllocationDefinition = &allocation.CustomDefinition{WebhookURL: "https://allocate.example/hook"}
	h.enroll(enrollment)
	h.ask(new(panickingWebhook))
	if operation, err := h.register(device); err == nil {
		t.Fatalf("while the webhook panics the device is told %+v", operation)
	} else if !errors.Is(err, panics.ErrPanic) {
		t.Errorf("while the webhook panics the device is told %v", err)
	}
	h.mustRegister(device)
}
