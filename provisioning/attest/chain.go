package attest

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/berth-iot/berth/credential"
)

// maxChain is the number of certificates that are followed from a device's up to
// its authority.
const maxChain = 16

// Ancestors returns those who may have signed the device's certificate: the
// encoded name of its issuer, then that issuer's, and so on as far as the
// certificates that the device sent, or known ones, lead. known returns the
// certificates of an encoded name; it may be nil.
func Ancestors(evidence Evidence, known func(name []byte) []*x509.Certificate) (names [][]byte) {
	if len(evidence.Certificates) == 0 {
		return nil
	}
	current := evidence.Certificates[0]
	for range maxChain {
		names = append(names, current.RawIssuer)
		next := issuerAmong(current, evidence.Certificates[1:])
		if next == nil && known != nil {
			next = issuerAmong(current, known(current.RawIssuer))
		}
		if next == nil || bytes.Equal(next.RawIssuer, next.RawSubject) || next.Equal(current) {
			if next != nil {
				names = append(names, next.RawIssuer)
			}
			return names
		}
		current = next
	}
	return names
}

// Top returns the certificate that the device's chain leads to among those that it
// sent: a root, or the last one whose signer it did not send.
func Top(sent []*x509.Certificate) *x509.Certificate {
	top := sent[0]
	for range maxChain {
		next := issuerAmong(top, sent[1:])
		if next == nil || next.Equal(top) {
			break
		}
		top = next
	}
	return top
}

// issuerAmong returns the certificate whose key signed, or whose name says so.
func issuerAmong(certificate *x509.Certificate, candidates []*x509.Certificate) (named *x509.Certificate) {
	for _, candidate := range candidates {
		if !bytes.Equal(candidate.RawSubject, certificate.RawIssuer) {
			continue
		}
		if certificate.CheckSignatureFrom(candidate) == nil {
			return candidate
		}
		if named == nil {
			named = candidate
		}
	}
	return named
}

// Descends judges whether the device's certificate was signed by an authority, by
// way of the certificates that the device sent and of others that are known: each
// signature, the times, what each certificate may sign, path lengths and name
// constraints (RFC 5280, as crypto/x509 has it).
func Descends(trace *Trace, evidence Evidence, authority *x509.Certificate, known []*x509.Certificate, now time.Time) (Refusal, bool) {
	leaf := evidence.Certificates[0]
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(authority)
	for _, certificate := range append(evidence.Certificates[1:len(evidence.Certificates):len(evidence.Certificates)], known...) {
		between.AddCert(certificate)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err == nil {
		for _, certificate := range chains[0][1:] {
			if refusal, ok := strongKey(trace, certificate); !ok {
				return refusal, false
			}
		}
		trace.Pass("chain", path(chains[0]))
		return "", true
	}
	saw, expected, advice := explain(err, evidence.Certificates, authority, now)
	trace.Fail("chain", saw, expected, advice)
	return NotAdmitted, false
}

// path names the certificates of a chain, the device's first.
func path(chain []*x509.Certificate) string {
	names := make([]string, len(chain))
	for i, certificate := range chain {
		names[i] = certificate.Subject.String()
	}
	return strings.Join(names, ", signed by ")
}

// explain says of a chain that does not hold what is wrong with it.
func explain(err error, sent []*x509.Certificate, authority *x509.Certificate, now time.Time) (saw, expected, advice string) {
	leaf := sent[0]
	expected = "a chain from the device's certificate to " + authority.Subject.String()
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) {
		name := invalid.Cert.Subject.String()
		switch invalid.Reason {
		case x509.Expired:
			return fmt.Sprintf("%s, valid from %s to %s", name, stamp(invalid.Cert.NotBefore), stamp(invalid.Cert.NotAfter)),
				"certificates that are valid at " + stamp(now), "Renew that certificate, and those that it signed. If it is valid by its dates, compare the clocks"
		case x509.NotAuthorizedToSign:
			return noAuthority(invalid.Cert)
		case x509.TooManyIntermediates:
			return name + " may not have so many certificates below it", "no more than its path length (pathlen) allows",
				"Sign devices with an authority that is nearer, or make the authority with a greater pathlen"
		case x509.CANotAuthorizedForThisName:
			return fmt.Sprintf("%s does not allow the name %s: %s", name, leaf.Subject, invalid.Detail), "a name within the authority's name constraints",
				"Give the device a name that the authority may sign for"
		}
		return fmt.Sprintf("%s: %s", name, reason(err)), expected, "Make the certificates anew"
	}
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		for _, certificate := range sent {
			if issuer := issuerAmong(certificate, sent[1:]); issuer != nil && !(issuer.BasicConstraintsValid && issuer.IsCA) {
				return noAuthority(issuer)
			}
		}
		var weak x509.InsecureAlgorithmError
		switch signed := leaf.CheckSignatureFrom(authority); {
		case errors.As(signed, &weak), strings.Contains(err.Error(), "insecure algorithm"):
			return "a signature with SHA-1 or MD5", "signatures with SHA-256 or better", "Sign the certificates anew with SHA-256; SHA-1 can be forged"
		case bytes.Equal(leaf.RawIssuer, authority.RawSubject):
			return "signed by another key than that of the enrolled " + authority.Subject.String(), expected,
				"An authority was made anew under the same name. Enroll the authority that signed the device, or sign the device with the enrolled one"
		}
		return "signed by " + leaf.Issuer.String() + ", from which no certificate leads to the enrolled authority", expected,
			"Let the device send its whole chain, its own certificate first and then each signer, in one file; or register the certificates in between"
	}
	return reason(err), expected, "Make the certificates anew"
}

func noAuthority(certificate *x509.Certificate) (saw, expected, advice string) {
	return certificate.Subject.String() + " signs others and is no authority", "basic constraints CA:TRUE and the key usage keyCertSign in each certificate above the device's",
		"Sign the device's certificate with an authority's key, not with another device's; openssl needs basicConstraints=CA:TRUE for an authority"
}

// reason is what crypto/x509 says, without its package's name.
func reason(err error) string { return strings.TrimPrefix(err.Error(), "x509: ") }

// Describe names what a device showed, for a trace.
func Describe(certificates []*x509.Certificate) string {
	if len(certificates) == 0 {
		return "no certificate"
	}
	_, thumbprint := credential.Thumbprints(certificates[0])
	names := make([]string, 0, len(certificates))
	for _, certificate := range certificates {
		names = append(names, fmt.Sprintf("%s (signed by %s)", certificate.Subject, certificate.Issuer))
	}
	return strings.Join(names, ", ") + ", SHA-256 " + thumbprint
}
