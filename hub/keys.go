package hub

import (
	"context"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// RenewKeys makes the primary key of a device anew, its secondary key, or both, and ends
// a connection that the former keys began. It returns the faults 404001, and 400004 for a
// device that has no keys.
func (h *Hub) RenewKeys(ctx context.Context, id string, primary, secondary bool) (Device, error) {
	return store.RetryOnConflict(ctx, func() (Device, error) {
		before, err := h.device(ctx, id)
		if err != nil {
			return Device{}, err
		}
		if before.Authentication == nil || before.Authentication.Type != SAS {
			return Device{}, fault.New(fault.ArgumentInvalid,
				"The device %q has no keys: it authenticates otherwise", id)
		}
		changed, renewed := before, *before.Authentication
		changed.Authentication = &renewed
		if primary {
			key := credential.NewKey(keySize)
			renewed.SymmetricKey.PrimaryKey = &key
		}
		if secondary {
			key := credential.NewKey(keySize)
			renewed.SymmetricKey.SecondaryKey = &key
		}
		return h.replace(ctx, before, changed)
	})
}
