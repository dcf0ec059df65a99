package own

import (
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/provisioning"
)

// credentials are the operations on operational certificates: credential policies,
// issuing authorities, and what was issued.
func (s *service) credentials() []https.Operation {
	return []https.Operation{
		dps("GET", contract.CredentialPoliciesPath, provisioning.EnrollmentRead, 0, s.listCredentialPolicies),
		dps("GET", contract.CredentialPolicyPath, provisioning.EnrollmentRead, 0, s.getCredentialPolicy),
		dps("PUT", contract.CredentialPolicyPath, provisioning.ServiceConfig, https.SmallBody, s.putCredentialPolicy).
			IfMatch(),
		dps("DELETE", contract.CredentialPolicyPath, provisioning.ServiceConfig, 0, s.deleteCredentialPolicy).
			With("force").IfMatch(),
		dps("GET", contract.IssuersPath, provisioning.EnrollmentRead, 0, s.listIssuingAuthorities),
		dps("GET", contract.IssuerPath, provisioning.EnrollmentRead, 0, s.getIssuingAuthority),
		dps("PUT", contract.IssuerPath, provisioning.ServiceConfig, 0, s.createIssuingAuthority).IfMatch(),
		dps("DELETE", contract.IssuerPath, provisioning.ServiceConfig, 0, s.deleteIssuingAuthority).
			With("force").IfMatch(),
		dps("POST", contract.IssuerRequestPath, provisioning.ServiceConfig, https.SmallBody, s.requestIssuingAuthority).
			IfMatch(),
		dps("POST", contract.IssuerActivationPath, provisioning.ServiceConfig, https.SmallBody,
			s.activateIssuingAuthority).IfMatch(),
		dps("POST", contract.IssuerRevocationPath, provisioning.ServiceConfig, 0, s.revokeIssuingAuthority).
			With("replacement").IfMatch(),
		dps("GET", contract.CertificatesPath, provisioning.RegistrationStatusRead, 0, s.listIssuedCertificates).
			With("registrationId", "prefix", "after", "top"),
		dps("GET", contract.CertificatePath, provisioning.RegistrationStatusRead, 0, s.getIssuedCertificate),
		dps("POST", contract.DeviceRevocationPath, provisioning.RegistrationStatusWrite, 0, s.revokeIssuedToDevice).
			With("registrationId"),
		dps("POST", contract.CertificateRevocationPath, provisioning.RegistrationStatusWrite, 0,
			s.revokeIssuedCertificate),
	}
}

// IssuingAuthorityRequest says for whom an authority of the operator's own is to sign.
type IssuingAuthorityRequest struct {
	CommonName string `json:"commonName"` // the subject's; Berth operational and the name when empty
}

// IssuingAuthorityChain is what an authority of the operator's own signed.
type IssuingAuthorityChain struct {
	Certificates string `json:"certificates"` // PEM: the issuing authority's, and those above it up to the root
}

// RevokedCertificates says how much was revoked.
type RevokedCertificates struct {
	Revoked int `json:"revoked"` // certificates that were not revoked before
}

func (s *service) listCredentialPolicies(c *https.Call) (any, error) {
	return s.Issuer.Policies(c.Context())
}

func (s *service) getCredentialPolicy(c *https.Call) (any, error) {
	policy, err := s.Issuer.Policy(c.Context(), c.Parameter("name"))
	return policy, err
}

func (s *service) putCredentialPolicy(c *https.Call) (any, error) {
	var policy issuance.Policy
	if err := c.Decode(&policy); err != nil {
		return nil, err
	}
	policy.Name = c.Parameter("name")
	policy, err := s.Issuer.PutPolicy(c.Context(), policy, c.Header.Get("If-Match"))
	return policy, err
}

func (s *service) deleteCredentialPolicy(c *https.Call) (any, error) {
	force, err := c.Flag("force")
	if err != nil {
		return nil, err
	}
	return nil, s.Issuer.DeletePolicy(c.Context(), c.Parameter("name"), c.Header.Get("If-Match"), force)
}

func (s *service) listIssuingAuthorities(c *https.Call) (any, error) {
	return s.Issuer.Authorities(c.Context())
}

func (s *service) getIssuingAuthority(c *https.Call) (any, error) {
	authority, err := s.Issuer.Authority(c.Context(), c.Parameter("name"))
	return authority, err
}

func (s *service) createIssuingAuthority(c *https.Call) (any, error) {
	authority, err := s.Issuer.CreateAuthority(c.Context(), c.Parameter("name"), c.Header.Get("If-Match"))
	return authority, err
}

func (s *service) deleteIssuingAuthority(c *https.Call) (any, error) {
	force, err := c.Flag("force")
	if err != nil {
		return nil, err
	}
	return nil, s.Issuer.DeleteAuthority(c.Context(), c.Parameter("name"), c.Header.Get("If-Match"), force)
}

// requestIssuingAuthority needs no body.
func (s *service) requestIssuingAuthority(c *https.Call) (any, error) {
	var body IssuingAuthorityRequest
	if len(c.Content) > 0 {
		if err := c.Decode(&body); err != nil {
			return nil, err
		}
	}
	authority, err := s.Issuer.RequestAuthority(c.Context(), c.Parameter("name"), body.CommonName,
		c.Header.Get("If-Match"))
	return authority, err
}

func (s *service) activateIssuingAuthority(c *https.Call) (any, error) {
	var body IssuingAuthorityChain
	if err := c.Decode(&body); err != nil {
		return nil, err
	}
	authority, err := s.Issuer.ActivateAuthority(c.Context(), c.Parameter("name"), []byte(body.Certificates),
		c.Header.Get("If-Match"))
	return authority, err
}

func (s *service) revokeIssuingAuthority(c *https.Call) (any, error) {
	ifMatch := c.Header.Get("If-Match")
	if replacement := c.Query("replacement"); replacement != "" {
		authority, err := s.Issuer.RotateAuthority(c.Context(), c.Parameter("name"), replacement, ifMatch)
		return authority, err
	}
	authority, err := s.Issuer.RevokeAuthority(c.Context(), c.Parameter("name"), ifMatch)
	return authority, err
}

// listIssuedCertificates lists a page of those of a device, the latest first, or of
// those whose thumbprints have a prefix.
func (s *service) listIssuedCertificates(c *https.Call) (any, error) {
	if id := c.Query("registrationId"); id != "" {
		if c.Query("prefix") != "" {
			return nil, fault.New(fault.ArgumentInvalid,
				"The address has registrationId and prefix. The one is for the certificates of a device, the other "+
					"for those whose thumbprints begin with it")
		}
		top, err := c.Number("top", c.Query("top"), https.DefaultPage, https.MaxPage)
		if err != nil {
			return nil, err
		}
		issued, next, err := s.Issuer.Issued(c.Context(), id, c.Query("after"), top)
		return contract.Page[issuance.Certificate]{Items: issued, Next: next}, err
	}
	return page(s, c, issuance.CertificateRecords, func(prefix, after string, limit int) ([]issuance.Certificate,
		string, error) {
		return s.Issuer.Certificates(c.Context(), prefix, after, limit)
	})
}

func (s *service) revokeIssuedToDevice(c *https.Call) (any, error) {
	id := c.Query("registrationId")
	if id == "" {
		return nil, fault.New(fault.ArgumentNull,
			"The address has no registrationId. It is that of the device whose certificates are to be revoked")
	}
	revoked, err := s.Issuer.RevokeDevice(c.Context(), id)
	return RevokedCertificates{revoked}, err
}

func (s *service) getIssuedCertificate(c *https.Call) (any, error) {
	issued, err := s.Issuer.Certificate(c.Context(), c.Parameter("thumbprint"))
	return issued, err
}

func (s *service) revokeIssuedCertificate(c *https.Call) (any, error) {
	issued, err := s.Issuer.Revoke(c.Context(), c.Parameter("thumbprint"))
	return issued, err
}
