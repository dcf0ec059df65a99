package identity

import (
	"context"

	"github.com/berth-iot/berth/store"
)

// Statistics counts the device identities.
type Statistics struct {
	TotalDeviceCount    int `json:"totalDeviceCount"`
	EnabledDeviceCount  int `json:"enabledDeviceCount"`
	DisabledDeviceCount int `json:"disabledDeviceCount"`
}

// Count returns the number of device identities.
func (r *Registry) Count(ctx context.Context) (int, error) { return r.devices.Count(ctx) }

// CountModules returns the number of module identities.
func (r *Registry) CountModules(ctx context.Context) (int, error) { return r.modules.Count(ctx) }

// Statistics counts the device identities, also those that can't be read, by
// numbers that the commits keep.
func (r *Registry) Statistics(ctx context.Context) (Statistics, error) {
	counts, err := r.documents.Count(ctx, r.devices.Collection, r.disabled.Collection)
	if err != nil {
		return Statistics{}, err
	}
	return Statistics{
		TotalDeviceCount:    counts[0],
		EnabledDeviceCount:  counts[0] - counts[1],
		DisabledDeviceCount: counts[1],
	}, nil
}

// DisabledIDs returns at most limit ids of devices that are disabled, in their order after
// one.
func (r *Registry) DisabledIDs(ctx context.Context, after string, limit int) ([]string, error) {
	documents, err := r.documents.List(ctx, r.disabled.Collection, "", after, limit)
	ids := make([]string, len(documents))
	for i, d := range documents {
		ids[i] = d.Key
	}
	return ids, err
}

// indexStatus returns what keeps the index of disabled devices in step with a device
// whose status was another before, to be committed with its identity.
func (r *Registry) indexStatus(device Device, before string) []store.Change {
	switch {
	case device.Status == before:
		return nil
	case device.Status == Disabled:
		return []store.Change{r.disabled.Put(device.DeviceID, store.Always, struct{}{})}
	default:
		return []store.Change{r.disabled.Delete(device.DeviceID, store.Always)}
	}
}

const disabledIndex = "disabled"

// indexDisabled makes the index of disabled devices for a hub of an earlier version,
// which has none, or one that it did not keep up. indexes says which are complete.
func (r *Registry) indexDisabled(ctx context.Context, indexes store.Table[bool], reindex bool) error {
	complete, _, err := indexes.Get(ctx, disabledIndex)
	if err == nil && complete && !reindex {
		return nil
	}
	if err == nil {
		if _, err := r.documents.Commit(ctx, indexes.Put(disabledIndex, store.Always, false)); err != nil {
			return err
		}
	}
	const page = 1000
	for {
		former, err := r.documents.List(ctx, r.disabled.Collection, "", "", page)
		if err != nil {
			return err
		}
		if len(former) == 0 {
			break
		}
		var changes []store.Change
		for _, document := range former {
			changes = append(changes, r.disabled.Delete(document.Key, store.Always))
		}
		if _, err := r.documents.Commit(ctx, changes...); err != nil {
			return err
		}
	}
	for after := ""; ; {
		entries, err := r.devices.List(ctx, "", after, page)
		if err != nil {
			return err
		}
		var changes []store.Change
		for _, entry := range entries {
			changes = append(changes, r.indexStatus(entry.Value, Enabled)...)
		}
		if len(changes) > 0 {
			if _, err := r.documents.Commit(ctx, changes...); err != nil {
				return err
			}
		}
		if len(entries) < page {
			break
		}
		after = entries[page-1].Key
	}
	_, err = r.documents.Commit(ctx, indexes.Put(disabledIndex, store.Always, true))
	return err
}
