package backend

import (
	"context"
	"net/http"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/hub/inject"
)

// InjectFault has the hub inject a fault into what devices do next, and returns it with its
// id.
func (h *Hub) InjectFault(ctx context.Context, wanted inject.DeviceFault) (injected inject.DeviceFault, err error) {
	err = h.do(ctx, request{method: http.MethodPost, path: contract.FaultsPath, body: wanted, into: &injected})
	return injected, err
}

// InjectedFaults returns the faults that are still to be injected.
func (h *Hub) InjectedFaults(ctx context.Context) (faults []inject.DeviceFault, err error) {
	err = h.do(ctx, request{method: http.MethodGet, path: contract.FaultsPath, into: &faults})
	return faults, err
}

// RemoveFault removes an injected fault, or all with id "".
func (h *Hub) RemoveFault(ctx context.Context, id string) error {
	path := contract.FaultsPath
	if id != "" {
		path = contract.FaultPath.With(id)
	}
	return h.do(ctx, request{method: http.MethodDelete, path: path})
}
