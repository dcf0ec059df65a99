package rest

import (
	"github.com/berth-iot/berth/authority"
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
)

// authorities are the operations on certificate authorities, which Azure has in
// its management API.
func (h *handler) authorities() []route {
	return []route{
		{"GET", contract.AuthoritiesPath, provisioningAPI, provisioning.EnrollmentRead, 0, pageOfAuthorities},
		{"GET", contract.AuthorityPath, provisioningAPI, provisioning.EnrollmentRead, 0, getAuthority},
		{"PUT", contract.AuthorityPath, provisioningAPI, provisioning.ServiceConfig, smallBody, putAuthority},
		{"DELETE", contract.AuthorityPath, provisioningAPI, provisioning.ServiceConfig, 0, deleteAuthority},
		{"POST", contract.AuthorityCodePath, provisioningAPI, provisioning.ServiceConfig, 0, newVerificationCode},
		{"POST", contract.AuthorityProofPath, provisioningAPI, provisioning.ServiceConfig, smallBody, verifyAuthority},
	}
}

// authorityBody is what is sent of an authority: a certificate in PEM, or in
// base64 of PEM or DER.
type authorityBody struct {
	Certificate string `json:"certificate"`
	IsVerified  bool   `json:"isVerified"` // trust it without proof of possession
}

func pageOfAuthorities(c *call) (any, error) {
	return page(c, provisioning.AuthorityRecords, func(prefix, after string, limit int) ([]authority.Authority, string, error) {
		return c.Provisioning.Authorities().List(c.Context(), prefix, after, limit)
	})
}

func getAuthority(c *call) (any, error) {
	authority, err := c.Provisioning.Authorities().Get(c.Context(), c.parameters["id"])
	return c.tagged(authority, authority.ETag, err)
}

func putAuthority(c *call) (any, error) {
	body, err := c.authorityBody()
	if err != nil {
		return nil, err
	}
	written, err := c.Provisioning.Authorities().Put(c.Context(), c.parameters["id"], []byte(body.Certificate), body.IsVerified, c.Header.Get("If-Match"))
	return c.tagged(written, written.ETag, err)
}

func deleteAuthority(c *call) (any, error) {
	return nil, c.Provisioning.Authorities().Delete(c.Context(), c.parameters["id"], c.Header.Get("If-Match"),
		c.query("force") == "true")
}

func newVerificationCode(c *call) (any, error) {
	authority, err := c.Provisioning.Authorities().NewVerificationCode(c.Context(), c.parameters["id"], c.Header.Get("If-Match"))
	return c.tagged(authority, authority.ETag, err)
}

func verifyAuthority(c *call) (any, error) {
	body, err := c.authorityBody()
	if err != nil {
		return nil, err
	}
	authority, err := c.Provisioning.Authorities().Verify(c.Context(), c.parameters["id"], []byte(body.Certificate), c.Header.Get("If-Match"))
	return c.tagged(authority, authority.ETag, err)
}

func (c *call) authorityBody() (body authorityBody, err error) {
	if err := c.decode(&body); err != nil {
		return body, err
	}
	if body.Certificate == "" {
		return body, fault.New(fault.ArgumentNull, "The body has no certificate. It is PEM, or base64 of PEM or DER")
	}
	return body, nil
}
