package https

import "github.com/berth-iot/berth/hub/identity"

// IdentityID returns the id of the device that the path of the request names, or of the
// module, if it names one: see identity.ModuleKey. It returns fault 400004 for what can't
// be an id.
func (c *Call) IdentityID() (string, error) {
	id := c.Parameter("id")
	if err := identity.CheckDeviceID(id); err != nil {
		return "", err
	}
	moduleID, ofModule := c.parameters["module"]
	if !ofModule {
		return id, nil
	}
	if err := identity.CheckModuleID(moduleID); err != nil {
		return "", err
	}
	return identity.ModuleKey(id, moduleID), nil
}
