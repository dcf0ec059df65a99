package server

import (
	"strings"
	"testing"
)

// TestPaddedRegistrations publishes JSON with the rest of its buffer, as clients in C
// do.
func TestPaddedRegistrations(t *testing.T) {
	h := newFixture(t)
	keys := validKeys(t, "x")
	h.enroll(keys)
	padding := strings.Repeat("\x00", 300)
	for _, body := range []string{padding, "{}" + padding, `{"registrationId":"x","payload":{"a":1}}` + padding} {
		if got := h.provision(&keys, h.Info().IDScope, "x").ask(registerTopic, body); !strings.Contains(got.topic,
			"/res/200/") {
			t.Errorf("%.50q is answered %+v", body, got)
		}
	}
	for _, body := range []string{"{\x00}", "{}" + padding + "{}", "{\"registrationId\":\"x\",\"payload\":\"K\xf6ln\"}",
		`{"payload":"\ud800"}`, `{"registrationId":"x","modelId":"dtmi:com:example:Thermostat;1"}`} {
		if got := h.provision(&keys, h.Info().IDScope, "x").ask(registerTopic, body); !strings.Contains(got.topic,
			"/res/400/") {
			t.Errorf("%.50q is answered %+v", body, got)
		}
	}
	if got := h.provision(&keys, h.Info().IDScope, "x").ask(registerTopic,
		`{"payload":{"modelId":"dtmi:com:example:Thermostat;1"}}`); !strings.Contains(got.topic, "/res/200/") {
		t.Errorf("a model in the payload is answered %+v", got)
	}
}
