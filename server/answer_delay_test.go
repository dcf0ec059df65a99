package server

import (
	"fmt"
	"testing"
	"time"
)

// A registration or a poll of QoS 0 is answered no earlier than so long after it came,
// over MQTT and over a WebSocket; what comes meanwhile does not wait for that, and QoS 1
// is answered at once.
func TestAnswersToQoS0(t *testing.T) {
	for _, delay := range []time.Duration{0, 600 * time.Millisecond} {
		h := &fixture{t: t,
			config: Config{DataDir: t.TempDir(), Host: "localhost", HubHost: "127.0.0.1", Listen: "127.0.0.1",
				QoS0AnswerDelay: delay}}
		h.start()
		t.Cleanup(h.stop)
		keys := validKeys(t, "d1")
		h.enroll(keys)
		username := h.Info().IDScope + "/registrations/d1/api-version=2019-03-31"
		for name, connect := range map[string]func() *device{
			"MQTT": func() *device {
				d, err := h.connect(&keys, "d1", username)
				if err != nil {
					t.Fatal(err)
				}
				return d
			},
			"WebSocket": func() *device { return h.webSocket(&keys, "d1", username) },
		} {
			t.Run(fmt.Sprint(name, " ", delay), func(t *testing.T) {
				d := connect()
				d.subscribe("$dps/registrations/res/#")
				began := time.Now()
				publish := func(topic string, qos byte) {
					t.Helper()
					if err := d.Publish(topic, nil, qos, nil); err != nil {
						t.Fatal(err)
					}
				}
				publish("$dps/registrations/PUT/iotdps-register/?$rid=register", 0)
				publish("$dps/registrations/GET/iotdps-get-operationstatus/?$rid=poll&operationId=none", 0)
				publish("$dps/registrations/GET/iotdps-get-operationstatus/?$rid=instant&operationId=none", 1)
				want := []string{"200/?$rid=register", "404/?$rid=poll", "404/?$rid=instant"}
				if delay > 0 {
					want = []string{"404/?$rid=instant", "200/?$rid=register", "404/?$rid=poll"}
				}
				for i, status := range want {
					got := d.next()
					if got.topic != "$dps/registrations/res/"+status {
						t.Errorf("answer %d came on %s, want %s", i, got.topic, status)
					}
					if took := time.Since(began); i > 0 && took < delay {
						t.Errorf("%s came after %v, want %v at least", got.topic, took, delay)
					}
				}
			})
		}
	}
}
