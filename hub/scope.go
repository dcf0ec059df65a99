package hub

import "github.com/berth-iot/berth/fault"

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
			"deviceScope is %.300q, and the hub gives an IoT Edge device its own. Leave it out, or send it as it was read; the parent goes into parentScopes",
			scope)
	case parent != "":
		return fault.New(fault.ArgumentInvalid,
			"deviceScope is %.300q and parentScopes has %.300q. A device has one parent: leave one of the two out, or let both say the same",
			scope, parent)
	}
	return nil
}
