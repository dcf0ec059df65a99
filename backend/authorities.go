package backend

import (
	"context"
	"net/http"
	"net/url"

	"github.com/berth-iot/berth/authority"
	"github.com/berth-iot/berth/contract"
)

// authorities are the operations on the certificate authorities of a service, which are the
// same for a provisioning service and for a hub.
type authorities struct {
	client *client
	paths  contract.AuthorityPaths
}

// Authority returns a certificate authority of the service.
func (a authorities) Authority(ctx context.Context, name string) (authority authority.Authority, err error) {
	err = a.client.do(ctx, request{method: http.MethodGet, path: a.paths.One.With(name), into: &authority})
	return authority, err
}

// Authorities lists the certificate authorities of the service: at most top whose names
// start with prefix, from after on, and where to go on.
func (a authorities) Authorities(ctx context.Context, prefix, after string,
	top int) ([]authority.Authority, string, error) {
	return list[authority.Authority](ctx, a.client, a.paths.All, prefix, after, top)
}

// PutAuthority uploads an authority's certificate; trusted verifies it at once,
// without proof of possession.
func (a authorities) PutAuthority(ctx context.Context, name string, certificate []byte, trusted bool,
	ifMatch string) (authority authority.Authority, err error) {
	err = a.client.do(ctx, request{method: http.MethodPut, path: a.paths.One.With(name), ifMatch: ifMatch,
		body: map[string]any{"certificate": string(certificate), "isVerified": trusted}, into: &authority})
	return authority, err
}

// NewVerificationCode makes the common name of the certificate that proves
// possession of an authority's key.
func (a authorities) NewVerificationCode(ctx context.Context,
	name string) (authority authority.Authority, err error) {
	err = a.client.do(ctx, request{method: http.MethodPost, path: a.paths.Code.With(name), into: &authority})
	return authority, err
}

// VerifyAuthority hands in the certificate that proves possession.
func (a authorities) VerifyAuthority(ctx context.Context, name string,
	certificate []byte) (authority authority.Authority, err error) {
	err = a.client.do(ctx, request{method: http.MethodPost, path: a.paths.Proof.With(name),
		body: map[string]any{"certificate": string(certificate)}, into: &authority})
	return authority, err
}

// DeleteAuthority removes an authority under the condition ifMatch; of a provisioning
// service, one that enrollment groups name only when force is set.
func (a authorities) DeleteAuthority(ctx context.Context, name, ifMatch string, force bool) error {
	query := url.Values{}
	if force {
		query.Set("force", "true")
	}
	return a.client.do(ctx, request{method: http.MethodDelete, path: a.paths.One.With(name), query: query,
		ifMatch: ifMatch})
}
