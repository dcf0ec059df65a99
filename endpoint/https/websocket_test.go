package https_test

import (
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/endpoint/https/httpstest"
	"github.com/berth-iot/berth/provisioning/attempts"
)

// A device that speaks AMQP over a WebSocket leaves an attempt, as it does at the port of
// MQTT; what may be a back end does not.
func TestAMQPOverWebSocketLeavesAnAttempt(t *testing.T) {
	h := httpstest.New(t, func(*httpstest.Fixture) []https.Operation { return nil })
	for _, c := range []struct {
		host, protocol string
		want           int // attempts so far
	}{
		{"hub.local", "AMQPWSB10", 0},
		{"dps.local", "chat", 0},
		{"dps.local", "AMQPWSB10", 1},
		{"dps.local", "amqpwsb10", 2},
	} {
		options := &websocket.DialOptions{HTTPClient: h.Server.Client(), Host: c.host,
			Subprotocols: []string{c.protocol}}
		_, answer, err := websocket.Dial(t.Context(), h.Server.URL+"/$iothub/websocket", options)
		if err == nil || answer == nil || answer.StatusCode != 400 || answer.Header.Get("x-ms-request-id") == "" {
			t.Errorf("%s at %s is answered %v, error %v", c.protocol, c.host, answer, err)
		}
		found, err := h.Config.Provisioning.Attempts().Find(t.Context(), attempts.Filter{Refused: true})
		if err != nil || len(found) != c.want {
			t.Fatalf("after %s at %s there are the attempts %+v, error %v", c.protocol, c.host, found, err)
		}
		if len(found) > 0 {
			if check, _ := found[0].Checks.Failed(); check.Saw != "AMQP" || found[0].Protocol != "amqpws" ||
				!strings.Contains(check.Advice, "does not serve AMQP") {
				t.Errorf("the attempt is %+v", found[0])
			}
		}
	}
}
