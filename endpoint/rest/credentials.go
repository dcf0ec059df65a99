package rest

import (
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/provisioning"
)

// credentials are the operations on operational certificates: credential policies,
// issuing authorities, and what was issued.
func (h *handler) credentials() []route {
	const (
		policies     = "/berth/provisioning/credentialpolicies"
		authorities  = "/berth/provisioning/issuingauthorities"
		certificates = "/berth/provisioning/issuedcertificates"
	)
	return []route{
		{"GET", policies, provisioningAPI, provisioning.EnrollmentRead, 0, listCredentialPolicies},
		{"GET", policies + "/{name}", provisioningAPI, provisioning.EnrollmentRead, 0, getCredentialPolicy},
		{"PUT", policies + "/{name}", provisioningAPI, provisioning.ServiceConfig, smallBody, putCredentialPolicy},
		{"DELETE", policies + "/{name}", provisioningAPI, provisioning.ServiceConfig, 0, deleteCredentialPolicy},
		{"GET", authorities, provisioningAPI, provisioning.EnrollmentRead, 0, listIssuingAuthorities},
		{"GET", authorities + "/{name}", provisioningAPI, provisioning.EnrollmentRead, 0, getIssuingAuthority},
		{"PUT", authorities + "/{name}", provisioningAPI, provisioning.ServiceConfig, 0, createIssuingAuthority},
		{"POST", authorities + "/{name}/revoke", provisioningAPI, provisioning.ServiceConfig, 0, revokeIssuingAuthority},
		{"GET", certificates, provisioningAPI, provisioning.RegistrationStatusRead, 0, listIssuedCertificates},
		{"GET", certificates + "/{thumbprint}", provisioningAPI, provisioning.RegistrationStatusRead, 0, getIssuedCertificate},
		{"POST", certificates + "/{thumbprint}/revoke", provisioningAPI, provisioning.RegistrationStatusWrite, 0, revokeIssuedCertificate},
	}
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
	return nil, c.Issuer.DeletePolicy(c.Context(), c.parameters["name"])
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

func revokeIssuingAuthority(c *call) (any, error) {
	authority, err := c.Issuer.RevokeAuthority(c.Context(), c.parameters["name"])
	return authority, err
}

// listIssuedCertificates lists those of a device, the latest first, or a page of
// all.
func listIssuedCertificates(c *call) (any, error) {
	if id := c.query("registrationId"); id != "" {
		issued, err := c.Issuer.Issued(c.Context(), id)
		return Page[issuance.Certificate]{Items: issued}, err
	}
	return page(c, issuance.CertificateRecords, func(_, after string, limit int) ([]issuance.Certificate, string, error) {
		return c.Issuer.Certificates(c.Context(), after, limit)
	})
}

func getIssuedCertificate(c *call) (any, error) {
	issued, err := c.Issuer.Certificate(c.Context(), c.parameters["thumbprint"])
	return issued, err
}

func revokeIssuedCertificate(c *call) (any, error) {
	issued, err := c.Issuer.Revoke(c.Context(), c.parameters["thumbprint"])
	return issued, err
}
