package identity

import (
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
)

// RenewKeys makes the primary key of the device anew, its secondary key, or both. It
// returns fault 400004 for a device that has no keys.
func (d *Device) RenewKeys(primary, secondary bool) error {
	if d.Authentication == nil || d.Authentication.Type != SAS {
		return fault.New(fault.ArgumentInvalid, "The device %q has no keys: it authenticates otherwise", d.DeviceID)
	}
	d.Authentication = d.Authentication.renewKeys(primary, secondary)
	return nil
}

// RenewKeys makes the primary key of the module anew, its secondary key, or both. It
// returns fault 400004 for a module that has no keys.
func (m *Module) RenewKeys(primary, secondary bool) error {
	if m.Authentication == nil || m.Authentication.Type != SAS {
		return fault.New(fault.ArgumentInvalid, "The module %q has no keys: it authenticates otherwise", m.ModuleID)
	}
	m.Authentication = m.Authentication.renewKeys(primary, secondary)
	return nil
}

func (a Authentication) renewKeys(primary, secondary bool) *Authentication {
	if primary {
		key := credential.NewKey(keySize)
		a.SymmetricKey.PrimaryKey = &key
	}
	if secondary {
		key := credential.NewKey(keySize)
		a.SymmetricKey.SecondaryKey = &key
	}
	return &a
}
