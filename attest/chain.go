package attest

import (
	"bytes"
	"crypto/x509"
	"errors"
	"slices"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
)

// Chain is a device's certificate with those that may lead from it to an authority:
// what the device sent, and what is known besides. They are put together by their
// names alone, in whatever spelling. A signature is checked from an enrolled authority
// downwards, so that a stranger's certificates are compared with the keys of authorities
// and never with each other's, and no more of them than one judgement may cost.
type Chain struct {
	Issuers [][]byte            // the encoded names of those who may have signed, the nearest first
	Known   []*x509.Certificate // those that the device did not send

	sent       []*x509.Certificate // the device's own first
	between    []*x509.Certificate // sent or known, each once
	signatures *Signatures
	canonicals map[string]string // of encoded names, in canonical form

	// What this judgement may still cost, in the unit of signatureBudget.
	budget       int
	policyBudget int

	comparisons int // of names with constraints, so far
}

// NewChain puts a device's chain together. known returns the certificates of an
// encoded name; it may be nil. What the device sent must be WithinLimits.
func NewChain(sent []*x509.Certificate, known func(name []byte) []*x509.Certificate, signatures *Signatures) *Chain {
	chain := &Chain{sent: sent, signatures: signatures, canonicals: map[string]string{},
		budget: signatureBudget, policyBudget: signatureBudget}
	if len(sent) == 0 {
		return chain
	}
	named := map[string]bool{} // in canonical form
	for next := [][]byte{sent[0].RawIssuer}; len(next) > 0 && len(chain.Issuers) < 2*maxChain; next = next[1:] {
		name := next[0]
		if named[chain.Canonical(name)] {
			continue
		}
		named[chain.Canonical(name)] = true
		chain.Issuers = append(chain.Issuers, name)
		for _, certificate := range sent[1:] {
			if chain.sameName(certificate.RawSubject, name) && chain.add(certificate) {
				next = append(next, certificate.RawIssuer)
			}
		}
		if known == nil {
			continue
		}
		for _, certificate := range known(name) {
			if chain.sameName(certificate.RawSubject, name) && chain.add(certificate) {
				chain.Known = append(chain.Known, certificate)
				next = append(next, certificate.RawIssuer)
			}
		}
	}
	return chain
}

// sameName reports whether two encoded names are the same in meaning.
func (c *Chain) sameName(a, b []byte) bool {
	return bytes.Equal(a, b) || c.Canonical(a) == c.Canonical(b)
}

// canonical is CanonicalName, worked out once for each name.
func (c *Chain) Canonical(name []byte) string {
	known, ok := c.canonicals[string(name)]
	if !ok {
		known = credential.CanonicalName(name)
		c.canonicals[string(name)] = known
	}
	return known
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
		if len(id) > 0 && c.sameName(certificate.RawIssuer, issuer) && !slices.ContainsFunc(ids, named) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Top returns the certificate that the device's chain leads to among those that it
// sent, by names and key identifiers, and whether that is a root.
func (c *Chain) Top() (top *x509.Certificate, root bool) {
	top = c.sent[0]
	passed := []*x509.Certificate{top}
	for range c.sent {
		var next *x509.Certificate
		for _, certificate := range c.sent[1:] {
			if !c.sameName(certificate.RawSubject, top.RawIssuer) || slices.ContainsFunc(passed, certificate.Equal) {
				continue
			}
			if next == nil || keyDistance(top, certificate) < keyDistance(top, next) {
				next = certificate
			}
		}
		if next == nil || c.IsRoot(top) {
			break
		}
		passed, top = append(passed, next), next
	}
	return top, c.IsRoot(top)
}

// IsRoot reports whether a certificate was signed with its own key. That its subject
// and its issuer have the same name is not enough: an authority that has a new key signs
// it with the former. The signature counts in the budget; when that is used up, the
// names decide.
func (c *Chain) IsRoot(certificate *x509.Certificate) bool {
	if !c.selfIssued(certificate) || keyDistance(certificate, certificate) == namesAnother {
		return false
	}
	err := c.signatures.check(certificate, certificate, &c.budget)
	return err == nil || errors.Is(err, errSignatureBudget) || errors.As(err, new(x509.InsecureAlgorithmError))
}

// descendants are the certificates of a chain whose signatures lead up to an authority.
type descendants struct {
	signers map[*x509.Certificate][]*x509.Certificate // whose key signed which
	leaf    bool                                      // the device's own is one of them
	broken  error                                     // why not: what the signature of child lacks
	child   *x509.Certificate
}

// descendants looks which certificates descend from the authority, by their signatures
// alone.
func (c *Chain) descendants(authority *x509.Certificate) descendants {
	leaf := c.sent[0]
	found := descendants{signers: map[*x509.Certificate][]*x509.Certificate{}, leaf: leaf.Equal(authority)}
	for parents := []*x509.Certificate{authority}; len(parents) > 0; parents = parents[1:] {
		parent := parents[0]
		for _, child := range c.children(parent) {
			if child == parent || child.Equal(authority) {
				continue
			}
			signers := found.signers[child]
			if len(signers) > 0 && !c.sameKey(signers[0], parent) {
				continue // another key signed it
			}
			err := c.signatures.check(child, parent, &c.budget)
			if errors.Is(err, errSignatureBudget) {
				found.broken, found.child = err, child
				return found
			}
			if err != nil {
				if found.broken == nil || child == leaf {
					found.broken, found.child = err, child
				}
				continue
			}
			found.signers[child] = append(signers, parent)
			if found.leaf = found.leaf || child == leaf; child != leaf && len(signers) == 0 {
				parents = append(parents, child)
			}
		}
	}
	return found
}

// children are the certificates that name the parent as their issuer, those that
// name its key first and those that name another last.
func (c *Chain) children(parent *x509.Certificate) (children []*x509.Certificate) {
	for _, certificate := range slices.Concat(c.sent[:1], c.between) {
		if c.sameName(certificate.RawIssuer, parent.RawSubject) {
			children = append(children, certificate)
		}
	}
	slices.SortStableFunc(children, func(a, b *x509.Certificate) int {
		return keyDistance(a, parent) - keyDistance(b, parent)
	})
	return children
}

// How well the key that a certificate names fits that of its parent.
const (
	namesKey = iota
	namesNone
	namesAnother
)

// keyDistance tells a certificate that names its parent's key from one that names
// none, and one that names another.
func keyDistance(certificate, parent *x509.Certificate) int {
	switch {
	case len(certificate.AuthorityKeyId) == 0 || len(parent.SubjectKeyId) == 0:
		return namesNone
	case bytes.Equal(certificate.AuthorityKeyId, parent.SubjectKeyId):
		return namesKey
	}
	return namesAnother
}

// Descends judges whether the device's certificate was signed by an authority, by
// way of the chain: what the authority may do, each signature, and then the rules for
// paths (valid). Of several paths one that holds is enough.
func (c *Chain) Descends(trace *Trace, authority *x509.Certificate, now time.Time) (Refusal, bool) {
	if !maySign(authority) {
		failNoAuthority(trace, authority)
		return NotAdmitted, false
	}
	found := c.descendants(authority)
	if !found.leaf {
		c.failUnsigned(trace, found, authority)
		return NotAdmitted, false
	}
	var (
		refusal Refusal
		failed  Trace // of the first path
	)
	for _, path := range c.paths(found, authority) {
		var attempt Trace
		refused, ok := c.checkPath(&attempt, path, now)
		if ok {
			trace.Pass("chain", "%s", names(path))
			return "", true
		}
		if failed == nil {
			failed, refusal = attempt, refused
		}
	}
	if failed == nil {
		trace.Fail("chain", fault.Say("more ways to the authority than are followed"),
			fault.Say("a chain with few ways to the authority"),
			fault.Say("Let the device send its own certificate and those of its signers, and no others"))
		return NotAdmitted, false
	}
	*trace = append(*trace, failed...)
	return refusal, false
}

// failUnsigned says of a chain whose signatures do not lead to the authority where they
// end.
func (c *Chain) failUnsigned(trace *Trace, found descendants, authority *x509.Certificate) {
	leaf := c.sent[0]
	expected := fault.Say("a chain from the device's certificate to %s", authority.Subject)
	recreated := fault.Say("An authority was recreated under the same name. " +
		"Enroll the authority that signed the device, or sign the device with the enrolled one")
	var weak x509.InsecureAlgorithmError
	switch {
	case errors.Is(found.broken, errSignatureBudget):
		trace.Fail("chain", fault.TextOf(found.broken), expected,
			fault.Say("Let the device send its own certificate and those of its signers, and no others; "+
				"give authorities names of their own, or key identifiers"))
	case errors.As(found.broken, &weak):
		trace.Fail("chain", fault.Say("a signature with SHA-1 or MD5"), fault.Say("signatures with SHA-256 or better"),
			fault.Say("Sign the certificates again, with SHA-256; SHA-1 can be forged"))
	case found.child != nil && found.child == leaf && c.sameName(leaf.RawIssuer, authority.RawSubject):
		trace.Fail("chain", fault.Say("signed by another key than that of the enrolled %s", authority.Subject),
			expected, recreated)
	case found.child != nil && c.sameName(found.child.RawIssuer, authority.RawSubject):
		trace.Fail("chain", fault.Say("%s is signed by another key than that of the enrolled %s",
			found.child.Subject, authority.Subject), expected, recreated)
	case found.child != nil:
		trace.Fail("chain", fault.Say("%s is signed by another key than that of %s in the chain",
			found.child.Subject, found.child.Issuer), expected,
			fault.Say("Let the device send the certificate of the authority that signed it: "+
				"an authority was recreated under the same name"))
	default:
		trace.Fail("chain",
			fault.Say("signed by %s, from which no certificate leads to the enrolled authority", leaf.Issuer), expected,
			fault.Say("Let the device send its whole chain, its own certificate first and then each signer, "+
				"in one file; or register the certificates in between"))
	}
}

// Describe names what a device showed, for a trace.
func Describe(certificates []*x509.Certificate) fault.Text {
	if len(certificates) == 0 {
		return fault.Say("no certificate")
	}
	described := fault.Say("%s (signed by %s)", certificates[0].Subject, certificates[0].Issuer)
	for _, certificate := range certificates[1:] {
		described = fault.Say("%s, %s (signed by %s)", described, certificate.Subject, certificate.Issuer)
	}
	_, thumbprint := credential.Thumbprints(certificates[0])
	return fault.Say("%s, SHA-256 %s", described, thumbprint)
}
