package own

import (
	"slices"

	"github.com/berth-iot/berth/authority"
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/provisioning"
)

// authorities are the operations on the certificate authorities of both services, which
// Azure has in its management API.
func (s *service) authorities() []https.Operation {
	ofService := authorityOperations{
		paths: contract.ServiceAuthorities, read: provisioning.EnrollmentRead, write: provisioning.ServiceConfig,
		of: func(*https.Call) (*authority.Authorities, string) {
			return s.Provisioning.Authorities(), provisioning.AuthorityRecords
		},
	}
	ofHub := authorityOperations{
		paths: contract.HubAuthorities, read: hub.RegistryRead, write: hub.RegistryWrite,
		of: func(c *https.Call) (*authority.Authorities, string) {
			return c.Hub.Authorities(), c.Hub.AuthorityRecords()
		},
	}
	return slices.Concat(ofService.list(s, dps, "force"), ofHub.list(s, iot))
}

// authorityOperations are those on the authorities of one service.
type authorityOperations struct {
	paths       contract.AuthorityPaths
	read, write string // rights
	of          func(c *https.Call) (authorities *authority.Authorities, collection string)
}

func (a authorityOperations) list(s *service,
	operation func(method string, path contract.Path, right string, maxBody int64, handle https.Handler) https.Operation,
	deletion ...string, // parameters
) []https.Operation {
	return []https.Operation{
		operation("GET", a.paths.All, a.read, 0, func(c *https.Call) (any, error) { return a.page(s, c) }).With(paging...),
		operation("GET", a.paths.One, a.read, 0, a.get),
		operation("PUT", a.paths.One, a.write, https.SmallBody, a.put).IfMatch(),
		operation("DELETE", a.paths.One, a.write, 0, a.delete).With(deletion...).IfMatch(),
		operation("POST", a.paths.Code, a.write, 0, a.newVerificationCode).IfMatch(),
		operation("POST", a.paths.Proof, a.write, https.SmallBody, a.verify).IfMatch(),
	}
}

// CertificateUpload is what is sent of an authority: a certificate in PEM, or in
// base64 of PEM or DER.
type CertificateUpload struct {
	Certificate string `json:"certificate"`
	IsVerified  bool   `json:"isVerified"` // trust it without proof of possession
}

func (a authorityOperations) page(s *service, c *https.Call) (any, error) {
	authorities, collection := a.of(c)
	return page(s, c, collection, func(prefix, after string, limit int) ([]authority.Authority, string, error) {
		return authorities.List(c.Context(), prefix, after, limit)
	})
}

func (a authorityOperations) get(c *https.Call) (any, error) {
	authorities, _ := a.of(c)
	authority, err := authorities.Get(c.Context(), c.Parameter("id"))
	return c.Tagged(authority, authority.ETag, err)
}

func (a authorityOperations) put(c *https.Call) (any, error) {
	body, err := readUpload(c)
	if err != nil {
		return nil, err
	}
	authorities, _ := a.of(c)
	written, err := authorities.Put(c.Context(), c.Parameter("id"), []byte(body.Certificate), body.IsVerified,
		c.Header.Get("If-Match"))
	return c.Tagged(written, written.ETag, err)
}

func (a authorityOperations) delete(c *https.Call) (any, error) {
	force, err := c.Flag("force")
	if err != nil {
		return nil, err
	}
	authorities, _ := a.of(c)
	return nil, authorities.Delete(c.Context(), c.Parameter("id"), c.Header.Get("If-Match"), force)
}

func (a authorityOperations) newVerificationCode(c *https.Call) (any, error) {
	authorities, _ := a.of(c)
	authority, err := authorities.NewVerificationCode(c.Context(), c.Parameter("id"), c.Header.Get("If-Match"))
	return c.Tagged(authority, authority.ETag, err)
}

func (a authorityOperations) verify(c *https.Call) (any, error) {
	body, err := readUpload(c)
	if err != nil {
		return nil, err
	}
	authorities, _ := a.of(c)
	authority, err := authorities.Verify(c.Context(), c.Parameter("id"), []byte(body.Certificate),
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
