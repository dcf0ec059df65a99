package backend

import (
	"context"
	"net/http"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/provisioning/inject"
)

// Misbehave makes the service be nasty to devices that register.
func (p *Provisioning) Misbehave(ctx context.Context, wanted inject.Fault) (armed inject.Fault, err error) {
	err = p.do(ctx, request{method: http.MethodPost, path: contract.MisbehavioursPath, body: wanted, into: &armed})
	return armed, err
}

// Misbehaviours returns those that are armed.
func (p *Provisioning) Misbehaviours(ctx context.Context) (armed []inject.Fault, err error) {
	err = p.do(ctx, request{method: http.MethodGet, path: contract.MisbehavioursPath, into: &armed})
	return armed, err
}

// Behave removes a misbehaviour, or all with id "".
func (p *Provisioning) Behave(ctx context.Context, id string) error {
	path := contract.MisbehavioursPath
	if id != "" {
		path = contract.MisbehaviourPath.With(id)
	}
	return p.do(ctx, request{method: http.MethodDelete, path: path})
}
