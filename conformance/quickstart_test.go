//go:build conformance

package conformance

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const quickstartID = "Python-device-01"

// quickstart is a program that does what the quickstart's device does, over one
// transport.
type quickstart struct {
	name      string
	program   program
	transport string
}

// quickstarts are all of them. The Node SDK offers X.509 over AMQP too, which
// Berth does not serve yet.
var quickstarts = []quickstart{
	{"python/mqtt", python("quickstart.py"), "mqtt"},
	{"python/mqtt-ws", python("quickstart.py"), "mqtt-ws"},
	{"python-sync/mqtt", python("quickstart_sync.py"), "mqtt"},
	{"python-sync/mqtt-ws", python("quickstart_sync.py"), "mqtt-ws"},
	{"node/mqtt", node("quickstart.js"), "mqtt"},
	{"node/mqtt-ws", node("quickstart.js"), "mqtt-ws"},
	{"node/http", node("quickstart.js"), "http"},
}

// test runs the program and compares what it wrote with the quickstart's
// transcript, then looks at what the server knows afterwards.
func (q quickstart) test(t *testing.T, s *server) {
	begun := time.Now()
	lines := s.run(t, q.program, "TRANSPORT="+q.transport)
	took := time.Since(begun)
	t.Logf("took %v", took.Round(time.Millisecond))

	// Asked to poll, the Python SDK says so and waits 2 s; the Node SDK waits the
	// 3 s that the service asks for, and says nothing.
	paced := s.registration == "paced"
	if paced && took < 2*time.Second {
		t.Errorf("the device was to be made to poll, but was done after %v", took)
	}
	if polls := strings.Contains(lines[0], "Op will transition into polling after interval 2"); polls {
		lines = lines[1:]
		if !paced {
			t.Error("the device was made to poll")
		}
	} else if paced && strings.HasPrefix(q.name, "python") {
		t.Error("the device did not say that it is going to poll")
	}
	head := []string{
		"The complete registration result is",
		quickstartID,
		s.info.Hubs[0].Host,
		"initialAssignment",
		"null",
		"Will send telemetry from the provisioned device",
	}
	if len(lines) != len(head)+20 || !slices.Equal(lines[:len(head)], head) {
		t.Fatalf("the transcript is\n%s\nwant\n%s\nand twenty lines", strings.Join(lines, "\n"),
			strings.Join(head, "\n"))
	}
	for i := 1; i <= 10; i++ {
		sending := slices.Index(lines, fmt.Sprintf("sending message #%d", i))
		done := slices.Index(lines, fmt.Sprintf("done sending message #%d", i))
		if sending < 0 || done < sending {
			t.Errorf("message %d: sending is line %d, done is line %d", i, sending, done)
		}
	}

	var messages []message
	s.berth(t, &messages, "telemetry", "tail", "--hub", "berth", "--from", begun.UTC().Format(time.RFC3339Nano),
		"--max", "10")
	tenMessages(t, messages)
	var identity struct{ DeviceID, Status string }
	if s.berth(t, &identity, "device", "show", quickstartID); identity.DeviceID != quickstartID ||
		identity.Status != "enabled" {
		t.Errorf("berth device show: %+v, want it enabled", identity)
	}
	var attempts []struct{ Outcome, Hub, Protocol string }
	if s.berth(t, &attempts, "attempts", quickstartID); len(attempts) == 0 || attempts[0].Outcome != "assigned" {
		t.Errorf("berth attempts: %+v, want the last one assigned", attempts)
	}
}

// message is a line of the telemetry log, as far as it is looked at.
type message struct {
	Body             string
	SystemProperties map[string]any
}

// tenMessages checks that these are the quickstart's ten, each once, sent by its
// device.
func tenMessages(t *testing.T, messages []message) {
	t.Helper()
	var bodies []string
	for _, m := range messages {
		bodies = append(bodies, m.Body)
		if id := m.SystemProperties["iothub-connection-device-id"]; id != quickstartID {
			t.Errorf("a message is from %v, want %s", id, quickstartID)
		}
	}
	slices.SortFunc(bodies, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	var want []string
	for i := 1; i <= 10; i++ {
		want = append(want, fmt.Sprintf("test wind speed %d", i))
	}
	if !slices.Equal(bodies, want) {
		t.Errorf("the telemetry log has %q, want %q", bodies, want)
	}
}
