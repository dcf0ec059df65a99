package attest

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"slices"
	"strings"
	"time"

	"github.com/berth-iot/berth/fault"
)

// A chain may have many ways from the device to an authority: certificates sent twice,
// authorities that signed each other. So many are followed, and so many steps made.
const (
	maxPaths = 16
	maxSteps = 256
)

// paths are the ways from the device's certificate up to the authority, by signatures
// that were checked: the shortest first as a rule. No key is passed twice.
func (c *Chain) paths(found descendants, authority *x509.Certificate) (paths [][]*x509.Certificate) {
	leaf := c.sent[0]
	if leaf.Equal(authority) {
		return [][]*x509.Certificate{{authority}}
	}
	steps := 0
	var climb func(path []*x509.Certificate)
	climb = func(path []*x509.Certificate) {
		for _, signer := range found.signers[path[len(path)-1]] {
			if steps++; steps > maxSteps || len(paths) == maxPaths {
				return
			}
			longer := append(slices.Clip(path), signer)
			switch {
			case signer == authority:
				paths = append(paths, longer)
			case c.sameKey(signer, authority),
				slices.ContainsFunc(path, func(passed *x509.Certificate) bool { return c.sameKey(passed, signer) }):
			default:
				climb(longer)
			}
		}
	}
	climb([]*x509.Certificate{leaf})
	return paths
}

// sameKey reports whether two certificates give the same name the same key.
func (c *Chain) sameKey(a, b *x509.Certificate) bool {
	return c.sameName(a.RawSubject, b.RawSubject) && bytes.Equal(a.RawSubjectPublicKeyInfo, b.RawSubjectPublicKeyInfo)
}

// selfIssued reports whether a certificate has one name as its subject and its issuer.
// It need be no root: an authority that has a new key signs it with the former.
func (c *Chain) selfIssued(certificate *x509.Certificate) bool {
	return c.sameName(certificate.RawSubject, certificate.RawIssuer)
}

// checkPath judges a path whose signatures are right, from the authority, its last, down to
// the device (RFC 5280, section 6.1): the times, what each certificate may sign, path
// lengths, name constraints and policies. Extended key usages of devices are not asked
// for: Azure does not.
func (c *Chain) checkPath(trace *Trace, path []*x509.Certificate, now time.Time) (Refusal, bool) {
	for i := len(path) - 1; i >= 0; i-- {
		certificate := path[i]
		if now.Before(certificate.NotBefore) || now.After(certificate.NotAfter) {
			trace.Fail("chain", fault.Say("%s, valid from %s to %s", certificate.Subject,
				stamp(certificate.NotBefore), stamp(certificate.NotAfter)),
				fault.Say("certificates that are valid at %s", stamp(now)),
				fault.Say("Renew that certificate, and those that it signed. "+
					"If it is valid by its dates, compare the clocks"))
			return NotAdmitted, false
		}
		if id, ok := unknownCritical(certificate); ok {
			trace.Fail("chain",
				fault.Say("%s has the critical extension %s, which is not known here", certificate.Subject, id),
				fault.Say("critical extensions that are known here"),
				fault.Say("Make the certificate without that extension, or mark it as not critical"))
			return NotAdmitted, false
		}
		if i == 0 {
			break
		}
		if !maySign(certificate) {
			failNoAuthority(trace, certificate)
			return NotAdmitted, false
		}
		below := 0 // authorities that count: a new key of the same name does not
		for _, other := range path[1:i] {
			if !c.selfIssued(other) {
				below++
			}
		}
		if most := certificate.MaxPathLen; certificate.BasicConstraintsValid && most >= 0 && below > most {
			trace.Fail("chain", fault.Say("%s allows %d authorities below it, and the chain has %d",
				certificate.Subject, most, below),
				fault.Say("no more than its path length (pathlen) allows"),
				fault.Say("Sign devices with an authority that is nearer, "+
					"or make the authority with a greater pathlen"))
			return NotAdmitted, false
		}
		if refusal, ok := checkKeyLength(trace, certificate); !ok {
			return refusal, false
		}
		for j := i - 1; j >= 0; j-- {
			if j > 0 && c.selfIssued(path[j]) {
				continue
			}
			if c.comparisons += comparisons(certificate, path[j]); c.comparisons > maxComparisons {
				trace.Fail("chain", fault.Say("%s has more name constraints than are compared with the names of %s",
					certificate.Subject, path[j].Subject), fault.Say("fewer names or name constraints"),
					fault.Say("Make the certificates with fewer names, "+
						"or under an authority with fewer name constraints"))
				return NotAdmitted, false
			}
			if err := checkNames(certificate, path[j]); err != nil {
				trace.Fail("chain", fault.TextOf(err),
					fault.Say("names within the name constraints of the authorities above"),
					fault.Say("Make the certificate with names that the authority may sign for, "+
						"or under another authority"))
				return NotAdmitted, false
			}
		}
	}
	return c.checkPolicies(trace, path, now)
}

// maySign reports whether a certificate is that of an authority: of version 3, with the
// basic constraint CA:TRUE, and with keyCertSign if it has key usages.
func maySign(certificate *x509.Certificate) bool {
	return certificate.BasicConstraintsValid && certificate.IsCA &&
		(extension(certificate, oidKeyUsage) == nil || certificate.KeyUsage&x509.KeyUsageCertSign != 0)
}

func failNoAuthority(trace *Trace, certificate *x509.Certificate) {
	trace.Fail("chain", fault.Say("%s signs others and is not an authority", certificate.Subject),
		fault.Say("basic constraints CA:TRUE and the key usage keyCertSign in each certificate above the device's"),
		fault.Say("Sign the device's certificate with an authority's key, not with another device's; openssl needs "+
			"basicConstraints=CA:TRUE for an authority"))
}

var oidKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 15}

// unknownCritical finds a critical extension that neither package crypto/x509 nor this
// one knows. Alternative names of any kind are no obstacle: a device goes by its common
// name, and the constraints that there may be on them are judged.
func unknownCritical(certificate *x509.Certificate) (id asn1.ObjectIdentifier, found bool) {
	for _, id := range certificate.UnhandledCriticalExtensions {
		if id.Equal(oidSubjectAltName) {
			continue
		}
		if _, _, known := directoryConstraints(certificate); known && id.Equal(oidNameConstraints) {
			continue
		}
		return id, true
	}
	return nil, false
}

// checkPolicies judges certificate policies, where a certificate of the path demands
// them: package crypto/x509 does, which is shown such a path alone, without what is
// judged here. It computes the signatures once more, within a budget of their own.
func (c *Chain) checkPolicies(trace *Trace, path []*x509.Certificate, now time.Time) (Refusal, bool) {
	demanding := slices.IndexFunc(path, func(c *x509.Certificate) bool {
		return c.RequireExplicitPolicy > 0 || c.RequireExplicitPolicyZero || len(c.PolicyMappings) > 0
	})
	if demanding < 0 {
		return "", true
	}
	for _, signer := range path[1:] {
		c.policyBudget -= weight(signer.PublicKey)
	}
	if c.policyBudget < 0 {
		trace.Fail("chain", fault.TextOf(errSignatureBudget), fault.Say("a chain with few ways to the authority"),
			fault.Say("Let the device send its own certificate and those of its signers, and no others"))
		return NotAdmitted, false
	}
	c.signatures.checks.Add(uint64(len(path) - 1))
	relaxed := make([]*x509.Certificate, len(path))
	for i, certificate := range path {
		copied := *certificate
		copied.MaxPathLen, copied.MaxPathLenZero, copied.UnhandledCriticalExtensions = -1, false, nil
		copied.DNSNames, copied.EmailAddresses, copied.IPAddresses, copied.URIs = nil, nil, nil, nil
		if i < len(path)-1 {
			copied.RawIssuer = path[i+1].RawSubject // it may be spelled in another way
		}
		relaxed[i] = &copied
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(relaxed[len(path)-1])
	for _, certificate := range relaxed[1:] {
		between.AddCert(certificate)
	}
	if _, err := relaxed[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		trace.Fail("chain", fault.Say("%s demands certificate policies: %s", path[demanding].Subject, reason(err)),
			fault.Say("the policies that the authorities demand in each certificate below them"),
			fault.Say("Make the certificates below that authority with its certificate policies"))
		return NotAdmitted, false
	}
	return "", true
}

// names lists the certificates of a path, the device's first.
func names(path []*x509.Certificate) fault.Text {
	named := fault.Say("%s", path[0].Subject)
	for _, certificate := range path[1:] {
		named = fault.Say("%s, signed by %s", named, certificate.Subject)
	}
	return named
}

// reason is what crypto/x509 says, without its package's name.
func reason(err error) string { return strings.TrimPrefix(err.Error(), "x509: ") }
