package server

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/throttle"
	"github.com/berth-iot/berth/wire/mqtt"
)

// TestThrottles has a hub of Azure's size refuse what exceeds it: requests with 429 on a
// connection that it closes, requests for twins likewise over MQTT, connections with CONNACK
// 3. The clock stands still, so that nothing comes free meanwhile.
func TestThrottles(t *testing.T) {
	h := newFixture(t)
	h.stop()
	now := time.Now()
	h.config.Now = func() time.Time { return now }
	h.config.HubSize = throttle.Size{Tier: "S1", Units: 1}
	h.start()
	if _, err := h.hub.CreateDevice(t.Context(), identity.Device{DeviceID: "d1"}); err != nil {
		t.Fatal(err)
	}
	for i := 1; ; i++ {
		status, text := h.rest(h.Info().Hubs[0].ConnectionString, "GET", "/devices/d1", "")
		if status == 200 && i < 100 { // with the one that made the device
			continue
		}
		if status != 429 || i != 100 || !strings.Contains(text, "ErrorCode:ThrottlingException;The request has been "+
			"throttled. Wait 10 seconds and try again. Operation type: RegistryRead") {
			t.Fatalf("request %d is answered %d %s", i, status, text)
		}
		break
	}
	keys := validKeys(t, "x")
	h.enroll(keys)
	h.provision(&keys, h.Info().IDScope, "x").ask(registerTopic, `{}`)
	d := h.berth(&keys, "x")
	d.subscribe("$iothub/twin/res/#")
	for i := range 51 {
		want := "204"
		if i == 50 {
			want = "429"
		}
		got := d.ask(fmt.Sprintf("$iothub/twin/PATCH/properties/reported/?$rid=%d", i), `{"a":1}`)
		if !strings.HasPrefix(got.topic, "$iothub/twin/res/"+want+"/") {
			t.Fatalf("report %d is answered %+v, want %s", i, got, want)
		}
	}
	var refused error
	for i := 1; i <= 100 && refused == nil; i++ {
		_, refused = h.connect(&keys, "x", "127.0.0.1/x/?api-version=2021-04-12")
		if refused != nil && i != 100 {
			t.Errorf("connection %d: %v", i+1, refused)
		}
	}
	var refusal *mqtt.RefusedError
	if !errors.As(refused, &refusal) || refusal.Code != mqtt.ServerUnavailable {
		t.Errorf("connection 101: %v", refused)
	}
}
