package identity

import (
	"errors"
	"testing"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
)

// TestRenewKeys makes only those keys anew that are asked for, and leaves what it was
// called on a copy of as it was.
func TestRenewKeys(t *testing.T) {
	for _, c := range []struct{ primary, secondary bool }{{true, false}, {false, true}, {true, true}, {false, false}} {
		before := Device{DeviceID: "d"}
		if err := before.Complete(nil); err != nil {
			t.Fatal(err)
		}
		keys := before.Authentication.SymmetricKey
		after := before
		if err := after.RenewKeys(c.primary, c.secondary); err != nil {
			t.Fatal(err)
		}
		renewed := after.Authentication.SymmetricKey
		if (*renewed.PrimaryKey != *keys.PrimaryKey) != c.primary ||
			(*renewed.SecondaryKey != *keys.SecondaryKey) != c.secondary ||
			!credential.ValidKey(*renewed.PrimaryKey) || !credential.ValidKey(*renewed.SecondaryKey) {
			t.Errorf("%+v makes %+v of %+v", c, renewed, keys)
		}
		if before.Authentication.SymmetricKey != keys {
			t.Errorf("%+v changes the device that was read", c)
		}
	}
	for _, authentication := range []*Authentication{nil, {Type: CertificateAuthority}} {
		device := Device{DeviceID: "d", Authentication: authentication}
		if err := device.RenewKeys(true, true); !errors.Is(err, fault.ArgumentInvalid) {
			t.Errorf("of a device with %+v keys are made anew: %v", authentication, err)
		}
	}
}
