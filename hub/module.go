package hub

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/connection"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/twin"
	"github.com/berth-iot/berth/store"
)

// Module returns a module identity. It returns fault 404001 when there is no such device and
// 404010 when it has no such module.
func (h *Hub) Module(ctx context.Context, deviceID, moduleID string) (identity.Module, error) {
	module, _, err := h.moduleOf(ctx, deviceID, moduleID)
	if err != nil {
		return identity.Module{}, err
	}
	return module, h.describeModules(ctx, &module)
}

// moduleOf returns a module as it is stored, and its device. Of a record of the module that
// can't be read it returns the ETag, as Registry.Module does.
func (h *Hub) moduleOf(ctx context.Context, deviceID, moduleID string) (identity.Module, identity.Device, error) {
	device, err := h.registry.Get(ctx, deviceID)
	if err != nil {
		return identity.Module{}, device, err
	}
	module, err := h.registry.Module(ctx, deviceID, moduleID)
	return module, device, err
}

// isUnreadable reports whether it is the record of the module that can't be read, and not
// that of its device.
func isUnreadable(module identity.Module, err error) bool {
	return store.IsUnreadable(err) && module.ETag != ""
}

func (h *Hub) describeModules(ctx context.Context, modules ...*identity.Module) error {
	states := make([]connection.Described, len(modules))
	for i, module := range modules {
		states[i] = connection.Described{ID: identity.ModuleKey(module.DeviceID, module.ModuleID),
			Generation: module.GenerationID, State: &module.State}
	}
	return h.describeAll(ctx, states)
}

// Modules returns the modules of a device in the order of their ids. It returns fault 404001.
func (h *Hub) Modules(ctx context.Context, deviceID string) ([]identity.Module, error) {
	if _, err := h.registry.Get(ctx, deviceID); err != nil {
		return nil, err
	}
	modules, err := h.registry.Modules(ctx, deviceID)
	if err != nil {
		return nil, err
	}
	found := make([]*identity.Module, len(modules))
	for i := range modules {
		found[i] = &modules[i]
	}
	return modules, h.describeModules(ctx, found...)
}

// CreateModule adds a module to a device, with an empty twin. Keys are generated for a module
// that is to have some and brings none. It returns fault 404001 when there is no such
// device, 409301 when the id is taken, 413003 for a device that has as many as it can have,
// and 400004 for what is wrong in the module. An identity that can't be read is replaced.
func (h *Hub) CreateModule(ctx context.Context, module identity.Module) (identity.Module, error) {
	return h.CreateModuleWithTwin(ctx, module, nil, nil)
}

// CreateModuleWithTwin is CreateModule with the first tags and desired properties of the
// twin, as in CreateDeviceWithTwin.
func (h *Hub) CreateModuleWithTwin(
	ctx context.Context, module identity.Module, tags, desired json.RawMessage,
) (identity.Module, error) {
	if err := module.Complete(nil); err != nil {
		return identity.Module{}, err
	}
	initial, err := twin.New(tags, desired, h.config.Now())
	if err != nil {
		return identity.Module{}, err
	}
	id := identity.ModuleKey(module.DeviceID, module.ModuleID)
	return store.RetryOnConflict(ctx, func() (identity.Module, error) {
		before, _, err := h.moduleOf(ctx, module.DeviceID, module.ModuleID)
		if isUnreadable(before, err) {
			err = h.DeleteModule(ctx, module.DeviceID, module.ModuleID, "")
		}
		if err != nil && !errors.Is(err, fault.ModuleNotFound) {
			return identity.Module{}, err
		}
		created := module
		changes, err := h.registry.PrepareCreateModule(ctx, &created)
		if err != nil {
			return identity.Module{}, err
		}
		changes = append(changes, h.twins.PrepareReplace(ctx, id, created.GenerationID, initial, false))
		changes = slices.Concat(changes, h.creationEvent(id, created.GenerationID, initial), h.configurations.PrepareDue(id))
		etags, err := h.config.Documents.Commit(ctx, changes...)
		if err != nil {
			return identity.Module{}, err
		}
		created.ETag, created.ConnectionState = identity.ETag(etags[0]), identity.Disconnected
		return created, nil
	})
}

// UpdateModule replaces what an operator may set of a module: who manages it and how it
// authenticates. ifMatch is as for UpdateDevice. A module whose credentials change is
// disconnected. It returns the faults 404001, 404010, 412001 and 400004.
func (h *Hub) UpdateModule(ctx context.Context, module identity.Module, ifMatch string) (identity.Module, error) {
	return store.RetryOnConflict(ctx, func() (identity.Module, error) {
		before, _, err := h.moduleOf(ctx, module.DeviceID, module.ModuleID)
		unreadable := isUnreadable(before, err)
		if err != nil && !unreadable {
			return identity.Module{}, err
		}
		if err := fault.Precondition("module", ifMatch, before.ETag); err != nil {
			return identity.Module{}, err
		}
		if unreadable {
			return h.CreateModule(ctx, module)
		}
		changed := module
		if err := changed.Complete(&before); err != nil {
			return identity.Module{}, err
		}
		return h.replaceModule(ctx, before, changed)
	})
}

// replaceModule writes changed in the place of before and ends the connection that this
// makes void.
func (h *Hub) replaceModule(ctx context.Context, before, changed identity.Module) (identity.Module, error) {
	change, after := h.registry.PrepareUpdateModule(before, changed)
	etags, err := h.config.Documents.Commit(ctx, change)
	// also after an error: it may be there all the same
	h.connections.Revalidate(ctx, identity.ModuleKey(after.DeviceID, after.ModuleID))
	if err != nil {
		return identity.Module{}, err
	}
	after.ETag = identity.ETag(etags[0])
	return after, h.describeModules(ctx, &after)
}

// RenewModuleKeys makes the primary key of a module anew, its secondary key, or both, as
// RenewKeys does of a device.
func (h *Hub) RenewModuleKeys(
	ctx context.Context, deviceID, moduleID string, primary, secondary bool,
) (identity.Module, error) {
	return store.RetryOnConflict(ctx, func() (identity.Module, error) {
		before, _, err := h.moduleOf(ctx, deviceID, moduleID)
		if err != nil {
			return identity.Module{}, err
		}
		changed := before
		if err := changed.RenewKeys(primary, secondary); err != nil {
			return identity.Module{}, err
		}
		return h.replaceModule(ctx, before, changed)
	})
}

// DeleteModule removes a module with its twin and all that is kept of it, and ends its
// connection. It returns the faults 404001, 404010 and 412001, and 401100 for a system
// module of an IoT Edge device.
func (h *Hub) DeleteModule(ctx context.Context, deviceID, moduleID, ifMatch string) error {
	id := identity.ModuleKey(deviceID, moduleID)
	_, err := store.RetryOnConflict(ctx, func() ([]string, error) {
		module, device, err := h.moduleOf(ctx, deviceID, moduleID)
		unreadable := isUnreadable(module, err)
		if err == nil {
			err = device.CheckDeletable(moduleID)
		}
		if err != nil && !unreadable {
			return nil, err
		}
		if err := fault.Precondition("module", ifMatch, module.ETag); err != nil {
			return nil, err
		}
		rest, err := h.prepareDeleteRest(ctx, id)
		if err != nil {
			return nil, err
		}
		etags, err := h.config.Documents.Commit(ctx,
			append(rest, h.registry.PrepareDeleteModule(deviceID, moduleID, module.ETag))...)
		h.connections.Revalidate(ctx, id) // also after an error: it may be gone all the same
		return etags, err
	})
	return err
}

// revalidateModules has the sessions of all modules of a device look again whether they may
// stay connected.
func (h *Hub) revalidateModules(ctx context.Context, deviceID string) {
	ids, err := h.registry.ModuleIDs(context.WithoutCancel(ctx), deviceID)
	if err != nil {
		h.config.Logger.Error("modules may still be connected", "hub", h.config.Name, "device", deviceID, "error", err)
	}
	for _, id := range ids {
		h.connections.Revalidate(ctx, id)
	}
}

// prepareSystemModules returns what is to be committed so that an IoT Edge device has its
// system modules, each with an empty twin; nothing when it has them, or for another device.
func (h *Hub) prepareSystemModules(ctx context.Context, device identity.Device) ([]store.Change, error) {
	if !device.Capabilities.IoTEdge {
		return nil, nil
	}
	modules, changes, err := h.registry.PrepareSystemModules(ctx, device.DeviceID)
	for _, module := range modules {
		empty, err := twin.New(nil, nil, h.config.Now())
		if err != nil {
			return nil, err
		}
		id := identity.ModuleKey(module.DeviceID, module.ModuleID)
		changes = append(changes, h.twins.PrepareReplace(ctx, id, module.GenerationID, empty, false))
		changes = slices.Concat(changes, h.creationEvent(id, module.GenerationID, empty), h.configurations.PrepareDue(id))
	}
	return changes, err
}
