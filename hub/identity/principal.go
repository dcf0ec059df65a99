package identity

import (
	"context"
	"strings"

	"github.com/berth-iot/berth/store"
)

// ModuleKey returns the id by which all that belongs to a module of a device is kept.
func ModuleKey(deviceID, moduleID string) string { return deviceID + "/" + moduleID }

// SplitKey returns the device that an id is of and, if it is that of a module, the module;
// else "".
func SplitKey(id string) (deviceID, moduleID string) {
	deviceID, moduleID, _ = strings.Cut(id, "/")
	return deviceID, moduleID
}

// Principal is who connects to the hub or is sent something by it, a device or a module:
// what the two have in common.
type Principal struct {
	ID             string // see ModuleKey
	GenerationID   string
	ETag           string
	Disabled       bool // a module is when its device is
	Authentication *Authentication
	Issuance       *Issuance // nil for a module
}

// Principal returns the device or module that has an id, as it is stored. It returns fault
// 404001 when there is no such device, 404010 when it has no such module, and 400004 for
// what can't be an id.
func (r *Registry) Principal(ctx context.Context, id string) (Principal, error) {
	deviceID, moduleID := SplitKey(id)
	device, err := r.Get(ctx, deviceID)
	if id == deviceID || err != nil {
		return device.Principal(), err
	}
	module, err := r.Module(ctx, deviceID, moduleID)
	principal := module.Principal()
	principal.Disabled = device.Status == Disabled
	return principal, err
}

// Principal returns what the device has in common with modules.
func (d Device) Principal() Principal {
	return Principal{ID: d.DeviceID, GenerationID: d.GenerationID, ETag: d.ETag, Disabled: d.Status == Disabled,
		Authentication: d.Authentication, Issuance: d.Issuance}
}

// Principal returns what the module has in common with devices, but for the status of its
// device, which it does not know.
func (m Module) Principal() Principal {
	return Principal{ID: ModuleKey(m.DeviceID, m.ModuleID), GenerationID: m.GenerationID, ETag: m.ETag,
		Authentication: m.Authentication}
}

// Unchanged returns the check that the identity of a device or module is as it was read.
func (r *Registry) Unchanged(p Principal) store.Change { return r.check(p.ID, match(p.ETag)) }

// Present returns the check that there is a device or module.
func (r *Registry) Present(id string) store.Change { return r.check(id, store.Present) }

func (r *Registry) check(id string, match store.Match) store.Change {
	collection := r.devices.Collection
	if _, moduleID := SplitKey(id); moduleID != "" {
		collection = r.modules.Collection
	}
	return store.Change{Collection: collection, Key: id, Match: match, Check: true}
}
