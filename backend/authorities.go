package backend

import (
	"context"
	"net/http"
	"net/url"

	"github.com/berth-iot/berth/authority"
	"github.com/berth-iot/berth/contract"
)

// Authority returns a certificate authority of the service.
func (p *Provisioning) Authority(ctx context.Context, name string) (authority authority.Authority, err error) {
	err = p.do(ctx, request{method: http.MethodGet, path: contract.AuthorityPath.With(name), into: &authority})
	return authority, err
}

// Authorities lists the certificate authorities as Enrollments does enrollments.
func (p *Provisioning) Authorities(ctx context.Context, prefix, after string,
	top int) ([]authority.Authority, string, error) {
	return list[authority.Authority](ctx, p.client, contract.AuthoritiesPath, prefix, after, top)
}

// PutAuthority uploads an authority's certificate; trusted verifies it at once,
// without proof of possession.
func (p *Provisioning) PutAuthority(ctx context.Context, name string, certificate []byte, trusted bool,
	ifMatch string) (authority authority.Authority, err error) {
	err = p.do(ctx, request{method: http.MethodPut, path: contract.AuthorityPath.With(name), ifMatch: ifMatch,
		body: map[string]any{"certificate": string(certificate), "isVerified": trusted}, into: &authority})
	return authority, err
}

// NewVerificationCode makes the common name of the certificate that proves
// possession of an authority's key.
func (p *Provisioning) NewVerificationCode(ctx context.Context,
	name string) (authority authority.Authority, err error) {
	err = p.do(ctx, request{method: http.MethodPost, path: contract.AuthorityCodePath.With(name), into: &authority})
	return authority, err
}

// VerifyAuthority hands in the certificate that proves possession.
func (p *Provisioning) VerifyAuthority(ctx context.Context, name string,
	certificate []byte) (authority authority.Authority, err error) {
	err = p.do(ctx, request{method: http.MethodPost, path: contract.AuthorityProofPath.With(name),
		body: map[string]any{"certificate": string(certificate)}, into: &authority})
	return authority, err
}

// DeleteAuthority removes an authority under the condition ifMatch, though enrollment
// groups name it when force is set.
func (p *Provisioning) DeleteAuthority(ctx context.Context, name, ifMatch string, force bool) error {
	query := url.Values{}
	if force {
		query.Set("force", "true")
	}
	return p.do(ctx, request{method: http.MethodDelete, path: contract.AuthorityPath.With(name), query: query,
		ifMatch: ifMatch})
}
