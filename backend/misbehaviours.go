package backend

import (
	"context"
	"net/http"
	"net/url"

	"github.com/berth-iot/berth/provisioning/inject"
)

const misbehavioursPath = "/berth/provisioning/misbehaviours"

// Misbehave makes the service be nasty to devices that register.
func (p *Provisioning) Misbehave(ctx context.Context, wanted inject.Fault) (armed inject.Fault, err error) {
	err = p.do(ctx, request{method: http.MethodPost, path: misbehavioursPath, body: wanted, into: &armed})
	return armed, err
}

// Misbehaviours returns those that are armed.
func (p *Provisioning) Misbehaviours(ctx context.Context) (armed []inject.Fault, err error) {
	err = p.do(ctx, request{method: http.MethodGet, path: misbehavioursPath, into: &armed})
	return armed, err
}

// Behave removes a misbehaviour, or all with id "".
func (p *Provisioning) Behave(ctx context.Context, id string) error {
	path := misbehavioursPath
	if id != "" {
		path += "/" + url.PathEscape(id)
	}
	return p.do(ctx, request{method: http.MethodDelete, path: path})
}
