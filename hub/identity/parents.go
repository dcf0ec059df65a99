package identity

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/berth-iot/berth/fault"
)

const edgeScheme = "ms-azure-iot-edge://"

// edgeScope is what the children of an IoT Edge device name as their parent (Azure,
// iot-edge-as-gateway).
func edgeScope(device Device) string {
	return edgeScheme + device.DeviceID + "-" + device.GenerationID
}

// CheckParents holds what an operator writes of a device's parents against the hub's
// devices. What is left out stays as it was before. Of a device without edge
// capability deviceScope is its parent's, as parentScopes is; of an IoT Edge device it
// is its own, which the hub gives it. A list of no parents takes the parent away. A parent
// that the device had before stays, though it may be gone by now. before is the device that
// it replaces, nil for a new one. It returns fault 400004.
func (r *Registry) CheckParents(ctx context.Context, device, before *Device) error {
	wasEdge := before != nil && before.Capabilities.IoTEdge
	if wasEdge && !device.Capabilities.IoTEdge && device.DeviceScope == before.DeviceScope {
		device.DeviceScope = "" // its own, as it was read; it has none any more
	}
	if err := checkDeviceScope(*device, before); err != nil {
		return err
	}
	switch {
	case len(device.ParentScopes) == 0 && (device.DeviceScope == "" || device.Capabilities.IoTEdge):
		device.DeviceScope = ""
		if before != nil && device.ParentScopes == nil {
			device.ParentScopes = before.ParentScopes
		}
	case len(device.ParentScopes) == 0:
		device.ParentScopes = []string{device.DeviceScope}
	}
	if len(device.ParentScopes) == 0 {
		device.ParentScopes = nil
		return nil
	}
	if len(device.ParentScopes) > 1 {
		return fault.New(fault.ArgumentInvalid, "parentScopes has %d entries. A device has one parent",
			len(device.ParentScopes))
	}
	scope := device.ParentScopes[0]
	if before != nil && slices.Contains(before.ParentScopes, scope) {
		device.DeviceScope = scope // that was good once; whoever disables a device need not mend its parent
		if wasEdge || !device.Capabilities.IoTEdge {
			return nil
		}
	}
	parent, found, err := r.edgeDevice(ctx, scope)
	switch {
	case err != nil:
		return err
	case found:
		device.DeviceScope = scope
		if before == nil {
			return nil
		}
		return r.CheckNotBelow(ctx, *before, parent)
	case device.DeviceScope == scope && before != nil && slices.Contains(before.ParentScopes, scope):
		return nil
	}
	return fault.New(fault.ArgumentInvalid, "The scope %.300q is not that of an IoT Edge device in this hub", scope)
}

// edgeDevice returns the IoT Edge device that has a scope, and whether there is one.
func (r *Registry) edgeDevice(ctx context.Context, scope string) (device Device, found bool, _ error) {
	id, isScope := strings.CutPrefix(scope, edgeScheme)
	dash := strings.LastIndexByte(id, '-')
	if !isScope || dash <= 0 {
		return Device{}, false, nil
	}
	device, err := r.Get(ctx, id[:dash])
	if errors.Is(err, fault.DeviceNotFound) || errors.Is(err, fault.ArgumentInvalid) {
		return Device{}, false, nil
	}
	return device, err == nil && device.Capabilities.IoTEdge && device.DeviceScope == scope, err
}

// PresentScope returns the scope that the IoT Edge device of this name has, of which a scope
// is that it has or had, here or in another hub; the same scope if there is none.
func (r *Registry) PresentScope(ctx context.Context, scope string) string {
	id, isScope := strings.CutPrefix(scope, edgeScheme)
	if dash := strings.LastIndexByte(id, '-'); isScope && dash > 0 {
		if device, err := r.Get(ctx, id[:dash]); err == nil && device.Capabilities.IoTEdge {
			return device.DeviceScope
		}
	}
	return scope
}

// maxLevels bounds how many levels of parents are looked at.
const maxLevels = 100

// CheckNotBelow returns fault 400004 when a device that is there is to be the child of
// itself, or of one that is below it.
func (r *Registry) CheckNotBelow(ctx context.Context, device, parent Device) error {
	above, own := parent, edgeScope(device) // also of one that is no IoT Edge device yet
	for range maxLevels {
		if above.DeviceID == device.DeviceID || slices.Contains(above.ParentScopes, own) {
			return fault.New(fault.ArgumentInvalid,
				"The device %q can't be below itself: the parent %q is a descendant of it, or the same device",
				device.DeviceID, parent.DeviceID)
		}
		if len(above.ParentScopes) == 0 {
			return nil
		}
		var found bool
		var err error
		if above, found, err = r.edgeDevice(ctx, above.ParentScopes[0]); err != nil || !found {
			return err
		}
	}
	return nil
}

// checkDeviceScope refuses a deviceScope that says something else than parentScopes, or
// than what the hub has given an IoT Edge device.
func checkDeviceScope(device Device, before *Device) error {
	scope, parent := device.DeviceScope, ""
	if len(device.ParentScopes) > 0 {
		parent = device.ParentScopes[0]
	}
	isEdge, wasEdge := device.Capabilities.IoTEdge, before != nil && before.Capabilities.IoTEdge
	switch {
	case scope == "" || scope == parent:
		return nil
	case isEdge && wasEdge && scope == before.DeviceScope:
		return nil
	case isEdge && before != nil && !wasEdge && parent == "" && scope == before.DeviceScope:
		return nil // it was a child, and stays one
	case isEdge:
		return fault.New(fault.ArgumentInvalid,
			"deviceScope is %.300q, and the hub gives an IoT Edge device its own. Leave it out, or send it as it was "+
				"read; the parent goes into parentScopes",
			scope)
	case parent != "":
		return fault.New(fault.ArgumentInvalid,
			"deviceScope is %.300q and parentScopes has %.300q. A device has one parent: leave one of the two out, "+
				"or let both say the same",
			scope, parent)
	}
	return nil
}

// CheckParent says whether a device can have children: what a hub answered when it
// was asked for the parent. It returns fault 400004 if not.
func CheckParent(id string, parent Device, err error) error {
	switch {
	case errors.Is(err, fault.DeviceNotFound):
		return fault.New(fault.ArgumentInvalid,
			"The parent device %q is not in this hub. Provision it before its children, "+
				"and let both go to the same hub", id)
	case err != nil:
		return err
	case !parent.Capabilities.IoTEdge || parent.DeviceScope == "":
		return fault.New(fault.ArgumentInvalid, "The parent device %q is not an IoT Edge device", id)
	}
	return nil
}

// SetParent makes the device a child of an IoT Edge device.
func (d *Device) SetParent(parent Device) {
	d.DeviceScope, d.ParentScopes = parent.DeviceScope, []string{parent.DeviceScope}
}
