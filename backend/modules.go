package backend

import (
	"cmp"
	"context"
	"net/http"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/hub/identity"
)

// Modules returns the modules of a device.
func (h *Hub) Modules(ctx context.Context, deviceID string) (modules []identity.Module, err error) {
	err = h.do(ctx, request{method: http.MethodGet, path: contract.ModulesPath.With(deviceID), into: &modules,
		maxAnswer: maxDocument})
	return modules, err
}

// Module returns a module identity.
func (h *Hub) Module(ctx context.Context, deviceID, moduleID string) (module identity.Module, err error) {
	err = h.do(ctx, request{method: http.MethodGet, path: contract.ModulePath.With(deviceID, moduleID), into: &module})
	return module, err
}

// CreateModule adds a module identity to a device.
func (h *Hub) CreateModule(ctx context.Context, module identity.Module) (created identity.Module, err error) {
	err = h.do(ctx, request{method: http.MethodPut, path: contract.ModulePath.With(module.DeviceID, module.ModuleID),
		body: module, into: &created})
	return created, err
}

// UpdateModule replaces what may be set of a module, as UpdateDevice does of a device.
func (h *Hub) UpdateModule(
	ctx context.Context, module identity.Module, ifMatch string,
) (updated identity.Module, err error) {
	err = h.do(ctx, request{method: http.MethodPut, path: contract.ModulePath.With(module.DeviceID, module.ModuleID),
		ifMatch: cmp.Or(ifMatch, "*"), body: module, into: &updated})
	return updated, err
}

// DeleteModule removes a module under the condition ifMatch.
func (h *Hub) DeleteModule(ctx context.Context, deviceID, moduleID, ifMatch string) error {
	return h.do(ctx, request{method: http.MethodDelete, path: contract.ModulePath.With(deviceID, moduleID),
		ifMatch: ifMatch})
}
