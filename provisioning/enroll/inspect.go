package enroll

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
)

// CertificateReport is what a certificate says that somebody is about to enroll.
type CertificateReport struct {
	Info credential.X509CertificateInfo `json:"info"`
	// the common name, when it is a registration id
	RegistrationID string                           `json:"registrationId,omitempty"`
	Others         []credential.X509CertificateInfo `json:"others,omitempty"` // more that the file holds
	Warnings       []Warning                        `json:"warnings,omitempty"`
	PEM            string                           `json:"pem"` // the certificate alone
}

// Warning is what may keep a device with the certificate out. Code stays as it is
// when Text is worded anew.
type Warning struct {
	Code string `json:"code"`
	Text string `json:"text"` // a sentence without a final stop, with what to do
}

// Inspect reads what should be a device's certificate: a file's content or what
// was pasted. It returns fault 400004 for what is none, with Info["reason"]
// privateKey for a private key.
func Inspect(data []byte, now time.Time) (CertificateReport, error) {
	certificates, err := credential.ParseEnrollable(data)
	if err != nil {
		problem := fault.New(fault.ArgumentInvalid, "The certificate is refused: %v", err)
		if errors.Is(err, credential.ErrPrivateKey) {
			problem.Info = map[string]string{"reason": "privateKey"}
		}
		return CertificateReport{}, problem
	}
	first := certificates[0]
	report := CertificateReport{
		Info:     *credential.Describe(first),
		Warnings: warnings(first, now),
		PEM:      string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: first.Raw})),
	}
	if CheckRegistrationID(first.Subject.CommonName) == nil {
		report.RegistrationID = first.Subject.CommonName
	}
	for _, other := range certificates[1:] {
		report.Others = append(report.Others, *credential.Describe(other))
	}
	if len(report.Others) > 0 {
		report.Warnings = append(report.Warnings, Warning{"several",
			"The file holds several certificates. The first is taken; see that it is the device's own, and not " +
				"one of an authority"})
	}
	return report, nil
}

// warnings says what may keep the device out, or some day will.
func warnings(certificate *x509.Certificate, now time.Time) (found []Warning) {
	warn := func(condition bool, code, text string) {
		if condition {
			found = append(found, Warning{code, text})
		}
	}
	name := certificate.Subject.CommonName
	warn(now.After(certificate.NotAfter), "expired",
		"The certificate has expired, and the device will be refused. Make a new one")
	warn(now.Before(certificate.NotBefore), "notYetValid",
		"The certificate is not valid yet, and the device will be refused until then. Compare the clocks")
	warn(!now.After(certificate.NotAfter) && certificate.NotAfter.Sub(now) < credential.ExpiresSoon, "expiresSoon",
		"The certificate expires within thirty days. Have its successor ready as the secondary certificate")
	warn(name == "", "noCommonName",
		"The certificate's subject has no common name. A device registers with its common name: make a "+
			"certificate that has one")
	warn(name != "" && CheckRegistrationID(name) != nil, "commonNameNotRegistrationID",
		"The certificate's common name is not a valid registration id: up to 128 letters, digits and - . _ : are "+
			"allowed. Make a certificate with another name")
	// What `openssl req -x509` makes calls itself an authority and is none.
	// One that has the same name as its issuer may be an authority's new key, signed with
	// the former.
	selfSigned := bytes.Equal(certificate.RawIssuer, certificate.RawSubject) &&
		certificate.CheckSignature(certificate.SignatureAlgorithm, certificate.RawTBSCertificate,
			certificate.Signature) == nil
	warn(certificate.BasicConstraintsValid && certificate.IsCA && !selfSigned, "certificateAuthority",
		"This is the certificate of an authority. An individual enrollment takes the device's own")
	curve, isEC := certificate.PublicKey.(*ecdsa.PublicKey)
	warn(isEC && curve.Params().BitSize < 256, "weakKey",
		"The certificate's key is on P-224, which TLS 1.2 takes and TLS 1.3 does not. Use an elliptic curve of "+
			"256 bits or more")
	weak := []x509.SignatureAlgorithm{x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1}
	warn(slices.Contains(weak, certificate.SignatureAlgorithm), "weakSignature",
		"The certificate is signed with SHA-1 or MD5, which can be forged. Make one signed with SHA-256")
	usages := certificate.ExtKeyUsage
	warn(len(usages)+len(certificate.UnknownExtKeyUsage) > 0 && !slices.Contains(usages, x509.ExtKeyUsageClientAuth) &&
		!slices.Contains(usages, x509.ExtKeyUsageAny), "notClientAuth",
		"The certificate is not made for clients: its extended key usage lacks client authentication. Some "+
			"TLS libraries refuse to use it")
	return found
}
