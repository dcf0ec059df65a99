package hub

import (
	"context"

	"github.com/berth-iot/berth/store"
)

// RegistryStatistics counts the device identities.
type RegistryStatistics struct {
	TotalDeviceCount    int `json:"totalDeviceCount"`
	EnabledDeviceCount  int `json:"enabledDeviceCount"`
	DisabledDeviceCount int `json:"disabledDeviceCount"`
}

// ServiceStatistics counts the connected devices.
type ServiceStatistics struct {
	ConnectedDeviceCount int `json:"connectedDeviceCount"`
}

// DeviceCount counts the device identities.
func (h *Hub) DeviceCount(ctx context.Context) (int, error) { return h.devices.Count(ctx) }

// RegistryStatistics counts the device identities, also those that can't be read, by
// numbers that the commits keep.
func (h *Hub) RegistryStatistics(ctx context.Context) (RegistryStatistics, error) {
	counts, err := h.config.Documents.Count(ctx, h.devices.Collection, h.disabled.Collection)
	if err != nil {
		return RegistryStatistics{}, err
	}
	return RegistryStatistics{
		TotalDeviceCount:    counts[0],
		EnabledDeviceCount:  counts[0] - counts[1],
		DisabledDeviceCount: counts[1],
	}, nil
}

// ServiceStatistics counts the devices that are connected now.
func (h *Hub) ServiceStatistics(context.Context) (ServiceStatistics, error) {
	return ServiceStatistics{h.connected()}, nil
}

// indexStatus returns what keeps the index of disabled devices in step with a device
// whose status was another before, to be committed with its identity.
func (h *Hub) indexStatus(device Device, before string) []store.Change {
	switch {
	case device.Status == before:
		return nil
	case device.Status == disabled:
		return []store.Change{h.disabled.Put(device.DeviceID, store.Always, struct{}{})}
	default:
		return []store.Change{h.disabled.Delete(device.DeviceID, store.Always)}
	}
}

const disabledIndex = "disabled"

// indexDisabled makes the index of disabled devices for a hub of an earlier version,
// which has none, or one that it did not keep up. indexes says which are complete.
func (h *Hub) indexDisabled(ctx context.Context, indexes store.Table[bool]) error {
	complete, _, err := indexes.Get(ctx, disabledIndex)
	if err == nil && complete && !h.config.Reindex {
		return nil
	}
	if err == nil {
		if _, err := h.config.Documents.Commit(ctx, indexes.Put(disabledIndex, store.Always, false)); err != nil {
			return err
		}
	}
	const page = 1000
	for {
		former, err := h.config.Documents.List(ctx, h.disabled.Collection, "", "", page)
		if err != nil {
			return err
		}
		if len(former) == 0 {
			break
		}
		var changes []store.Change
		for _, document := range former {
			changes = append(changes, h.disabled.Delete(document.Key, store.Always))
		}
		if _, err := h.config.Documents.Commit(ctx, changes...); err != nil {
			return err
		}
	}
	for after := ""; ; {
		entries, err := h.devices.List(ctx, "", after, page)
		if err != nil {
			return err
		}
		var changes []store.Change
		for _, entry := range entries {
			changes = append(changes, h.indexStatus(entry.Value, enabled)...)
		}
		if len(changes) > 0 {
			if _, err := h.config.Documents.Commit(ctx, changes...); err != nil {
				return err
			}
		}
		if len(entries) < page {
			break
		}
		after = entries[page-1].Key
	}
	_, err = h.config.Documents.Commit(ctx, indexes.Put(disabledIndex, store.Always, true))
	return err
}
