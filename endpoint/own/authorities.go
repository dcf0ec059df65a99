package own

import (
	"github.com/berth-iot/berth/authority"
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
)

// authorities are the operations on certificate authorities, which Azure has in
// its management API.
func (s *service) authorities() []https.Operation {
	return []https.Operation{
		dps("GET", contract.AuthoritiesPath, provisioning.EnrollmentRead, 0, s.pageOfAuthorities).With(paging...),
		dps("GET", contract.AuthorityPath, provisioning.EnrollmentRead, 0, s.getAuthority),
		dps("PUT", contract.AuthorityPath, provisioning.ServiceConfig, https.SmallBody, s.putAuthority).IfMatch(),
		dps("DELETE", contract.AuthorityPath, provisioning.ServiceConfig, 0, s.deleteAuthority).With("force").IfMatch(),
		dps("POST", contract.AuthorityCodePath, provisioning.ServiceConfig, 0, s.newVerificationCode).IfMatch(),
		dps("POST", contract.AuthorityProofPath, provisioning.ServiceConfig, https.SmallBody, s.verifyAuthority).
			IfMatch(),
	}
}

// CertificateUpload is what is sent of an authority: a certificate in PEM, or in
// base64 of PEM or DER.
type CertificateUpload struct {
	Certificate string `json:"certificate"`
	IsVerified  bool   `json:"isVerified"` // trust it without proof of possession
}

func (s *service) pageOfAuthorities(c *https.Call) (any, error) {
	return page(s, c, provisioning.AuthorityRecords, func(prefix, after string, limit int) ([]authority.Authority,
		string, error) {
		return s.Provisioning.Authorities().List(c.Context(), prefix, after, limit)
	})
}

func (s *service) getAuthority(c *https.Call) (any, error) {
	authority, err := s.Provisioning.Authorities().Get(c.Context(), c.Parameter("id"))
	return c.Tagged(authority, authority.ETag, err)
}

func (s *service) putAuthority(c *https.Call) (any, error) {
	body, err := readUpload(c)
	if err != nil {
		return nil, err
	}
	written, err := s.Provisioning.Authorities().Put(c.Context(), c.Parameter("id"), []byte(body.Certificate),
		body.IsVerified, c.Header.Get("If-Match"))
	return c.Tagged(written, written.ETag, err)
}

func (s *service) deleteAuthority(c *https.Call) (any, error) {
	force, err := c.Flag("force")
	if err != nil {
		return nil, err
	}
	return nil, s.Provisioning.Authorities().Delete(c.Context(), c.Parameter("id"), c.Header.Get("If-Match"), force)
}

func (s *service) newVerificationCode(c *https.Call) (any, error) {
	authority, err := s.Provisioning.Authorities().NewVerificationCode(c.Context(), c.Parameter("id"),
		c.Header.Get("If-Match"))
	return c.Tagged(authority, authority.ETag, err)
}

func (s *service) verifyAuthority(c *https.Call) (any, error) {
	body, err := readUpload(c)
	if err != nil {
		return nil, err
	}
	authority, err := s.Provisioning.Authorities().Verify(c.Context(), c.Parameter("id"), []byte(body.Certificate),
		c.Header.Get("If-Match"))
	return c.Tagged(authority, authority.ETag, err)
}

// readUpload reads a body that must have a certificate.
func readUpload(c *https.Call) (body CertificateUpload, err error) {
	if err := c.Decode(&body); err != nil {
		return body, err
	}
	if body.Certificate == "" {
		return body, fault.New(fault.ArgumentNull,
			"The body has no certificate: it must be PEM, or base64 of PEM or DER")
	}
	return body, nil
}
