package hub_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/berth-iot/berth/hub/identity"
)

// A device's twin has its scopes, as its identity does, and none without them.
func TestScopesInTwins(t *testing.T) {
	h := newFixture(t)
	gateway := h.Create(identity.Device{DeviceID: "gateway", Capabilities: identity.Capabilities{IoTEdge: true}})
	h.Create(identity.Device{DeviceID: "child", DeviceScope: gateway.DeviceScope})
	h.Create(identity.Device{DeviceID: "alone"})
	for id, want := range map[string]string{
		"gateway": gateway.DeviceScope, "child": gateway.DeviceScope, "alone": "",
	} {
		twin, err := h.Twin(ctx, id)
		if err != nil || twin.DeviceScope != want || len(twin.ParentScopes) > 0 != (id == "child") {
			t.Errorf("the twin of %s has the scope %q and parents %q, error %v", id, twin.DeviceScope, twin.ParentScopes, err)
		}
		text, err := json.Marshal(twin)
		if err != nil {
			t.Fatal(err)
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(text, &members); err != nil {
			t.Fatal(err)
		}
		if _, there := members["deviceScope"]; there != (want != "") {
			t.Errorf("the twin of %s is %s", id, text)
		}
	}
}

// What is said of a device's parent counts: an empty list takes it away, and what is not
// there leaves it.
func TestParentIsTakenAway(t *testing.T) {
	h := newFixture(t)
	gateway := h.Create(identity.Device{DeviceID: "gateway", Capabilities: identity.Capabilities{IoTEdge: true}})
	for _, edge := range []bool{false, true} {
		id := map[bool]string{false: "leaf", true: "inner"}[edge]
		h.Create(identity.Device{DeviceID: id, ParentScopes: []string{gateway.DeviceScope}, Capabilities: identity.Capabilities{IoTEdge: edge}})
		for _, step := range []struct{ parents, want []string }{
			{nil, []string{gateway.DeviceScope}},
			{[]string{}, nil},
			{nil, nil},
			{[]string{gateway.DeviceScope}, []string{gateway.DeviceScope}},
		} {
			wanted := identity.Device{DeviceID: id, ParentScopes: step.parents, Capabilities: identity.Capabilities{IoTEdge: edge}}
			updated, err := h.UpdateDevice(ctx, wanted, "*")
			if err != nil || !slices.Equal(updated.ParentScopes, step.want) ||
				(updated.DeviceScope != "") != (edge || step.want != nil) {
				t.Errorf("%s with the parents %q has %q and the scope %q, error %v", id, step.parents, updated.ParentScopes,
					updated.DeviceScope, err)
			}
		}
	}
}
