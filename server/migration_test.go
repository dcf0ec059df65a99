package server

import (
	"testing"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// TestDisabledDeviceMoves moves devices that an operator disabled to a hub elsewhere and
// back: with their data comes that they are disabled, and why. One whose data are reset
// is a new device.
func TestDisabledDeviceMoves(t *testing.T) {
	h, elsewhere := newFixture(t), newElsewhere(t, "127.0.0.9")
	h.link(elsewhere)
	for name, wantDisabled := range map[string]bool{"migrate": true, "reset": false} {
		policy := enroll.ReprovisionPolicies[name]
		f := &fleet{h, t, h.hub, "127.0.0.1"}
		to := func(host string) func(*enroll.Group) {
			return func(g *enroll.Group) { g.HubHostName, g.ReprovisionPolicy = host, &policy }
		}
		f.group(name, to("127.0.0.1"))
		f.assigned(f.member(name, name+"-1"))
		device, err := h.hub.Device(t.Context(), name+"-1")
		f.must(err)
		reason := "stolen"
		device.Status, device.StatusReason = "disabled", &reason
		_, err = h.hub.UpdateDevice(t.Context(), device, "*")
		f.must(err)
		for _, move := range []struct {
			host string
			hub  *backend.Hub
		}{{"127.0.0.9", elsewhere.hub}, {"127.0.0.9", elsewhere.hub}, {"127.0.0.1", h.hub}} {
			f.group(name, to(move.host))
			f.assigned(f.member(name, name+"-1"))
			moved, err := move.hub.Device(t.Context(), name+"-1")
			f.must(err)
			if disabled := moved.Status == "disabled"; disabled != wantDisabled ||
				disabled != (moved.StatusReason != nil && *moved.StatusReason == reason) {
				t.Errorf("%s: in %s the device is %s, %v", name, move.host, moved.Status, moved.StatusReason)
			}
		}
	}
}
