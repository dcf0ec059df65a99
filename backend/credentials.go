package backend

import (
	"context"
	"net/http"
	"net/url"

	"github.com/berth-iot/berth/issuance"
)

const (
	credentialPoliciesPath = "/berth/provisioning/credentialpolicies"
	issuingAuthoritiesPath = "/berth/provisioning/issuingauthorities"
	issuedPath             = "/berth/provisioning/issuedcertificates"
)

// CredentialPolicies returns the credential policies.
func (p *Provisioning) CredentialPolicies(ctx context.Context) (policies []issuance.Policy, err error) {
	err = p.do(ctx, request{method: http.MethodGet, path: credentialPoliciesPath, into: &policies})
	return policies, err
}

// CredentialPolicy returns a credential policy.
func (p *Provisioning) CredentialPolicy(ctx context.Context, name string) (policy issuance.Policy, err error) {
	err = p.do(ctx, request{method: http.MethodGet, path: credentialPoliciesPath + "/" + url.PathEscape(name), into: &policy})
	return policy, err
}

// PutCredentialPolicy makes a credential policy or replaces it.
func (p *Provisioning) PutCredentialPolicy(ctx context.Context, policy issuance.Policy, ifMatch string) (put issuance.Policy, err error) {
	err = p.do(ctx, request{method: http.MethodPut, path: credentialPoliciesPath + "/" + url.PathEscape(policy.Name), ifMatch: ifMatch, body: policy, into: &put})
	return put, err
}

// DeleteCredentialPolicy removes a credential policy.
func (p *Provisioning) DeleteCredentialPolicy(ctx context.Context, name string) error {
	return p.do(ctx, request{method: http.MethodDelete, path: credentialPoliciesPath + "/" + url.PathEscape(name)})
}

// IssuingAuthorities returns the issuing authorities.
func (p *Provisioning) IssuingAuthorities(ctx context.Context) (authorities []issuance.Authority, err error) {
	err = p.do(ctx, request{method: http.MethodGet, path: issuingAuthoritiesPath, into: &authorities})
	return authorities, err
}

// CreateIssuingAuthority makes an issuing authority.
func (p *Provisioning) CreateIssuingAuthority(ctx context.Context, name string) (authority issuance.Authority, err error) {
	err = p.do(ctx, request{method: http.MethodPut, path: issuingAuthoritiesPath + "/" + url.PathEscape(name), into: &authority})
	return authority, err
}

// RevokeIssuingAuthority makes void all that an issuing authority signed.
func (p *Provisioning) RevokeIssuingAuthority(ctx context.Context, name string) (authority issuance.Authority, err error) {
	err = p.do(ctx, request{method: http.MethodPost, path: issuingAuthoritiesPath + "/" + url.PathEscape(name) + "/revoke", into: &authority})
	return authority, err
}

// IssuedCertificates returns at most top operational certificates of all devices,
// and the after of the next call, "" at the end.
func (p *Provisioning) IssuedCertificates(ctx context.Context, after string, top int) ([]issuance.Certificate, string, error) {
	return list[issuance.Certificate](ctx, p.client, issuedPath, "", after, top)
}

// IssuedTo returns the operational certificates of a device, the latest first.
func (p *Provisioning) IssuedTo(ctx context.Context, registrationID string) ([]issuance.Certificate, error) {
	var found page[issuance.Certificate]
	err := p.do(ctx, request{method: http.MethodGet, path: issuedPath, query: url.Values{"registrationId": {registrationID}}, into: &found})
	return found.Items, err
}

// RevokeCertificate makes an operational certificate void, by its SHA-256
// thumbprint.
func (p *Provisioning) RevokeCertificate(ctx context.Context, thumbprint string) (issued issuance.Certificate, err error) {
	err = p.do(ctx, request{method: http.MethodPost, path: issuedPath + "/" + url.PathEscape(thumbprint) + "/revoke", into: &issued})
	return issued, err
}
