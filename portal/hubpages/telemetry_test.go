package hubpages

import (
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	hubmessage "github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/portal/portaltest"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/store"
)

// connect opens a session of a device, as if it came over MQTT.
func (h *fixture) connect(id string) (send func(payloads ...string), disconnect func()) {
	h.T.Helper()
	device, err := h.Hub.Device(ctx, id)
	h.Must(err)
	key := *device.Authentication.SymmetricKey.PrimaryKey
	token, err := credential.NewToken(h.Hub.Host()+"/devices/"+id, "", key, h.Now().Add(time.Hour))
	h.Must(err)
	session, err := h.Hub.Connections().OpenSession(ctx, id, credential.Evidence{Token: token, Protocol: "mqtt"}, false,
		silent{})
	h.Must(err)
	return func(payloads ...string) {
		var sent committed
		sent.Add(len(payloads))
		for _, payload := range payloads {
			h.Must(session.Send(&hubmessage.Message{Payload: []byte(payload)}, &sent, 0))
		}
		sent.Wait()
	}, func() { session.Close(nil) }
}

// committed waits for messages to be durable.
type committed struct{ sync.WaitGroup }

// Committed implements store.Committer.
func (c *committed) Committed(uint64, store.Position, error) { c.Done() }

// silent is a device that does nothing with what it is sent.
type silent struct{}

func (silent) Desired(int64, json.RawMessage)    {}
func (silent) Messages()                         {}
func (silent) Call(string, string, []byte) error { return nil }
func (silent) Close(error)                       {}

// TestTelemetryOfADevice shows the messages that there are, and whether the device is there.
func TestTelemetryOfADevice(t *testing.T) {
	h := newFixture(t)
	h.AddDevice("d1")
	send, disconnect := h.connect("d1")
	send("first <1>", "\xff\xfe", `{"reading":3}`)
	b := h.loggedIn(web.Reader)
	_, page := b.Get("hubs/berth/device/d1")
	b.Shows(page, "first &lt;1&gt;", "//4=", `data-from="`, `state-Connected"`,
		"<dt>iothub-connection-device-id</dt><dd>d1</dd>")

	stream := b.Open("hubs/berth/device/d1")
	disconnect()
	h.Later(time.Minute)
	if event := stream.Next(); !strings.Contains(event, "state-Disconnected") {
		t.Errorf("the page does not show that the device has gone:\n%s", event)
	}
	_, page = b.Get("hubs/berth")
	b.Shows(page, "messages since the start")
}

// newest is where a device's page says that a stream of its messages is to go on.
var newest = regexp.MustCompile(`data-from="([^"]+)"`)

// streamOf opens the page of a device, and the stream that goes on where the page ends.
// Before that, meanwhile is called.
func (h *fixture) streamOf(id string, meanwhile func()) *portaltest.Tab {
	h.T.Helper()
	b := h.loggedIn(web.Reader)
	_, page := b.Get("hubs/berth/device/" + id)
	from := newest.FindStringSubmatch(page)
	if from == nil {
		h.T.Fatalf("the page does not say where its messages end:\n%s", page)
	}
	meanwhile()
	return b.Stream("hubs/berth/device/" + id + "/telemetry?from=" + url.QueryEscape(from[1]))
}

// TestTelemetryStream goes on after the last message of the page, though all came at the
// same time, with what this device sends and no other.
func TestTelemetryStream(t *testing.T) {
	h := newFixture(t)
	h.AddDevice("d1")
	h.AddDevice("d2")
	send, _ := h.connect("d1")
	sendOther, _ := h.connect("d2")
	send("one", "two")
	stream := h.streamOf("d1", func() {
		sendOther("of another")
		send("three <3>")
	})
	for _, sent := range []string{"three &lt;3&gt;", "four", `{"reading":5}`} {
		if sent != "three &lt;3&gt;" {
			send(sent)
		}
		event := stream.Poll()
		if !strings.HasPrefix(event, "event: message\n") || !strings.Contains(html.UnescapeString(event),
			html.UnescapeString(sent)) {
			t.Fatalf("the stream has %q, want a message with %s", event, sent)
		}
	}
	stream.Close()
	h.Later(time.Second) // nobody looks any more
}

// TestTelemetryStreamOfFastDevice: of a device that sends faster than anybody reads, some
// messages are shown, in their order, and the others counted.
func TestTelemetryStreamOfFastDevice(t *testing.T) {
	const sent = 1000
	h := newFixture(t)
	h.AddDevice("d1")
	send, _ := h.connect("d1")
	send("before")
	var before int64
	stream := h.streamOf("d1", func() {
		var payloads []string
		for i := range sent {
			payloads = append(payloads, fmt.Sprintf("reading %d.", i))
		}
		send(payloads...)
		before = h.Reads.Records.Load()
	})
	// The stream has its messages before it looks for the second time, as of a device that
	// sends a thousand a second.
	for deadline := time.Now().Add(20 * time.Second); h.Reads.Records.Load()-before < sent; {
		if time.Now().After(deadline) {
			t.Fatal("the stream does not read")
		}
		runtime.Gosched()
	}
	shown, skipped, last := 0, 0, -1
	for shown+skipped < sent {
		event := stream.Poll()
		var n int
		if _, err := fmt.Sscanf(event, "event: skipped\ndata: %d", &n); err == nil {
			skipped += n
			continue
		}
		found := reading.FindStringSubmatch(event)
		if found == nil {
			t.Fatalf("the stream has %q", event)
		}
		if n, _ = strconv.Atoi(found[1]); n <= last {
			t.Errorf("reading %d is shown after %d", n, last)
		}
		last = n
		shown++
	}
	if shown+skipped != sent || shown < burst || skipped < sent/2 {
		t.Errorf("of %d messages %d are shown and %d left out", sent, shown, skipped)
	}
}

var reading = regexp.MustCompile(`reading (\d+)\.`)

// TestRateFades: a page with a rate changes while nothing comes.
func TestRateFades(t *testing.T) {
	for rate, fades := range map[float64]bool{0: false, 0.1: true} {
		if (hubPage{Rate: rate}).Fades() != fades {
			t.Errorf("a page with %g messages a second fades: %v", rate, !fades)
		}
	}
}
