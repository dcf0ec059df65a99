package rest

import (
	"slices"

	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/hub/identity"
)

// readParent takes what an update means of the parent of a device without edge
// capability. Clients read a device, change one of deviceScope and parentScopes, and
// send the other as they have read it: az changes deviceScope, to that of another parent
// or to "", which takes the parent away. So parentScopes that are as they are stored say
// nothing.
func readParent(c *https.Call, body deviceBody, device *identity.Device) {
	if body.DeviceScope == nil || device.Capabilities.IoTEdge {
		return
	}
	stored, err := c.Hub.Device(c.Context(), device.DeviceID)
	if err != nil || stored.Capabilities.IoTEdge {
		return // the update says what is wrong; and what was an IoT Edge device had a scope of its own
	}
	if len(device.ParentScopes) > 0 && !slices.Equal(device.ParentScopes, stored.ParentScopes) {
		return
	}
	device.ParentScopes = nil
	if *body.DeviceScope == "" {
		device.ParentScopes = []string{}
	}
}
