package rest

import (
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/endpoint/https/httpstest"
	"github.com/berth-iot/berth/hub/identity"
)

// TestTokensOfOneDevice has devices called as operations on several are: a token for such
// a device is good for it alone.
func TestTokensOfOneDevice(t *testing.T) {
	h := newFixture(t)
	for _, id := range []string{"keys", "query", "d1"} {
		if _, err := h.Config.Hubs.All()[0].CreateDevice(t.Context(), identity.Device{DeviceID: id}); err != nil {
			t.Fatal(err)
		}
	}
	renewal := func(ids ...string) string {
		return `{"policyKey":"both","devices":[{"id":"` + strings.Join(ids, `"},{"id":"`) + `"}]}`
	}
	const query = `{"query":"SELECT * FROM devices"}`
	for _, c := range []struct {
		resource, path, body string
		status               int
	}{
		{"hub.local", "/devices/keys/regenerate", renewal("d1", "keys"), 200},
		{"hub.local/devices", "/devices/keys/regenerate", renewal("d1", "keys"), 200},
		{"hub.local/devices/keys", "/devices/keys/regenerate", renewal("keys"), 200},
		{"hub.local/devices/keys", "/devices/keys/regenerate", renewal("keys", "d1"), 401},
		{"hub.local/devices/d1", "/devices/keys/regenerate", renewal("d1"), 401}, // it is no token for that address
		{"hub.local", "/devices/query", query, 200},
		{"hub.local/devices", "/devices/query", query, 200},
		{"hub.local/devices/query", "/devices/query", query, 401},
	} {
		token := h.Token(c.resource, "iothubowner", time.Now().Add(time.Hour))
		before := h.Do(httpstest.Request{Method: "GET", Path: "/devices/d1", Token: h.HubToken()}).Text
		if got := h.Do(httpstest.Request{Method: "POST", Path: c.path, Token: token,
			Body: c.body}); got.Status != c.status {
			t.Errorf("%s with a token for %s is answered %d %s, want %d", c.path, c.resource, got.Status, got.Text,
				c.status)
		}
		after := h.Do(httpstest.Request{Method: "GET", Path: "/devices/d1", Token: h.HubToken()}).Text
		if changed := before != after; changed != (c.status == 200 && strings.Contains(c.body, `"d1"`)) {
			t.Errorf("%s with a token for %s changed the device: %v", c.path, c.resource, changed)
		}
	}
}
