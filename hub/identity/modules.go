package identity

import (
	"context"
	"errors"
	"slices"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// ModuleCollection is that of the module identities, as an Inspector knows it.
func (r *Registry) ModuleCollection() string { return r.modules.Collection }

// Module returns a module identity as it is stored, as Get does a device. It returns fault
// 404010 when there is none, whether or not there is the device, and 400004 for what can't
// be an id.
func (r *Registry) Module(ctx context.Context, deviceID, moduleID string) (Module, error) {
	if err := CheckDeviceID(deviceID); err != nil {
		return Module{}, err
	}
	if err := CheckModuleID(moduleID); err != nil {
		return Module{}, err
	}
	id := ModuleKey(deviceID, moduleID)
	module, etag, err := r.modules.Get(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return Module{}, NotFound(id)
	}
	if err != nil {
		module.DeviceID, module.ModuleID = deviceID, moduleID // whose record can't be read
	}
	module.ETag = ETag(etag)
	return module, err
}

// DecodeModule returns the module identity in a document of the ModuleCollection.
func (r *Registry) DecodeModule(stored store.Document) (Module, error) {
	module, err := r.modules.Decode(stored)
	module.ETag = ETag(stored.ETag)
	return module, err
}

// Modules returns the modules of a device in the order of their ids, but for those that
// can't be read.
func (r *Registry) Modules(ctx context.Context, deviceID string) (modules []Module, _ error) {
	entries, err := r.modules.List(ctx, ModuleKey(deviceID, ""), "", maxListed)
	for _, entry := range entries {
		entry.Value.ETag = ETag(entry.ETag)
		modules = append(modules, entry.Value)
	}
	return modules, err
}

// ModuleIDs returns the ids of a device's modules, as ModuleKey has them, also of those that
// can't be read.
func (r *Registry) ModuleIDs(ctx context.Context, deviceID string) (ids []string, _ error) {
	documents, err := r.documents.List(ctx, r.modules.Collection, ModuleKey(deviceID, ""), "", maxListed)
	for _, document := range documents {
		ids = append(ids, document.Key)
	}
	return ids, err
}

// maxListed is more than a device can have, system modules included.
const maxListed = 2 * MaxModules

// PrepareCreateModule makes of what was asked for the module that will be, with a generation
// of its own, and returns what is to be committed with it, the identity first. A device
// that was deleted meanwhile, and another module that was added, is a conflict. It returns
// fault 413003 for a device that has MaxModules, and 409301 for a module that is there.
func (r *Registry) PrepareCreateModule(ctx context.Context, module *Module) ([]store.Change, error) {
	ids, change, err := r.moduleSet(ctx, module.DeviceID)
	if err != nil {
		return nil, err
	}
	own := 0
	for _, id := range ids {
		_, moduleID := SplitKey(id)
		if moduleID == module.ModuleID {
			return nil, fault.New(fault.ModuleAlreadyExists,
				"The device %q has a module %q already. Update it, or delete it first", module.DeviceID, moduleID)
		}
		if !isSystemModule(moduleID) {
			own++
		}
	}
	if own >= MaxModules {
		return nil, fault.New(fault.TooManyModules, "The device %q has %d modules, which is the limit. Delete one first",
			module.DeviceID, own)
	}
	return []store.Change{r.prepareModule(module), change, r.Present(module.DeviceID)}, nil
}

// PrepareSystemModules returns the system modules that an IoT Edge device does not have yet,
// and what is to be committed with it so that it has them.
func (r *Registry) PrepareSystemModules(ctx context.Context, deviceID string) (
	modules []Module, changes []store.Change, _ error,
) {
	ids, change, err := r.moduleSet(ctx, deviceID)
	if err != nil {
		return nil, nil, err
	}
	for _, moduleID := range []string{EdgeAgent, EdgeHub} {
		if slices.Contains(ids, ModuleKey(deviceID, moduleID)) {
			continue
		}
		module := Module{DeviceID: deviceID, ModuleID: moduleID, ManagedBy: new(ManagedByEdge),
			Authentication: &Authentication{Type: NoAuthentication}}
		changes = append(changes, r.prepareModule(&module))
		modules = append(modules, module)
	}
	if len(modules) > 0 {
		changes = append(changes, change)
	}
	return modules, changes, nil
}

func (r *Registry) prepareModule(module *Module) store.Change {
	*module = Module{DeviceID: module.DeviceID, ModuleID: module.ModuleID, GenerationID: r.newGeneration(),
		ManagedBy: module.ManagedBy, Authentication: module.Authentication}
	return r.modules.Put(ModuleKey(module.DeviceID, module.ModuleID), store.Absent, *module)
}

// moduleSet returns the ids of a device's modules, as ModuleKey has them, and the change of
// its set. The set is a document without content that is written with each module that is
// added: of two who add one at the same moment, or of one who adds and one who deletes the
// device, the second finds a conflict, and counts again.
func (r *Registry) moduleSet(ctx context.Context, deviceID string) (ids []string, _ store.Change, _ error) {
	_, etag, err := r.moduleSets.Get(ctx, deviceID)
	change := r.moduleSets.Put(deviceID, store.IfMatch(etag), struct{}{})
	switch {
	case errors.Is(err, store.ErrNotFound):
		change.Match = store.Absent
	case err != nil && !store.IsUnreadable(err): // one that can't be read says as much as another
		return nil, change, err
	}
	ids, err = r.ModuleIDs(ctx, deviceID)
	return ids, change, err
}

// PrepareUpdateModule returns the module that before becomes with what may be changed of it
// taken from changed, and what is to be committed.
func (r *Registry) PrepareUpdateModule(before, changed Module) (store.Change, Module) {
	after := before
	after.ETag = ""
	after.ManagedBy, after.Authentication = changed.ManagedBy, changed.Authentication
	return r.modules.Put(ModuleKey(after.DeviceID, after.ModuleID), match(before.ETag), after), after
}

// PrepareDeleteModule returns what is to be committed so that a module is gone that has this
// ETag.
func (r *Registry) PrepareDeleteModule(deviceID, moduleID, etag string) store.Change {
	return r.modules.Delete(ModuleKey(deviceID, moduleID), match(etag))
}

// CheckDeletable returns fault 401100 for a system module, which an IoT Edge device has as
// long as it is one.
func (d Device) CheckDeletable(moduleID string) error {
	if !isSystemModule(moduleID) || !d.Capabilities.IoTEdge {
		return nil
	}
	return fault.New(fault.SystemModuleModification,
		"The module %q is a system module of the IoT Edge device %q. It goes with the device", moduleID, d.DeviceID)
}
