package hub

import (
	"context"
	"errors"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/configuration"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/query"
	"github.com/berth-iot/berth/hub/twin"
	"github.com/berth-iot/berth/store"
)

// Configurations returns those of automatic device management.
func (h *Hub) Configurations() *configuration.Configurations { return h.configurations }

// openTwins opens the twins and the configurations, which look at what changes of them.
func (h *Hub) openTwins(prefix string) {
	h.twins = twin.Open(twin.Config{Documents: h.config.Documents, Prefix: prefix, Now: h.config.Now,
		Changed: h.twinChanged})
	h.configurations = configuration.Open(configuration.Config{Documents: h.config.Documents, Hub: h.config.Name,
		Prefix: prefix, Node: h.config.Node, Twins: h.twins, IsEdge: h.isEdge,
		LockDesired: func(ids ...string) func() { return h.connections.LockDesiredOf(ids...) },
		NotifyDesired: func(ctx context.Context, id, generation string, version int64, notice []byte) {
			h.connections.NotifyDesired(ctx, id, generation, version, notice)
		},
		EnsureModule: h.ensureModule,
		CheckQuery:   func(text string) error { _, err := query.Parse(text); return err },
		CountRows:    h.countRows,
		Now:          h.config.Now, Logger: h.config.Logger, Panics: h.config.Panics})
}

// isEdge reports whether a device is an IoT Edge device. One that is not there, or can't be
// read, is none.
func (h *Hub) isEdge(ctx context.Context, deviceID string) (bool, error) {
	device, err := h.registry.Get(ctx, deviceID)
	if errors.Is(err, fault.DeviceNotFound) || store.IsUnreadable(err) {
		return false, nil
	}
	return device.Capabilities.IoTEdge, err
}

// ensureModule makes a module of an IoT Edge device that a deployment names, unless it is
// there.
func (h *Hub) ensureModule(ctx context.Context, deviceID, moduleID string) error {
	module := identity.Module{DeviceID: deviceID, ModuleID: moduleID, ManagedBy: new(identity.ManagedByEdge)}
	if _, err := h.CreateModule(ctx, module); !errors.Is(err, fault.ModuleAlreadyExists) {
		return err
	}
	return nil
}

// describeTwins fills in which configurations target twins. They are in the order of their
// ids.
func (h *Hub) describeTwins(ctx context.Context, twins ...*twin.Twin) error {
	ids := make([]string, len(twins))
	for i, t := range twins {
		if ids[i] = t.DeviceID; t.ModuleID != "" {
			ids[i] = identity.ModuleKey(t.DeviceID, t.ModuleID)
		}
	}
	statuses, err := h.configurations.Statuses(ctx, ids...)
	for i, t := range twins {
		t.Configurations = statuses[ids[i]]
	}
	return err
}

// countRows counts the rows of a query, for the metrics of configurations.
func (h *Hub) countRows(ctx context.Context, text string) (rows int64, _ error) {
	q, err := query.Parse(text)
	if err != nil {
		return 0, err
	}
	q.Items = []query.Item{} // of the twins nothing is asked but whether they are there
	source, err := h.querySource(ctx, &q)
	if err != nil {
		return 0, err
	}
	for after, end := "", false; !end; {
		var found []queryRow
		if found, after, end, err = source(ctx, after, aggregatesAtOnce); err != nil {
			return 0, err
		}
		rows += int64(len(found))
	}
	return rows, nil
}
