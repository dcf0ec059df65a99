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
	renewed := *d.Authentication
	d.Authentication = &renewed
	if primary {
		key := credential.NewKey(keySize)
		renewed.SymmetricKey.PrimaryKey = &key
	}
	if secondary {
		key := credential.NewKey(keySize)
		renewed.SymmetricKey.SecondaryKey = &key
	}
	return nil
}
