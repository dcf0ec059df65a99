package hub

import (
	"context"
	"errors"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// Twins returns at most limit twins, in the order of their devices' ids, and where to go
// on: next is the after of the next call, or "" at the end. A twin that can't be read is
// left out.
func (h *Hub) Twins(ctx context.Context, after string, limit int) (twins []Twin, next string, err error) {
	devices, next, err := h.Devices(ctx, "", after, limit)
	if err != nil {
		return nil, "", err
	}
	twins = make([]Twin, 0, len(devices))
	for _, device := range devices {
		stored, err := h.twin(ctx, device.DeviceID)
		if errors.Is(err, fault.DeviceNotFound) || store.IsUnreadable(err) {
			continue // deleted meanwhile, or damaged
		}
		if err != nil {
			return nil, "", err
		}
		twins = append(twins, stored.describe(device))
	}
	return twins, next, nil
}
