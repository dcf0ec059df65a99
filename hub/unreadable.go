package hub

import (
	"context"

	"github.com/berth-iot/berth/store"
)

// DeviceRecords is the collection of the devices' identities, as an Inspector knows
// it.
func (h *Hub) DeviceRecords() string { return h.devices.Collection }

// DeleteUnreadable removes a record that can't be read with what belongs to it, and
// reports whether it is of a kind where there is more to that than the record: a
// device goes with its twin, in place of a twin there is an empty one, in place of a
// policy one with other keys, and a disabled device stays in the index of those.
func (h *Hub) DeleteUnreadable(ctx context.Context, collection, key string) (handled bool, err error) {
	switch collection {
	case h.devices.Collection:
		return true, h.DeleteDevice(ctx, key, "")
	case h.access.Collection():
		if err := h.access.Delete(ctx, key, ""); err != nil {
			return true, err
		}
		return true, h.createPolicies(ctx)
	case h.disabled.Collection:
		_, err := h.config.Documents.Commit(ctx, h.disabled.Put(key, store.Present, struct{}{}))
		return true, err
	case h.twins.Collection:
		if _, err := h.device(ctx, key); err != nil && !store.IsUnreadable(err) {
			return false, nil // there is no device to it
		}
		_, err := h.config.Documents.Commit(ctx, h.twins.Put(key, store.Present, newTwin(h.config.Now())))
		return true, err
	}
	return false, nil
}

// replaceUnreadable puts another identity in the place of one that can't be read. With
// keep the twin that is there stays if it can be read.
func (h *Hub) replaceUnreadable(ctx context.Context, device Device, twin twin, keep bool, etag string) (Device, error) {
	changes := h.creation(&device, twin)
	changes[0].Match, changes[1].Match = storeMatch(etag), store.Always
	if device.Status == enabled {
		changes = append(changes, h.disabled.Delete(device.DeviceID, store.Always))
	}
	if kept, err := h.twin(ctx, device.DeviceID); keep && err == nil {
		kept.Generation = device.GenerationID
		changes[1] = h.twins.Put(device.DeviceID, storeMatch(kept.etag), kept)
	}
	etags, err := h.config.Documents.Commit(ctx, changes...)
	h.revalidate(ctx, device.DeviceID) // also after an error: it may be there all the same
	if err != nil {
		return Device{}, err
	}
	device.ETag = etagOf(etags[0])
	return device, h.activity.describe(ctx, &device)
}
