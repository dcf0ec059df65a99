package identity

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/berth-iot/berth/fault"
)

var edge = Capabilities{IoTEdge: true}

// TestCheckParents is what becomes of a device's scopes, as SDKs and operators send them,
// in a hub with two IoT Edge devices and one that is none.
func TestCheckParents(t *testing.T) {
	r := openRegistry(t, newDocuments(t), false)
	scopes := make(map[string]string)
	for _, device := range []Device{
		{DeviceID: "gate-way", Capabilities: edge}, {DeviceID: "other", Capabilities: edge}, {DeviceID: "lamp"},
	} {
		create(t, r, device)
		stored, err := r.Get(ctx, device.DeviceID)
		if err != nil {
			t.Fatal(err)
		}
		scopes[device.DeviceID] = edgeScope(stored)
	}
	gateway, other := scopes["gate-way"], scopes["other"]
	const own = "ms-azure-iot-edge://inner-100"
	child := &Device{DeviceScope: gateway, ParentScopes: []string{gateway}}
	const gone = "ms-azure-iot-edge://gone-100"
	orphan := &Device{DeviceScope: gone, ParentScopes: []string{gone}}
	inner := &Device{DeviceScope: own, ParentScopes: []string{gateway}, Capabilities: edge}
	for _, c := range []struct {
		name    string
		before  *Device // nil for a new one
		device  Device
		parents []string // that it has in the end
		says    string   // in the refusal, when it is one
	}{
		{"nothing is said", nil, Device{}, nil, ""},
		{"the parent as Azure's CLI sends it", nil, Device{DeviceScope: gateway}, []string{gateway}, ""},
		{"the parent as a list", nil, Device{ParentScopes: []string{gateway}}, []string{gateway}, ""},
		{"both, the same", nil, Device{DeviceScope: gateway, ParentScopes: []string{gateway}}, []string{gateway}, ""},
		{"both, not the same", nil, Device{DeviceScope: other, ParentScopes: []string{gateway}}, nil, "one parent"},
		{"two parents", nil, Device{ParentScopes: []string{gateway, other}}, nil, "2 entries"},
		{"an edge device below another", nil, Device{ParentScopes: []string{gateway}, Capabilities: edge},
			[]string{gateway}, ""},
		{"an edge device with a scope of its choice", nil, Device{DeviceScope: own, Capabilities: edge}, nil,
			"gives an IoT Edge device its own"},
		{"one that is no scope", nil, Device{ParentScopes: []string{"gate-way"}}, nil,
			"not that of an IoT Edge device"},
		{"one without a generation", nil, Device{ParentScopes: []string{"ms-azure-iot-edge://lamp"}}, nil,
			"not that of an IoT Edge device"},
		{"one of nobody", nil, Device{ParentScopes: []string{"ms-azure-iot-edge://nobody-100"}}, nil,
			"not that of an IoT Edge device"},
		{"one of an id that can't be", nil, Device{ParentScopes: []string{"ms-azure-iot-edge://a b-100"}}, nil,
			"not that of an IoT Edge device"},
		{"one of a device that is no edge device", nil, Device{ParentScopes: []string{scopes["lamp"]}}, nil,
			"not that of an IoT Edge device"},
		{"one of an earlier device of this id", nil, Device{ParentScopes: []string{gateway + "0"}}, nil,
			"not that of an IoT Edge device"},

		{"a child of which nothing is said", child, Device{}, []string{gateway}, ""},
		{"a child with another parent", child, Device{ParentScopes: []string{other}}, []string{other}, ""},
		{"a child without a parent", child, Device{ParentScopes: []string{}}, nil, ""},
		{"a child that becomes an edge device, as it was read", child, Device{DeviceScope: gateway, Capabilities: edge},
			[]string{gateway}, ""},
		{"a child whose parent is gone, of which nothing is said", orphan, Device{}, []string{gone}, ""},
		{"a child whose parent is gone, as it was read", orphan, *orphan, []string{gone}, ""},
		{"a child whose parent is gone, as Azure's CLI sends it", orphan, Device{DeviceScope: gone}, []string{gone},
			""},
		{"a child whose parent is gone, without one", orphan, Device{ParentScopes: []string{}}, nil, ""},
		{"a child whose parent is gone, with another", orphan, Device{ParentScopes: []string{other}}, []string{other},
			""},
		{"a child of a parent that is there, with one that is gone", child, Device{ParentScopes: []string{gone}}, nil,
			"not that of an IoT Edge device"},
		{"an edge device, as it was read", inner, *inner, []string{gateway}, ""},
		{"an edge device that is one no more, as it was read", inner,
			Device{DeviceScope: own, ParentScopes: []string{gateway}}, []string{gateway}, ""},
		{"an edge device with the scope of another", inner, Device{DeviceScope: other, Capabilities: edge}, nil,
			"as it was read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			device := c.device
			err := r.CheckParents(ctx, &device, c.before)
			if c.says != "" {
				if !errors.Is(err, fault.ArgumentInvalid) || !strings.Contains(err.Error(), c.says) {
					t.Fatalf("answered %v with %+v, want 400004 that says %q", err, device, c.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(device.ParentScopes, c.parents) {
				t.Errorf("its parents are %q, want %q", device.ParentScopes, c.parents)
			}
			if scope := device.DeviceScope; !device.Capabilities.IoTEdge && scope != strings.Join(c.parents, "") {
				t.Errorf("its scope is %q, and its parents are %q", scope, c.parents)
			}
		})
	}
}

// TestCheckParent is what an enrollment is told whose devices are to be children.
func TestCheckParent(t *testing.T) {
	unreachable := errors.New("unreachable")
	parent := Device{DeviceID: "gateway", Capabilities: edge, DeviceScope: "ms-azure-iot-edge://gateway-100"}
	for _, c := range []struct {
		name   string
		parent Device
		err    error
		want   error
		says   string
	}{
		{"an edge device", parent, nil, nil, ""},
		{"a device that is none", Device{DeviceID: "gateway", DeviceScope: parent.DeviceScope}, nil,
			fault.ArgumentInvalid, "not an IoT Edge device"},
		{"one that the hub has given no scope", Device{DeviceID: "gateway", Capabilities: edge}, nil,
			fault.ArgumentInvalid, "not an IoT Edge device"},
		{"none", Device{}, NotFound("gateway"), fault.ArgumentInvalid, "before its children"},
		{"a hub that does not answer", Device{}, unreachable, unreachable, "unreachable"},
	} {
		err := CheckParent("gateway", c.parent, c.err)
		if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: answered %v, want %v that says %q", c.name, err, c.want, c.says)
		}
	}
	var child Device
	child.SetParent(parent)
	if child.DeviceScope != parent.DeviceScope || !slices.Equal(child.ParentScopes, []string{parent.DeviceScope}) {
		t.Errorf("the child is %+v", child)
	}
}
