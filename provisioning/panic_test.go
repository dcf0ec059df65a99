package provisioning

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/provisioning/attest"
	"github.com/berth-iot/berth/store"
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
	h, device := newHouse(t, "one.local"), valid(t, "d1")
	enrollment := device.enrollment()
	enrollment.AllocationPolicy, enrollment.CustomAllocationDefinition = Custom, &CustomAllocationDefinition{WebhookURL: "https://allocate.example/hook"}
	h.enroll(enrollment)
	h.Service.config.Webhook = new(panickingWebhook)
	if operation, err := h.register(device); err == nil {
		t.Fatalf("while the webhook panics the device is told %+v", operation)
	} else if !errors.Is(err, panics.ErrPanic) {
		t.Errorf("while the webhook panics the device is told %v", err)
	}
	h.mustRegister(device)
}

// troubled is documents whose first commits fail or panic.
type troubled struct {
	store.Documents
	commits atomic.Int32
}

func (d *troubled) Commit(ctx context.Context, changes ...store.Change) ([]string, error) {
	switch d.commits.Add(1) {
	case 1:
		return nil, errors.New("the disk is full")
	case 2:
		panic("commit")
	}
	return d.Documents.Commit(ctx, changes...)
}

// The index of attempts is written when it can be, though it could not before.
func TestTheIndexIsTriedAgain(t *testing.T) {
	j := newJournal(t)
	documents := &troubled{Documents: j.documents}
	a, err := openAttempts(t.Context(), Config{Documents: documents, Attempts: j.log, Logger: slog.New(slog.DiscardHandler), Panics: quietPanics()})
	if err != nil {
		t.Fatal(err)
	}
	const attempts = attemptsKept + 2
	for range attempts {
		a.record(attest.Attempt{Time: noon, RegistrationID: "d1", Enrolled: true, Outcome: attest.Refused})
		a.settle()
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		indexed, _, err := a.index.Get(t.Context(), "d1")
		if err == nil && len(indexed.Sequences) == attemptsKept && indexed.Sequences[attemptsKept-1] == attempts-1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %d commits the index holds %v, error %v", documents.commits.Load(), indexed, err)
		}
	}
	if documents.commits.Load() < 3 {
		t.Errorf("only %d commits: none failed", documents.commits.Load())
	}
	if err := a.close(); err != nil {
		t.Error(err)
	}
	j.check(OutcomeCount{Time: noon, Refused: attempts})
}
