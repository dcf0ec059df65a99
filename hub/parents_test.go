package hub_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
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
			t.Errorf("the twin of %s has the scope %q and parents %q, error %v", id, twin.DeviceScope,
				twin.ParentScopes, err)
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
		h.Create(identity.Device{DeviceID: id, ParentScopes: []string{gateway.DeviceScope},
			Capabilities: identity.Capabilities{IoTEdge: edge}})
		for _, step := range []struct{ parents, want []string }{
			{nil, []string{gateway.DeviceScope}},
			{[]string{}, nil},
			{nil, nil},
			{[]string{gateway.DeviceScope}, []string{gateway.DeviceScope}},
		} {
			wanted := identity.Device{DeviceID: id, ParentScopes: step.parents,
				Capabilities: identity.Capabilities{IoTEdge: edge}}
			updated, err := h.UpdateDevice(ctx, wanted, "*")
			if err != nil || !slices.Equal(updated.ParentScopes, step.want) ||
				(updated.DeviceScope != "") != (edge || step.want != nil) {
				t.Errorf("%s with the parents %q has %q and the scope %q, error %v", id, step.parents,
					updated.ParentScopes, updated.DeviceScope, err)
			}
		}
	}
}

// A device whose parent is gone, or is no IoT Edge device any more, can be disabled and
// changed as any other.
func TestParentIsGone(t *testing.T) {
	h := newFixture(t)
	edge := identity.Capabilities{IoTEdge: true}
	for _, end := range []func(id string) error{
		func(id string) error { return h.DeleteDevice(ctx, id, "") },
		func(id string) error {
			_, err := h.UpdateDevice(ctx, identity.Device{DeviceID: id}, "")
			return err
		},
	} {
		gateway := h.Create(identity.Device{DeviceID: "gateway", Capabilities: edge})
		for _, capabilities := range []identity.Capabilities{{}, edge} {
			child := h.Create(identity.Device{DeviceID: "child", ParentScopes: []string{gateway.DeviceScope},
				Capabilities: capabilities})
			if err := end("gateway"); err != nil {
				t.Fatal(err)
			}
			child.Status = identity.Disabled
			for _, wanted := range []identity.Device{child, {DeviceID: "child", Status: identity.Disabled,
				Capabilities: capabilities}} {
				updated, err := h.UpdateDevice(ctx, wanted, "")
				if err != nil || updated.Status != identity.Disabled ||
					!slices.Equal(updated.ParentScopes, []string{gateway.DeviceScope}) {
					t.Errorf("disabled it is %+v, error %v", updated, err)
				}
			}
			if err := h.DeleteDevice(ctx, "child", ""); err != nil {
				t.Fatal(err)
			}
			if _, err := h.Device(ctx, "gateway"); err == nil {
				if err := h.DeleteDevice(ctx, "gateway", ""); err != nil {
					t.Fatal(err)
				}
			}
			gateway = h.Create(identity.Device{DeviceID: "gateway", Capabilities: edge})
		}
		if err := h.DeleteDevice(ctx, "gateway", ""); err != nil {
			t.Fatal(err)
		}
	}
}

// No device is below itself, over however many levels, and whoever says so.
func TestParentsInCircle(t *testing.T) {
	h := newFixture(t)
	edge := identity.Capabilities{IoTEdge: true}
	top := h.Create(identity.Device{DeviceID: "top", Capabilities: edge})
	middle := h.Create(identity.Device{DeviceID: "middle", Capabilities: edge, ParentScopes: []string{top.DeviceScope}})
	low := h.Create(identity.Device{DeviceID: "low", Capabilities: edge, ParentScopes: []string{middle.DeviceScope}})
	for _, parent := range []identity.Device{top, middle, low} {
		wanted := identity.Device{DeviceID: "top", Capabilities: edge, ParentScopes: []string{parent.DeviceScope}}
		if updated, err := h.UpdateDevice(ctx, wanted, ""); !errors.Is(err, fault.ArgumentInvalid) ||
			!strings.Contains(err.Error(), "below itself") {
			t.Errorf("below %s it is %+v, error %v", parent.DeviceID, updated, err)
		}
		admission := hub.Admission{DeviceID: "top", IoTEdge: true, ParentDeviceID: parent.DeviceID,
			PrimaryKey:   *top.Authentication.SymmetricKey.PrimaryKey,
			SecondaryKey: *top.Authentication.SymmetricKey.SecondaryKey}
		if _, err := h.EnsureDevice(ctx, admission); !errors.Is(err, fault.ArgumentInvalid) ||
			!strings.Contains(err.Error(), "below itself") {
			t.Errorf("registered below %s: %v", parent.DeviceID, err)
		}
	}
	// Nor is one that is no IoT Edge device for a while, as its children still name it.
	for _, step := range []struct {
		wanted  identity.Device
		refused bool
	}{
		{identity.Device{DeviceID: "top"}, false},
		{identity.Device{DeviceID: "top", ParentScopes: []string{low.DeviceScope}}, true},
		{identity.Device{DeviceID: "top", Capabilities: edge}, false},
		{identity.Device{DeviceID: "top", Capabilities: edge, ParentScopes: []string{}}, false},
	} {
		if _, err := h.UpdateDevice(ctx, step.wanted, ""); (err != nil) != step.refused {
			t.Errorf("%+v: error %v", step.wanted, err)
		}
	}
	if _, err := h.UpdateDevice(ctx, identity.Device{DeviceID: "low", Capabilities: edge,
		ParentScopes: []string{top.DeviceScope}}, ""); err != nil {
		t.Errorf("another parent, above: %v", err)
	}
}
