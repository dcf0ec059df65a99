package backend

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/issuance"
)

// CredentialPolicies returns the credential policies.
func (p *Provisioning) CredentialPolicies(ctx context.Context) (policies []issuance.Policy, err error) {
	err = p.do(ctx, request{method: http.MethodGet, path: contract.CredentialPoliciesPath, into: &policies})
	return policies, err
}

// CredentialPolicy returns a credential policy.
func (p *Provisioning) CredentialPolicy(ctx context.Context, name string) (policy issuance.Policy, err error) {
	err = p.do(ctx, request{method: http.MethodGet, path: contract.CredentialPolicyPath.With(name), into: &policy})
	return policy, err
}

// PutCredentialPolicy makes a credential policy or replaces it.
func (p *Provisioning) PutCredentialPolicy(ctx context.Context, policy issuance.Policy,
	ifMatch string) (put issuance.Policy, err error) {
	err = p.do(ctx, request{method: http.MethodPut, path: contract.CredentialPolicyPath.With(policy.Name),
		ifMatch: ifMatch, body: policy, into: &put})
	return put, err
}

// DeleteCredentialPolicy removes a credential policy, with force also while enrollments
// name it.
func (p *Provisioning) DeleteCredentialPolicy(ctx context.Context, name string, force bool) error {
	return p.do(ctx, request{method: http.MethodDelete, path: contract.CredentialPolicyPath.With(name),
		query: forceQuery(force)})
}

func forceQuery(force bool) url.Values {
	if !force {
		return nil
	}
	return url.Values{"force": {"true"}}
}

// IssuingAuthorities returns the issuing authorities.
func (p *Provisioning) IssuingAuthorities(ctx context.Context) (authorities []issuance.Authority, err error) {
	err = p.do(ctx, request{method: http.MethodGet, path: contract.IssuersPath, into: &authorities})
	return authorities, err
}

// CreateIssuingAuthority makes an issuing authority.
func (p *Provisioning) CreateIssuingAuthority(ctx context.Context,
	name string) (authority issuance.Authority, err error) {
	err = p.do(ctx, request{method: http.MethodPut, path: contract.IssuerPath.With(name), into: &authority})
	return authority, err
}

// DeleteIssuingAuthority removes an issuing authority, with force also while policies
// name it, or certificates are good that it signed.
func (p *Provisioning) DeleteIssuingAuthority(ctx context.Context, name string, force bool) error {
	return p.do(ctx, request{method: http.MethodDelete, path: contract.IssuerPath.With(name),
		query: forceQuery(force)})
}

// RequestIssuingAuthority makes an issuing authority that another authority is to sign,
// with the request for that. commonName is the subject's; "" is one of Berth's.
func (p *Provisioning) RequestIssuingAuthority(ctx context.Context, name,
	commonName string) (authority issuance.Authority, err error) {
	err = p.do(ctx, request{method: http.MethodPost, path: contract.IssuerRequestPath.With(name),
		body: map[string]string{"commonName": commonName}, into: &authority})
	return authority, err
}

// ActivateIssuingAuthority brings the certificate that was signed for an issuing
// authority, with those above it up to the root, in PEM.
func (p *Provisioning) ActivateIssuingAuthority(ctx context.Context, name string,
	chain []byte) (authority issuance.Authority, err error) {
	err = p.do(ctx, request{method: http.MethodPost, path: contract.IssuerActivationPath.With(name),
		body: map[string]string{"certificates": string(chain)}, into: &authority})
	return authority, err
}

// RevokeIssuingAuthority makes void all that an issuing authority signed. The policies
// that name it name replacement from then on, unless that is ""; it is made when there
// is none.
func (p *Provisioning) RevokeIssuingAuthority(ctx context.Context, name,
	replacement string) (authority issuance.Authority, err error) {
	var query url.Values
	if replacement != "" {
		query = url.Values{"replacement": {replacement}}
	}
	err = p.do(ctx, request{method: http.MethodPost, path: contract.IssuerRevocationPath.With(name), query: query,
		into: &authority})
	return authority, err
}

// IssuedCertificates returns at most top operational certificates of all devices,
// and the after of the next call, "" at the end.
func (p *Provisioning) IssuedCertificates(ctx context.Context, after string,
	top int) ([]issuance.Certificate, string, error) {
	return list[issuance.Certificate](ctx, p.client, contract.CertificatesPath, "", after, top)
}

// IssuedTo returns the operational certificates of a device, the latest first.
func (p *Provisioning) IssuedTo(ctx context.Context, registrationID string) (issued []issuance.Certificate, err error) {
	for after := ""; ; {
		some, next, err := p.IssuedToAfter(ctx, registrationID, after, 1000)
		if issued = append(issued, some...); err != nil || next == "" {
			return issued, err
		}
		after = next
	}
}

// IssuedToAfter is a page of IssuedTo, as of IssuedCertificates.
func (p *Provisioning) IssuedToAfter(ctx context.Context, registrationID, after string,
	top int) ([]issuance.Certificate, string, error) {
	var found contract.Page[issuance.Certificate]
	query := url.Values{"registrationId": {registrationID}, "top": {strconv.Itoa(top)}}
	if after != "" {
		query.Set("after", after)
	}
	err := p.do(ctx, request{method: http.MethodGet, path: contract.CertificatesPath, query: query, into: &found})
	return found.Items, found.Next, err
}

// RevokeIssuedTo makes void all operational certificates of a device, and returns how
// many were good before.
func (p *Provisioning) RevokeIssuedTo(ctx context.Context, registrationID string) (revoked int, err error) {
	var answer struct {
		Revoked int `json:"revoked"`
	}
	err = p.do(ctx, request{method: http.MethodPost, path: contract.DeviceRevocationPath,
		query: url.Values{"registrationId": {registrationID}}, into: &answer})
	return answer.Revoked, err
}

// RevokeCertificate makes an operational certificate void, by its SHA-256
// thumbprint.
func (p *Provisioning) RevokeCertificate(ctx context.Context,
	thumbprint string) (issued issuance.Certificate, err error) {
	err = p.do(ctx, request{method: http.MethodPost, path: contract.CertificateRevocationPath.With(thumbprint),
		into: &issued})
	return issued, err
}
