package attest

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berth-iot/berth/credential"
)

// Chain is a device's certificate with those that may lead from it to an authority:
// what the device sent, and what is known besides. They are put together by their
// names alone. A signature is checked from an enrolled authority downwards, so that
// a stranger's certificates are compared with the keys of authorities and never
// with each other's, and no more of them than one judgement may cost.
type Chain struct {
	Issuers [][]byte            // the encoded names of those who may have signed, the nearest first
	Known   []*x509.Certificate // those that the device did not send

	sent       []*x509.Certificate // the device's own first
	between    []*x509.Certificate // sent or known, each once
	signatures *Signatures
	budget     int // of this judgement, in the unit of signatureBudget
}

// NewChain puts a device's chain together. known returns the certificates of an
// encoded name; it may be nil. What the device sent must be WithinLimits.
func NewChain(sent []*x509.Certificate, known func(name []byte) []*x509.Certificate, signatures *Signatures) *Chain {
	chain := &Chain{sent: sent, signatures: signatures, budget: signatureBudget}
	if len(sent) == 0 {
		return chain
	}
	named := map[string]bool{}
	for next := [][]byte{sent[0].RawIssuer}; len(next) > 0 && len(chain.Issuers) < 2*maxChain; next = next[1:] {
		name := next[0]
		if named[string(name)] {
			continue
		}
		named[string(name)] = true
		chain.Issuers = append(chain.Issuers, name)
		for _, certificate := range sent[1:] {
			if bytes.Equal(certificate.RawSubject, name) && chain.add(certificate) {
				next = append(next, certificate.RawIssuer)
			}
		}
		if known == nil {
			continue
		}
		for _, certificate := range known(name) {
			if bytes.Equal(certificate.RawSubject, name) && chain.add(certificate) {
				chain.Known = append(chain.Known, certificate)
				next = append(next, certificate.RawIssuer)
			}
		}
	}
	return chain
}

func (c *Chain) add(certificate *x509.Certificate) bool {
	if slices.ContainsFunc(c.between, certificate.Equal) {
		return false
	}
	c.between = append(c.between, certificate)
	return true
}

// KeyIDs returns the key identifiers by which certificates of the chain name the
// key that signed them, of the issuer with this name.
func (c *Chain) KeyIDs(issuer []byte) (ids [][]byte) {
	for _, certificate := range slices.Concat(c.sent[:1], c.between) {
		id := certificate.AuthorityKeyId
		named := func(other []byte) bool { return bytes.Equal(id, other) }
		if len(id) > 0 && bytes.Equal(certificate.RawIssuer, issuer) && !slices.ContainsFunc(ids, named) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Top returns the certificate that the device's chain leads to among those that it
// sent, by their names: a root, or the last one whose signer it did not send.
func Top(sent []*x509.Certificate) *x509.Certificate {
	top := sent[0]
	for range maxChain {
		i := slices.IndexFunc(sent[1:], func(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, top.RawIssuer) })
		if i < 0 || sent[1+i].Equal(top) {
			break
		}
		top = sent[1+i]
	}
	return top
}

// below are the certificates of a chain whose signatures lead up to an authority.
type below struct {
	between []*x509.Certificate
	leaf    bool  // the device's own is one of them
	broken  error // why not, of the first one that names the authority: what its signature lacks
	child   *x509.Certificate
}

// below looks which certificates descend from the authority, by their signatures
// alone.
func (c *Chain) below(authority *x509.Certificate) (found below) {
	leaf := c.sent[0]
	found.leaf = leaf.Equal(authority)
	done := map[*x509.Certificate]bool{}
	for parents := []*x509.Certificate{authority}; len(parents) > 0; parents = parents[1:] {
		parent := parents[0]
		for _, child := range c.children(parent) {
			if done[child] || child.Equal(authority) {
				continue
			}
			err := c.signatures.check(child, parent, &c.budget)
			if errors.Is(err, errSignatureBudget) {
				found.broken, found.child = err, child
				return found
			}
			if err != nil {
				if found.broken == nil {
					found.broken, found.child = err, child
				}
				continue
			}
			if done[child] = true; child == leaf {
				found.leaf = true
				continue
			}
			found.between = append(found.between, child)
			parents = append(parents, child)
		}
	}
	return found
}

// children are the certificates that name the parent as their issuer, those that
// name its key first and those that name another last.
func (c *Chain) children(parent *x509.Certificate) (children []*x509.Certificate) {
	for _, certificate := range slices.Concat(c.sent[:1], c.between) {
		if bytes.Equal(certificate.RawIssuer, parent.RawSubject) {
			children = append(children, certificate)
		}
	}
	slices.SortStableFunc(children, func(a, b *x509.Certificate) int {
		return keyDistance(a, parent) - keyDistance(b, parent)
	})
	return children
}

// keyDistance tells a certificate that names its parent's key (0) from one that
// names none (1) and one that names another (2).
func keyDistance(certificate, parent *x509.Certificate) int {
	switch {
	case len(certificate.AuthorityKeyId) == 0 || len(parent.SubjectKeyId) == 0:
		return 1
	case bytes.Equal(certificate.AuthorityKeyId, parent.SubjectKeyId):
		return 0
	}
	return 2
}

// Descends judges whether the device's certificate was signed by an authority, by
// way of the chain: each signature, the times, what each certificate may sign, path
// lengths and name constraints (RFC 5280, as crypto/x509 has it).
func (c *Chain) Descends(trace *Trace, authority *x509.Certificate, now time.Time) (Refusal, bool) {
	found := c.below(authority)
	if !found.leaf {
		saw, expected, advice := c.unsigned(found, authority)
		trace.Fail("chain", saw, expected, advice)
		return NotAdmitted, false
	}
	// Only what the authority's keys have signed goes on from here.
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(authority)
	for _, certificate := range found.between {
		between.AddCert(certificate)
	}
	chains, err := c.sent[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err == nil {
		for _, certificate := range chains[0][1:] {
			if refusal, ok := strongKey(trace, certificate); !ok {
				return refusal, false
			}
		}
		trace.Pass("chain", path(chains[0]))
		return "", true
	}
	saw, expected, advice := c.invalid(err, found, authority, now)
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

// unsigned says of a chain whose signatures do not lead to the authority where they
// end.
func (c *Chain) unsigned(found below, authority *x509.Certificate) (saw, expected, advice string) {
	leaf := c.sent[0]
	expected = "a chain from the device's certificate to " + authority.Subject.String()
	var weak x509.InsecureAlgorithmError
	switch {
	case errors.Is(found.broken, errSignatureBudget):
		return found.broken.Error(), expected,
			"Let the device send its own certificate and those of its signers, and no others; give authorities names of their own, or key identifiers"
	case errors.As(found.broken, &weak):
		return "a signature with SHA-1 or MD5", "signatures with SHA-256 or better", "Sign the certificates anew with SHA-256; SHA-1 can be forged"
	case found.child != nil && bytes.Equal(found.child.RawIssuer, authority.RawSubject):
		saw = "signed by another key than that of the enrolled " + authority.Subject.String()
		if found.child != leaf {
			saw = found.child.Subject.String() + " is " + saw
		}
		return saw, expected, "An authority was made anew under the same name. Enroll the authority that signed the device, or sign the device with the enrolled one"
	}
	return "signed by " + leaf.Issuer.String() + ", from which no certificate leads to the enrolled authority", expected,
		"Let the device send its whole chain, its own certificate first and then each signer, in one file; or register the certificates in between"
}

// invalid says of a chain that is signed and does not hold what is wrong with it.
func (c *Chain) invalid(err error, found below, authority *x509.Certificate,
	now time.Time) (saw, expected, advice string) {
	leaf := c.sent[0]
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
	for _, certificate := range found.between {
		if !certificate.BasicConstraintsValid || !certificate.IsCA {
			return noAuthority(certificate)
		}
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
