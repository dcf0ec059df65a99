package hub

import (
	"context"

	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/twin"
	"github.com/berth-iot/berth/store"
)

// DeleteUnreadable removes a record that can't be read with what belongs to it, and
// reports whether it is of a kind where there is more to that than the record: a
// device or module goes with its twin, in place of a twin there is an empty one, in place of
// a policy one with other keys, a disabled device stays in the index of those, and which
// configurations target a device is found out again.
func (h *Hub) DeleteUnreadable(ctx context.Context, collection, key string) (handled bool, err error) {
	if changes, ok := h.registry.PrepareRepair(collection, key); ok {
		_, err := h.config.Documents.Commit(ctx, changes...)
		return true, err
	}
	if repaired, err := h.configurations.Repair(ctx, collection, key); repaired {
		return true, err
	}
	switch collection {
	case h.registry.Collection():
		return true, h.DeleteDevice(ctx, key, "")
	case h.registry.ModuleCollection():
		deviceID, moduleID := identity.SplitKey(key)
		if moduleID == "" {
			return false, nil // no module has such a key
		}
		return true, h.DeleteModule(ctx, deviceID, moduleID, "")
	case h.access.Collection():
		if err := h.access.Delete(ctx, key, ""); err != nil {
			return true, err
		}
		return true, h.createPolicies(ctx)
	case h.twins.Collection():
		if _, err := h.registry.Principal(ctx, key); err != nil && !store.IsUnreadable(err) {
			return false, nil // there is no device or module to it
		}
		changes := append(h.configurations.PrepareDue(key), h.twins.PrepareEmpty(key))
		_, err := h.config.Documents.Commit(ctx, changes...)
		return true, err
	}
	return false, nil
}

// replaceUnreadable puts another identity in the place of one that can't be read. With
// keep the twin that is there stays if it can be read.
func (h *Hub) replaceUnreadable(
	ctx context.Context, device identity.Device, initial twin.Document, keep bool, etag string,
) (identity.Device, error) {
	changes := h.registry.PrepareReplace(&device, etag)
	changes = append(changes, h.twins.PrepareReplace(ctx, device.DeviceID, device.GenerationID, initial, keep))
	changes = append(changes, h.configurations.PrepareDue(device.DeviceID)...)
	modules, err := h.prepareSystemModules(ctx, device)
	if err != nil {
		return identity.Device{}, err
	}
	changes = append(changes, modules...)
	etags, err := h.config.Documents.Commit(ctx, changes...)
	h.connections.Revalidate(ctx, device.DeviceID) // also after an error: it may be there all the same
	if err != nil {
		return identity.Device{}, err
	}
	device.ETag = identity.ETag(etags[0])
	return device, h.describe(ctx, &device)
}
