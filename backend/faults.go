package backend

import (
	"context"
	"net/http"

	"github.com/berth-iot/berth/contract"
)

// faults are the operations on the faults that are injected into a service, which are the
// same for a provisioning service and for a hub.
type faults[T any] struct {
	client   *client
	all, one contract.Path
}

// InjectFault has the service inject a fault into what devices do next, and returns it with
// its id.
func (f faults[T]) InjectFault(ctx context.Context, wanted T) (injected T, err error) {
	err = f.client.do(ctx, request{method: http.MethodPost, path: f.all, body: wanted, into: &injected})
	return injected, err
}

// InjectedFaults returns the faults that are still to be injected.
func (f faults[T]) InjectedFaults(ctx context.Context) (found []T, err error) {
	err = f.client.do(ctx, request{method: http.MethodGet, path: f.all, into: &found})
	return found, err
}

// RemoveFault removes an injected fault, or all with id "".
func (f faults[T]) RemoveFault(ctx context.Context, id string) error {
	path := f.all
	if id != "" {
		path = f.one.With(id)
	}
	return f.client.do(ctx, request{method: http.MethodDelete, path: path})
}
