package provisioning

import (
	"crypto/x509"
	"fmt"
	"strings"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/document"
)

// describe returns what a certificate says, in the words of the REST API.
func describe(certificate *x509.Certificate) *X509CertificateInfo {
	sha1, sha256 := credential.Thumbprints(certificate)
	return &X509CertificateInfo{
		SubjectName:      certificate.Subject.String(),
		SHA1Thumbprint:   sha1,
		SHA256Thumbprint: sha256,
		IssuerName:       certificate.Issuer.String(),
		NotBeforeUTC:     Time{Time: document.Bounded(certificate.NotBefore)},
		NotAfterUTC:      Time{Time: document.Bounded(certificate.NotAfter)},
		SerialNumber:     strings.ToUpper(fmt.Sprintf("%x", certificate.SerialNumber)),
		Version:          certificate.Version,
	}
}

// thumbprints returns the SHA-256 thumbprints of the enrolled certificates;
// secondary is "" when there is none.
func (e Enrollment) thumbprints() (primary, secondary string) {
	certificates := e.Attestation.X509.ClientCertificates
	primary = certificates.Primary.Info.SHA256Thumbprint
	if certificates.Secondary != nil {
		secondary = certificates.Secondary.Info.SHA256Thumbprint
	}
	return primary, secondary
}
