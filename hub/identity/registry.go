// Package identity is the registry of device and module identities: who there is, how each
// proves itself, and whose child it is. It knows neither twins nor connections.
//
// All that belongs to an identity is kept under one id: that of the device, or for a
// module {device id}/{module id}, as in its MQTT client id. No id of either has a slash.
// See ModuleKey and SplitKey.
package identity

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// Config says where identities are kept.
type Config struct {
	Documents store.Documents
	Prefix    string // what the names of the collections begin with, such as hub/berth/
	Now       func() time.Time
	Reindex   bool // an earlier version has had the documents: indexes are made anew
}

// Registry keeps the identities of a hub. Changes are prepared by it and committed by
// whoever has others to make with them. Its methods may be called at once from many
// goroutines.
type Registry struct {
	documents  store.Documents
	devices    store.Table[Device]
	disabled   store.Table[struct{}] // the ids of devices that are
	modules    store.Table[Module]
	moduleSets store.Table[struct{}] // by device, see prepareAdd
	now        func() time.Time
	generation atomic.Int64 // the last one that was given out by this process
}

// Open returns the registry on its documents.
func Open(ctx context.Context, config Config) (*Registry, error) {
	r := &Registry{
		documents:  config.Documents,
		devices:    store.NewTable[Device](config.Documents, config.Prefix+"devices"),
		disabled:   store.NewTable[struct{}](config.Documents, config.Prefix+"disabled"),
		modules:    store.NewTable[Module](config.Documents, config.Prefix+"modules"),
		moduleSets: store.NewTable[struct{}](config.Documents, config.Prefix+"module-sets"),
		now:        config.Now,
	}
	return r, r.indexDisabled(ctx, store.NewTable[bool](config.Documents, config.Prefix+"indexes"), config.Reindex)
}

// Collection is that of the device identities, as an Inspector knows it.
func (r *Registry) Collection() string { return r.devices.Collection }

// Get returns a device identity as it is stored, with its ETag, but not whether the device
// is connected. It returns fault 404001 when there is none and 400004 for what can't be an
// id. With the error of a record that can't be read it returns the ETag all the same.
func (r *Registry) Get(ctx context.Context, id string) (Device, error) {
	if err := CheckDeviceID(id); err != nil {
		return Device{}, err
	}
	device, etag, err := r.devices.Get(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return Device{}, NotFound(id)
	}
	device.ETag = ETag(etag)
	return device, err
}

// Decode returns the device identity in a document of the Collection, as Get does.
func (r *Registry) Decode(stored store.Document) (Device, error) {
	device, err := r.devices.Decode(stored)
	device.ETag = ETag(stored.ETag)
	return device, err
}

// NotFound returns fault 404001 for the id of a device that is not there, and 404010 for
// that of a module.
func NotFound(id string) error {
	if deviceID, moduleID := SplitKey(id); moduleID != "" {
		return fault.New(fault.ModuleNotFound, "The device %q has no module %q", deviceID, moduleID)
	}
	return fault.New(fault.DeviceNotFound, "There is no device %q", id)
}

// List returns at most limit devices whose ids start with prefix, in the order of their
// ids, as Get does, and where to go on: next is the after of the next call, or "" at the
// end.
func (r *Registry) List(ctx context.Context, prefix, after string, limit int) (devices []Device, next string, _ error) {
	entries, err := r.devices.List(ctx, prefix, after, limit)
	if err != nil {
		return nil, "", err
	}
	devices = make([]Device, len(entries))
	for i, entry := range entries {
		devices[i] = entry.Value
		devices[i].ETag = ETag(entry.ETag)
	}
	if len(entries) == limit {
		next = entries[limit-1].Key
	}
	return devices, next, nil
}

// PrepareCreate makes of what was asked for the device that will be, with a generation of
// its own, and returns what is to be committed, the identity first.
func (r *Registry) PrepareCreate(device *Device) []store.Change {
	*device = Device{
		DeviceID: device.DeviceID, GenerationID: r.newGeneration(),
		Status: device.Status, StatusReason: device.StatusReason,
		Authentication: device.Authentication, Capabilities: device.Capabilities, Issuance: device.Issuance,
		DeviceScope: device.DeviceScope, ParentScopes: device.ParentScopes,
	}
	if device.Capabilities.IoTEdge {
		device.DeviceScope = edgeScope(*device)
	}
	changes := []store.Change{r.devices.Put(device.DeviceID, store.Absent, *device)}
	return append(changes, r.indexStatus(*device, Enabled)...)
}

// PrepareReplace is PrepareCreate in the place of an identity that can't be read and has
// this ETag.
func (r *Registry) PrepareReplace(device *Device, etag string) []store.Change {
	changes := r.PrepareCreate(device)
	changes[0].Match = match(etag)
	if device.Status == Enabled {
		changes = append(changes, r.disabled.Delete(device.DeviceID, store.Always))
	}
	return changes
}

// PrepareUpdate returns the device that before becomes with what may be changed of it
// taken from changed, and what is to be committed, the identity first.
func (r *Registry) PrepareUpdate(before, changed Device) ([]store.Change, Device) {
	after := before
	after.ETag = ""
	after.Status, after.StatusReason = changed.Status, changed.StatusReason
	after.Authentication, after.Issuance = changed.Authentication, changed.Issuance
	after.Capabilities = changed.Capabilities
	after.DeviceScope, after.ParentScopes = changed.DeviceScope, changed.ParentScopes
	if after.Capabilities.IoTEdge {
		after.DeviceScope = edgeScope(after)
	}
	if after.Status != before.Status {
		after.StatusUpdatedTime.Time = r.now().UTC()
	}
	change := r.devices.Put(after.DeviceID, match(before.ETag), after)
	return append([]store.Change{change}, r.indexStatus(after, before.Status)...), after
}

// PrepareDelete returns what is to be committed so that a device is gone that has this
// ETag, the identity first, with all of its modules, whose ids it returns too. A module
// that is added meanwhile is a conflict.
func (r *Registry) PrepareDelete(ctx context.Context, id, etag string) (
	changes []store.Change, modules []string, _ error,
) {
	modules, change, err := r.moduleSet(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	change.Value = nil
	change.Check = change.Match == store.Absent
	change.Delete = !change.Check
	changes = []store.Change{r.devices.Delete(id, match(etag)), r.disabled.Delete(id, store.Always), change}
	for _, module := range modules {
		changes = append(changes, r.modules.Delete(module, store.Always))
	}
	return changes, modules, nil
}

// PrepareRepair returns what is to be committed in the place of a record that can't be
// read and is no identity: a disabled device stays in the index of those, and the set of a
// device's modules as it is. It reports whether the collection is one of these.
func (r *Registry) PrepareRepair(collection, key string) ([]store.Change, bool) {
	switch collection {
	case r.disabled.Collection:
		return []store.Change{r.disabled.Put(key, store.Present, struct{}{})}, true
	case r.moduleSets.Collection:
		return []store.Change{r.moduleSets.Put(key, store.Present, struct{}{})}, true
	}
	return nil, false
}

// newGeneration tells a device from every earlier one of the same id, even if both
// were made in one moment. Azure's is a number of 18 digits that grows with time; so
// is this.
func (r *Registry) newGeneration() string {
	for {
		last := r.generation.Load()
		next := max(r.now().UnixNano()/100+504911232000000000, last+1)
		if r.generation.CompareAndSwap(last, next) {
			return strconv.FormatInt(next, 10)
		}
	}
}
