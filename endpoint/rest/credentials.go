package rest

import (
	"strings"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/provisioning"
)

// credentials are the operations on operational certificates: credential policies,
// issuing authorities, and what was issued.
func (h *handler) credentials() []route {
	return []route{
		{"GET", contract.CredentialPoliciesPath, provisioningAPI, provisioning.EnrollmentRead, 0,
			listCredentialPolicies},
		{"GET", contract.CredentialPolicyPath, provisioningAPI, provisioning.EnrollmentRead, 0, getCredentialPolicy},
		{"PUT", contract.CredentialPolicyPath, provisioningAPI, provisioning.ServiceConfig, smallBody,
			putCredentialPolicy},
		{"DELETE", contract.CredentialPolicyPath, provisioningAPI, provisioning.ServiceConfig, 0,
			deleteCredentialPolicy},
		{"GET", contract.IssuersPath, provisioningAPI, provisioning.EnrollmentRead, 0, listIssuingAuthorities},
		{"GET", contract.IssuerPath, provisioningAPI, provisioning.EnrollmentRead, 0, getIssuingAuthority},
		{"PUT", contract.IssuerPath, provisioningAPI, provisioning.ServiceConfig, 0, createIssuingAuthority},
		{"DELETE", contract.IssuerPath, provisioningAPI, provisioning.ServiceConfig, 0, deleteIssuingAuthority},
		{"POST", contract.IssuerRequestPath, provisioningAPI, provisioning.ServiceConfig, smallBody,
			requestIssuingAuthority},
		{"POST", contract.IssuerActivationPath, provisioningAPI, provisioning.ServiceConfig, smallBody,
			activateIssuingAuthority},
		{"POST", contract.IssuerRevocationPath, provisioningAPI, provisioning.ServiceConfig, 0, revokeIssuingAuthority},
		{"GET", contract.CertificatesPath, provisioningAPI, provisioning.RegistrationStatusRead, 0,
			listIssuedCertificates},
		{"GET", contract.CertificatePath, provisioningAPI, provisioning.RegistrationStatusRead, 0,
			getIssuedCertificate},
		{"POST", contract.DeviceRevocationPath, provisioningAPI, provisioning.RegistrationStatusWrite, 0,
			revokeIssuedToDevice},
		{"POST", contract.CertificateRevocationPath, provisioningAPI, provisioning.RegistrationStatusWrite, 0,
			revokeIssuedCertificate},
	}
}

// authorityRequestBody says for whom an authority of the operator's own is to sign.
type authorityRequestBody struct {
	CommonName string `json:"commonName"` // the subject's; Berth operational and the name when empty
}

// authorityChainBody is what an authority of the operator's own signed.
type authorityChainBody struct {
	Certificates string `json:"certificates"` // PEM: the issuing authority's, and those above it up to the root
}

// revokedBody says how much was revoked.
type revokedBody struct {
	Revoked int `json:"revoked"` // certificates that were not revoked before
}

func listCredentialPolicies(c *call) (any, error) { return c.Issuer.Policies(c.Context()) }

func getCredentialPolicy(c *call) (any, error) {
	policy, err := c.Issuer.Policy(c.Context(), c.parameters["name"])
	return policy, err
}

func putCredentialPolicy(c *call) (any, error) {
	var policy issuance.Policy
	if err := c.decode(&policy); err != nil {
		return nil, err
	}
	policy.Name = c.parameters["name"]
	policy, err := c.Issuer.PutPolicy(c.Context(), policy, c.Header.Get("If-Match"))
	return policy, err
}

func deleteCredentialPolicy(c *call) (any, error) {
	return nil, c.Issuer.DeletePolicy(c.Context(), c.parameters["name"], c.force())
}

func listIssuingAuthorities(c *call) (any, error) { return c.Issuer.Authorities(c.Context()) }

func getIssuingAuthority(c *call) (any, error) {
	authority, err := c.Issuer.Authority(c.Context(), c.parameters["name"])
	return authority, err
}

func createIssuingAuthority(c *call) (any, error) {
	authority, err := c.Issuer.CreateAuthority(c.Context(), c.parameters["name"])
	return authority, err
}

// force reports whether an operation is to be done though something is in its way.
func (c *call) force() bool { return strings.EqualFold(c.query("force"), "true") }

func deleteIssuingAuthority(c *call) (any, error) {
	return nil, c.Issuer.DeleteAuthority(c.Context(), c.parameters["name"], c.force())
}

// requestIssuingAuthority needs no body.
func requestIssuingAuthority(c *call) (any, error) {
	var body authorityRequestBody
	if len(c.body) > 0 {
		if err := c.decode(&body); err != nil {
			return nil, err
		}
	}
	authority, err := c.Issuer.RequestAuthority(c.Context(), c.parameters["name"], body.CommonName)
	return authority, err
}

func activateIssuingAuthority(c *call) (any, error) {
	var body authorityChainBody
	if err := c.decode(&body); err != nil {
		return nil, err
	}
	authority, err := c.Issuer.ActivateAuthority(c.Context(), c.parameters["name"], []byte(body.Certificates))
	return authority, err
}

func revokeIssuingAuthority(c *call) (any, error) {
	if replacement := c.query("replacement"); replacement != "" {
		authority, err := c.Issuer.RotateAuthority(c.Context(), c.parameters["name"], replacement)
		return authority, err
	}
	authority, err := c.Issuer.RevokeAuthority(c.Context(), c.parameters["name"])
	return authority, err
}

// listIssuedCertificates lists a page of those of a device, the latest first, or of
// all.
func listIssuedCertificates(c *call) (any, error) {
	if id := c.query("registrationId"); id != "" {
		top, err := c.number("top", c.query("top"), defaultPage, maxPage)
		if err != nil {
			return nil, err
		}
		issued, next, err := c.Issuer.Issued(c.Context(), id, c.query("after"), top)
		return Page[issuance.Certificate]{Items: issued, Next: next}, err
	}
	return page(c, issuance.CertificateRecords, func(_, after string, limit int) ([]issuance.Certificate, string, error) {
		return c.Issuer.Certificates(c.Context(), after, limit)
	})
}

func revokeIssuedToDevice(c *call) (any, error) {
	id := c.query("registrationId")
	if id == "" {
		return nil, fault.New(fault.ArgumentNull,
			"The address has no registrationId. It is that of the device whose certificates are to be revoked")
	}
	revoked, err := c.Issuer.RevokeDevice(c.Context(), id)
	return revokedBody{revoked}, err
}

func getIssuedCertificate(c *call) (any, error) {
	issued, err := c.Issuer.Certificate(c.Context(), c.parameters["thumbprint"])
	return issued, err
}

func revokeIssuedCertificate(c *call) (any, error) {
	issued, err := c.Issuer.Revoke(c.Context(), c.parameters["thumbprint"])
	return issued, err
}
