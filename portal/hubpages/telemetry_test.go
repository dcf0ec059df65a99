package hubpages

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	hubmessage "github.com/berth-iot/berth/hub/message"
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
	session, err := h.Hub.Connections().OpenSession(ctx, id, credential.Evidence{Token: token, Protocol: "mqtt"}, false, silent{})
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

func (silent) Desired(int64, json.RawMessage) {}
func (silent) Close(error)                    {}

// TestTelemetryOfADevice shows the messages that there are, and streams those that come.
func TestTelemetryOfADevice(t *testing.T) {
	h := newFixture(t)
	h.AddDevice("d1")
	send, disconnect := h.connect("d1")
	send("first <1>", "\xff\xfe", `{"reading":3}`)
	b := h.loggedIn(web.Reader)
	_, page := b.Get("hubs/berth/device/d1")
	b.Shows(page, "first &lt;1&gt;", "//4=", `data-from="`, `state-Connected"`)

	stream := b.Open("hubs/berth/device/d1")
	disconnect()
	h.Later(time.Minute)
	if event := stream.Next(); !strings.Contains(event, "state-Disconnected") {
		t.Errorf("the page does not show that the device has gone:\n%s", event)
	}
	_, page = b.Get("hubs/berth")
	b.Shows(page, "messages since the start")
}

// TestRateFades: a page with a rate changes while nothing comes.
func TestRateFades(t *testing.T) {
	for rate, fades := range map[float64]bool{0: false, 0.1: true} {
		if (hubPage{Rate: rate}).Fades() != fades {
			t.Errorf("a page with %g messages a second fades: %v", rate, !fades)
		}
	}
}
