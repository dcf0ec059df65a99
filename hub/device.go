package hub

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/connection"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/twin"
	"github.com/berth-iot/berth/store"
)

// Device returns a device identity. It returns fault 404001 when there is none.
func (h *Hub) Device(ctx context.Context, id string) (identity.Device, error) {
	device, err := h.registry.Get(ctx, id)
	if err != nil {
		return identity.Device{}, err
	}
	return device, h.describe(ctx, &device)
}

func (h *Hub) describe(ctx context.Context, devices ...*identity.Device) error {
	states := make([]connection.Described, len(devices))
	for i, device := range devices {
		states[i] = connection.Described{ID: device.DeviceID, Generation: device.GenerationID, State: &device.State}
	}
	return h.describeAll(ctx, states)
}

// describeAll fills in what is known of devices and modules beside their identities: their
// connections, and how many messages wait for them. They are in the order of their ids.
func (h *Hub) describeAll(ctx context.Context, states []connection.Described) error {
	if err := h.connections.Describe(ctx, states...); err != nil {
		return err
	}
	ids := make([]string, len(states))
	for i, state := range states {
		ids[i] = state.ID
	}
	waiting, err := h.messages.CountEach(ctx, ids...)
	for _, state := range states {
		state.State.CloudToDeviceMessageCount = waiting[state.ID]
	}
	return err
}

// CreateDevice adds a device and an empty twin. Keys are generated for a device
// that is to have some and brings none. It returns fault 409001 when the id is
// taken and 400004 for what is wrong in the device. An identity that can't be read
// is replaced.
func (h *Hub) CreateDevice(ctx context.Context, device identity.Device) (identity.Device, error) {
	return h.CreateDeviceWithTwin(ctx, device, nil, nil)
}

// CreateDeviceWithTwin is CreateDevice with the first tags and desired properties of
// the twin: JSON objects, or nothing. What breaks a limit of twins is fault 400004.
func (h *Hub) CreateDeviceWithTwin(
	ctx context.Context, device identity.Device, tags, desired json.RawMessage,
) (identity.Device, error) {
	if err := device.Complete(nil); err != nil {
		return identity.Device{}, err
	}
	initial, err := twin.New(tags, desired, h.config.Now())
	if err != nil {
		return identity.Device{}, err
	}
	device.Issuance = nil
	if err := h.registry.CheckParents(ctx, &device, nil); err != nil {
		return identity.Device{}, err
	}
	if before, err := h.registry.Get(ctx, device.DeviceID); store.IsUnreadable(err) {
		created, err := h.replaceUnreadable(ctx, device, initial, !twin.AnyPresent(tags, desired), before.ETag)
		if _, conflict := store.IsConflict(err); !conflict {
			return created, err
		}
	}
	return h.create(ctx, device, initial)
}

func (h *Hub) create(ctx context.Context, device identity.Device, initial twin.Document) (identity.Device, error) {
	changes, err := h.prepareCreate(ctx, &device, initial)
	if err != nil {
		return identity.Device{}, err
	}
	etags, err := h.config.Documents.Commit(ctx, changes...)
	if _, conflict := store.IsConflict(err); conflict {
		return identity.Device{}, fault.New(fault.DeviceAlreadyExists,
			"There is a device %q already. Update it, or delete it first", device.DeviceID)
	}
	if err != nil {
		return identity.Device{}, err
	}
	device.ETag, device.ConnectionState = identity.ETag(etags[0]), identity.Disconnected
	return device, nil
}

// prepareCreate returns what is to be committed for a device that is new, with its twin and
// system modules.
func (h *Hub) prepareCreate(
	ctx context.Context, device *identity.Device, initial twin.Document,
) ([]store.Change, error) {
	changes := h.registry.PrepareCreate(device)
	changes = append(changes, h.twins.PrepareCreate(device.DeviceID, device.GenerationID, initial))
	changes = append(changes, h.configurations.PrepareDue(device.DeviceID)...)
	changes = append(changes, h.creationEvent(device.DeviceID, device.GenerationID, initial)...)
	modules, err := h.prepareSystemModules(ctx, *device)
	return append(changes, modules...), err
}

// UpdateDevice replaces what an operator may set of a device: status, reason,
// authentication and capabilities. ifMatch is "", "*" or the ETag that the
// device must have. A device that is disabled, or whose credentials change, is
// disconnected. It returns the faults 404001, 412001 and 400004.
func (h *Hub) UpdateDevice(ctx context.Context, device identity.Device, ifMatch string) (identity.Device, error) {
	return store.RetryOnConflict(ctx, func() (identity.Device, error) {
		before, err := h.registry.Get(ctx, device.DeviceID)
		unreadable := store.IsUnreadable(err)
		if err != nil && !unreadable {
			return identity.Device{}, err
		}
		if err := fault.Precondition("device", ifMatch, before.ETag); err != nil {
			return identity.Device{}, err
		}
		if unreadable {
			return h.CreateDevice(ctx, device)
		}
		changed := device
		changed.Issuance = before.Issuance
		if err := h.registry.CheckParents(ctx, &changed, &before); err != nil {
			return identity.Device{}, err
		}
		if err := changed.Complete(&before); err != nil {
			return identity.Device{}, err
		}
		return h.replace(ctx, before, changed)
	})
}

// replace writes changed in the place of before and ends the connections that
// this makes void.
func (h *Hub) replace(ctx context.Context, before, changed identity.Device) (identity.Device, error) {
	changes, after := h.prepareUpdate(before, changed)
	modules, err := h.prepareSystemModules(ctx, after)
	if err != nil {
		return identity.Device{}, err
	}
	etags, err := h.config.Documents.Commit(ctx, append(changes, modules...)...)
	h.connections.Revalidate(ctx, after.DeviceID) // also after an error: it may be there all the same
	if after.Status == identity.Disabled && before.Status != identity.Disabled {
		h.revalidateModules(ctx, after.DeviceID)
	}
	if err != nil {
		return identity.Device{}, err
	}
	after.ETag = identity.ETag(etags[0])
	return after, h.describe(ctx, &after)
}

// prepareUpdate returns what is to be committed for a device that changes, and the device
// that it becomes. What configurations target it may depend on its capabilities.
func (h *Hub) prepareUpdate(before, changed identity.Device) ([]store.Change, identity.Device) {
	changes, after := h.registry.PrepareUpdate(before, changed)
	if after.Capabilities != before.Capabilities {
		changes = append(changes, h.configurations.PrepareDue(after.DeviceID)...)
	}
	return changes, after
}

// RenewKeys makes the primary key of a device anew, its secondary key, or both, and ends
// a connection that the former keys began. It returns the faults 404001, and 400004 for a
// device that has no keys.
func (h *Hub) RenewKeys(ctx context.Context, id string, primary, secondary bool) (identity.Device, error) {
	return store.RetryOnConflict(ctx, func() (identity.Device, error) {
		before, err := h.registry.Get(ctx, id)
		if err != nil {
			return identity.Device{}, err
		}
		changed := before
		if err := changed.RenewKeys(primary, secondary); err != nil {
			return identity.Device{}, err
		}
		return h.replace(ctx, before, changed)
	})
}

// DeleteDevice removes a device with its twin, its modules and all that is kept of them,
// whatever that holds, and ends their connections. It is one commit, bounded by how many
// modules a device has and how many messages may wait for each. It returns the faults
// 404001 and 412001.
func (h *Hub) DeleteDevice(ctx context.Context, id, ifMatch string) error {
	_, err := store.RetryOnConflict(ctx, func() ([]string, error) {
		device, err := h.registry.Get(ctx, id)
		if err != nil && !store.IsUnreadable(err) {
			return nil, err
		}
		if err := fault.Precondition("device", ifMatch, device.ETag); err != nil {
			return nil, err
		}
		changes, modules, err := h.registry.PrepareDelete(ctx, id, device.ETag)
		if err != nil {
			return nil, err
		}
		all := append([]string{id}, modules...)
		rest, err := h.prepareDeleteRest(ctx, all...)
		if err != nil {
			return nil, err
		}
		etags, err := h.config.Documents.Commit(ctx, append(changes, rest...)...)
		for _, one := range all {
			h.connections.Revalidate(ctx, one) // also after an error: it may be gone all the same
		}
		return etags, err
	})
	return err
}

// prepareDeleteRest returns what is to be committed with the end of identities, so that
// nothing stays of what is kept by their ids.
func (h *Hub) prepareDeleteRest(ctx context.Context, ids ...string) (changes []store.Change, _ error) {
	for _, id := range ids {
		changes = append(changes, h.faults.PrepareDelete(id))
		messages, err := h.messages.PrepareDelete(ctx, id)
		if err != nil {
			return nil, err
		}
		told, err := h.deletionEvent(ctx, id)
		if err != nil {
			return nil, err
		}
		configured, err := h.configurations.PrepareDelete(ctx, id)
		if err != nil {
			return nil, err
		}
		changes = slices.Concat(changes, []store.Change{h.twins.PrepareDelete(id)}, h.connections.PrepareDelete(id),
			messages, configured, told)
	}
	return changes, nil
}

// Devices returns at most limit devices whose ids start with prefix, in the
// order of their ids, and where to go on: next is the after of the next call,
// or "" at the end.
func (h *Hub) Devices(
	ctx context.Context, prefix, after string, limit int,
) (devices []identity.Device, next string, err error) {
	if devices, next, err = h.registry.List(ctx, prefix, after, limit); err != nil {
		return nil, "", err
	}
	found := make([]*identity.Device, len(devices))
	for i := range devices {
		found[i] = &devices[i]
	}
	if err := h.describe(ctx, found...); err != nil {
		return nil, "", err
	}
	return devices, next, nil
}
