package credential

import (
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
)

// ExpiresSoon is how long before its end a certificate is warned of.
const ExpiresSoon = 30 * 24 * time.Hour

// X509CertificateInfo is what a certificate says.
type X509CertificateInfo struct {
	SubjectName      string        `json:"subjectName"`
	SHA1Thumbprint   string        `json:"sha1Thumbprint"`   // 40 hexadecimal digits, upper case
	SHA256Thumbprint string        `json:"sha256Thumbprint"` // 64 hexadecimal digits, upper case
	IssuerName       string        `json:"issuerName"`
	NotBeforeUTC     document.Time `json:"notBeforeUtc"`
	NotAfterUTC      document.Time `json:"notAfterUtc"`
	SerialNumber     string        `json:"serialNumber"`
	Version          int           `json:"version"` // 3
}

// Describe returns what a certificate says.
func Describe(certificate *x509.Certificate) *X509CertificateInfo {
	sha1, sha256 := Thumbprints(certificate)
	return &X509CertificateInfo{
		SubjectName:      certificate.Subject.String(),
		SHA1Thumbprint:   sha1,
		SHA256Thumbprint: sha256,
		IssuerName:       certificate.Issuer.String(),
		NotBeforeUTC:     document.Time{Time: document.Bounded(certificate.NotBefore)},
		NotAfterUTC:      document.Time{Time: document.Bounded(certificate.NotAfter)},
		SerialNumber:     strings.ToUpper(fmt.Sprintf("%x", certificate.SerialNumber)),
		Version:          certificate.Version,
	}
}

// ParseEnrollable reads certificates as ParseCertificates does, the one to enroll
// first. Its key must be one that is taken when a device comes with it, or with what it
// signed.
func ParseEnrollable(data []byte) ([]*x509.Certificate, error) {
	parsed, err := ParseCertificates(data)
	if err != nil {
		return nil, err
	}
	if err := CheckKeyLength(parsed[0].PublicKey); err != nil {
		return nil, fault.NewReason("it has %v, which is short enough to be broken, and no device would be let in by "+
			"it. Use %s",
			err, fault.Word(UsableKeys))
	}
	return parsed, nil
}
