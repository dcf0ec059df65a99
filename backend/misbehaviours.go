package backend

import (
	"context"
	"net/http"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/provisioning/inject"
)

// InjectFault has the service inject a fault into the next registrations, and returns it
// with its id.
func (p *Provisioning) InjectFault(ctx context.Context, wanted inject.Fault) (injected inject.Fault, err error) {
	err = p.do(ctx, request{method: http.MethodPost, path: contract.MisbehavioursPath, body: wanted, into: &injected})
	return injected, err
}

// InjectedFaults returns the faults that are still to be injected.
func (p *Provisioning) InjectedFaults(ctx context.Context) (faults []inject.Fault, err error) {
	err = p.do(ctx, request{method: http.MethodGet, path: contract.MisbehavioursPath, into: &faults})
	return faults, err
}

// RemoveFault removes an injected fault, or all with id "".
func (p *Provisioning) RemoveFault(ctx context.Context, id string) error {
	path := contract.MisbehavioursPath
	if id != "" {
		path = contract.MisbehaviourPath.With(id)
	}
	return p.do(ctx, request{method: http.MethodDelete, path: path})
}
