package own

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/berth-iot/berth/hub/telemetry"
)

func TestTelemetryIsStreamed(t *testing.T) {
	h := newFixture(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	send := h.Sender(ctx, "d")
	send("before")
	request, err := http.NewRequestWithContext(ctx, "GET", h.Server.URL+"/berth/hub/telemetry?from=earliest", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "hub.local"
	request.Header.Set("Authorization", h.HubToken())
	answer, err := h.Server.Client().Do(request)
	if err != nil || answer.StatusCode != 200 {
		t.Fatalf("answered %v, error %v", answer, err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	for _, want := range []string{"before", "one", "two"} {
		if !lines.Scan() {
			t.Fatalf("the stream ended: %v", lines.Err())
		}
		var message telemetry.Message
		if err := json.Unmarshal(lines.Bytes(), &message); err != nil || message.Body != want {
			t.Fatalf("read %s, error %v, want %s", lines.Bytes(), err, want)
		}
		switch want { // each is sent after the one before has come through
		case "before":
			send("one")
		case "one":
			send("two")
		}
	}
}

// full is a client to which nothing can be written any more.
type full struct {
	*httptest.ResponseRecorder
	deadline time.Time
}

func (f *full) Write([]byte) (int, error)           { return 0, errors.New("write: timed out") }
func (f *full) SetWriteDeadline(at time.Time) error { f.deadline = at; return nil }

// A reader of telemetry that stops reading is let go, and a stream that breaks
// off does not look as if it had ended.
func TestTelemetryStreamBreaks(t *testing.T) {
	h := newFixture(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	h.Sender(ctx, "d")("hello")
	asked := httptest.NewRequestWithContext(ctx, "GET", "https://hub.local/berth/hub/telemetry?from=earliest", nil)
	asked.Header.Set("Authorization", h.HubToken())
	client := &full{ResponseRecorder: httptest.NewRecorder()}
	defer func() {
		if cause := recover(); cause != http.ErrAbortHandler {
			t.Errorf("the stream ended with %v", cause)
		}
		if left := time.Until(client.deadline); left <= 0 || left > streamWriteTimeout {
			t.Errorf("the client has %v to take a message", left)
		}
	}()
	h.Handler.ServeHTTP(client, asked)
	t.Error("the stream ended in good order")
}
