package hub

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/twin"
	"github.com/berth-iot/berth/store"
)

// Twin returns the twin of a device or module. It returns fault 404001 when there is none.
func (h *Hub) Twin(ctx context.Context, id string) (twin.Twin, error) {
	describe, err := h.twinOwner(ctx, id)
	if err != nil {
		return twin.Twin{}, err
	}
	stored, err := h.twins.Get(ctx, id)
	if err != nil {
		return twin.Twin{}, err
	}
	described := describe(stored)
	return described, h.describeTwins(ctx, &described)
}

// twinOwner returns what describes the twin of a device or module, with what its identity
// says. That there is no such module is fault 404001, as in Azure, and not 404010.
func (h *Hub) twinOwner(ctx context.Context, id string) (describe func(twin.Document) twin.Twin, _ error) {
	deviceID, moduleID := identity.SplitKey(id)
	if id == deviceID {
		device, err := h.Device(ctx, id)
		return func(d twin.Document) twin.Twin { return d.Describe(device) }, err
	}
	module, device, err := h.moduleOf(ctx, deviceID, moduleID)
	if err == nil {
		err = h.describeModules(ctx, &module)
	}
	if errors.Is(err, fault.ModuleNotFound) {
		err = fault.New(fault.DeviceNotFound, "The device %q has no module %q", deviceID, moduleID)
	}
	return func(d twin.Document) twin.Twin { return d.DescribeModule(module, device) }, err
}

// Twins returns at most limit twins, in the order of their devices' ids, and where to go
// on: next is the after of the next call, or "" at the end. A twin that can't be read is
// left out.
func (h *Hub) Twins(ctx context.Context, after string, limit int) (twins []twin.Twin, next string, err error) {
	devices, next, err := h.Devices(ctx, "", after, limit)
	if err != nil {
		return nil, "", err
	}
	twins = make([]twin.Twin, 0, len(devices))
	for _, device := range devices {
		stored, err := h.twins.Get(ctx, device.DeviceID)
		if errors.Is(err, fault.DeviceNotFound) || store.IsUnreadable(err) {
			continue // deleted meanwhile, or damaged
		}
		if err != nil {
			return nil, "", err
		}
		twins = append(twins, stored.Describe(device))
	}
	found := make([]*twin.Twin, len(twins))
	for i := range twins {
		found[i] = &twins[i]
	}
	return twins, next, h.describeTwins(ctx, found...)
}

// PatchTwin merges a patch ({"tags":…,"properties":{"desired":…}}, null deletes)
// into a twin, under the condition ifMatch: "", "*" or the twin's ETag. A
// connected device is told of its new desired properties. It returns the faults
// 404001, 412001, and 400004 for what breaks a limit.
func (h *Hub) PatchTwin(ctx context.Context, id string, patch json.RawMessage, ifMatch string) (twin.Twin, error) {
	return h.changeTwin(ctx, id, patch, ifMatch, false)
}

// ReplaceTwin puts other tags and desired properties in the place of a twin's.
// Conditions and faults are those of PatchTwin.
func (h *Hub) ReplaceTwin(
	ctx context.Context, id string, replacement json.RawMessage, ifMatch string,
) (twin.Twin, error) {
	return h.changeTwin(ctx, id, replacement, ifMatch, true)
}

func (h *Hub) changeTwin(
	ctx context.Context, id string, body json.RawMessage, ifMatch string, replace bool,
) (twin.Twin, error) {
	patch, err := twin.ReadPatch(body, replace)
	if err != nil {
		return twin.Twin{}, err
	}
	describe, err := h.twinOwner(ctx, id)
	if err != nil {
		return twin.Twin{}, err
	}
	changed, err := h.changeAndNotify(ctx, id, patch, ifMatch, replace)
	if err != nil {
		return twin.Twin{}, err
	}
	described := describe(changed)
	return described, h.describeTwins(ctx, &described)
}

// changeAndNotify changes a twin and tells the device, one change after the other.
func (h *Hub) changeAndNotify(
	ctx context.Context, id string, patch twin.Patch, ifMatch string, replace bool, with ...store.Change,
) (twin.Document, error) {
	defer h.connections.LockDesired(id)()
	changed, err := h.twins.Patch(ctx, id, patch, ifMatch, replace, with...)
	if err != nil {
		return twin.Document{}, err
	}
	if notice := changed.DesiredNotice(patch, replace); notice != nil {
		h.connections.NotifyDesired(ctx, id, changed.Generation, changed.Desired.Version, notice)
	}
	return changed, nil
}
