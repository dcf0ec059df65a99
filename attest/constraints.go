package attest

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
)

// Object identifiers of extensions, and of a part of a subject.
var (
	oidSubjectAltName  = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidNameConstraints = asn1.ObjectIdentifier{2, 5, 29, 30}
	oidEmailAddress    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}
)

// checkNames says which name of a certificate the name constraints of an authority above
// it forbid (RFC 5280, section 4.2.1.10); nil for none. The common name of a device is a
// registration id, and no DNS name.
func checkNames(authority, certificate *x509.Certificate) error {
	holder, subject := authority.Subject.String(), certificate.Subject.String()
	for _, name := range certificate.DNSNames {
		if !isPermitted(name, authority.PermittedDNSDomains, authority.ExcludedDNSDomains, matchesDNS, overlapsDNS) {
			return fault.NewReason("%s does not allow the DNS name %q of %s", holder, name, subject)
		}
	}
	for _, name := range slices.Concat(certificate.EmailAddresses, emailAddresses(certificate)) {
		if !isPermitted(name, authority.PermittedEmailAddresses, authority.ExcludedEmailAddresses,
			matchesEmail, overlapsEmail) {
			return fault.NewReason("%s does not allow the e-mail address %q of %s", holder, name, subject)
		}
	}
	for _, name := range certificate.URIs {
		if !isPermitted(name, authority.PermittedURIDomains, authority.ExcludedURIDomains, matchesURI, overlapsURI) {
			return fault.NewReason("%s does not allow the URI %q of %s", holder, name, subject)
		}
	}
	for _, name := range certificate.IPAddresses {
		if !isPermitted(name, authority.PermittedIPRanges, authority.ExcludedIPRanges, matchesIP, matchesIP) {
			return fault.NewReason("%s does not allow the IP address %s of %s", holder, name, subject)
		}
	}
	permitted, excluded, _ := directoryConstraints(authority)
	for _, name := range directoryNames(certificate) {
		if !isPermitted(name, permitted, excluded, matchesDirectory, matchesDirectory) {
			return fault.NewReason("%s does not allow the name %s of %s", holder, name.text, subject)
		}
	}
	return nil
}

// maxComparisons bounds how often a name is held against a constraint in one judgement:
// some 10 ms.
const maxComparisons = 100_000

// comparisons is how often forbidden compares, at most.
func comparisons(authority, certificate *x509.Certificate) int {
	permitted, excluded, _ := directoryConstraints(authority)
	return len(certificate.DNSNames)*(len(authority.PermittedDNSDomains)+len(authority.ExcludedDNSDomains)) +
		(len(certificate.EmailAddresses)+len(certificate.Subject.Names))*
			(len(authority.PermittedEmailAddresses)+len(authority.ExcludedEmailAddresses)) +
		len(certificate.URIs)*(len(authority.PermittedURIDomains)+len(authority.ExcludedURIDomains)) +
		len(certificate.IPAddresses)*(len(authority.PermittedIPRanges)+len(authority.ExcludedIPRanges)) +
		len(directoryNames(certificate))*(len(permitted)+len(excluded))
}

// isPermitted reports whether a name is in one of the permitted subtrees, where there are
// any, and in none that is excluded. overlaps is for those: of what can't be told it
// says yes.
func isPermitted[N, C any](name N, permitted, excluded []C, matches, overlaps func(name N, constraint C) bool) bool {
	return (len(permitted) == 0 || slices.ContainsFunc(permitted, func(c C) bool { return matches(name, c) })) &&
		!slices.ContainsFunc(excluded, func(c C) bool { return overlaps(name, c) })
}

// matchesDNS reports whether a name is the host of a constraint or below it. With a
// full stop in front it must be below.
func matchesDNS(name, constraint string) bool {
	name, constraint = strings.ToLower(strings.TrimSuffix(name, ".")), strings.ToLower(constraint)
	if constraint == "" || name == constraint {
		return true
	}
	return strings.HasSuffix(name, "."+strings.TrimPrefix(constraint, "."))
}

// overlapsDNS is matchesDNS, and reports too whether a wildcard may stand for the host
// of the constraint.
func overlapsDNS(name, constraint string) bool {
	below, wildcard := strings.CutPrefix(name, "*")
	_, parent, _ := strings.Cut(constraint, ".")
	return matchesDNS(name, constraint) || wildcard && strings.EqualFold(strings.TrimSuffix(below, "."), "."+parent)
}

// matchesEmail reports whether a mailbox is that of a constraint, or at its host, or,
// with a full stop in front, at a host below.
func matchesEmail(name, constraint string) bool {
	local, host, ok := cutMailbox(name)
	if !ok {
		return false
	}
	if i := strings.LastIndexByte(constraint, '@'); i >= 0 {
		return local == constraint[:i] && strings.EqualFold(host, constraint[i+1:])
	}
	return matchesHost(host, constraint)
}

func overlapsEmail(name, constraint string) bool {
	_, _, ok := cutMailbox(name)
	return !ok || matchesEmail(name, constraint)
}

// cutMailbox splits an e-mail address. Only a local part in quotes may have an @.
func cutMailbox(address string) (local, host string, ok bool) {
	i := strings.LastIndexByte(address, '@')
	if i <= 0 || i == len(address)-1 {
		return "", "", false
	}
	local, host = address[:i], address[i+1:]
	quoted := len(local) > 1 && local[0] == '"' && local[len(local)-1] == '"'
	return local, host, quoted || !strings.ContainsAny(local, "@\" ")
}

// matchesURI reports whether the host of a URI is that of a constraint, or, with a full
// stop in front, below it. A URI without a host is in none (RFC 5280), nor is one with
// an IP address.
func matchesURI(name *url.URL, constraint string) bool {
	host := name.Hostname()
	return host != "" && net.ParseIP(host) == nil && matchesHost(host, constraint)
}

func overlapsURI(name *url.URL, constraint string) bool {
	host := name.Hostname()
	return host == "" || net.ParseIP(host) != nil || matchesURI(name, constraint)
}

// matchesHost is how e-mail addresses and URIs are held against a host, which does not
// stand for those below it as it does for DNS names.
func matchesHost(host, constraint string) bool {
	host = strings.TrimSuffix(host, ".")
	if constraint == "" || strings.EqualFold(host, constraint) {
		return true
	}
	return constraint[0] == '.' && strings.HasSuffix(strings.ToLower(host), strings.ToLower(constraint))
}

func matchesIP(name net.IP, constraint *net.IPNet) bool {
	return len(name) == len(constraint.IP) && constraint.Contains(name)
}

// matchesDirectory reports whether a name begins with that of a constraint.
func matchesDirectory(name directoryName, constraint []string) bool {
	return len(constraint) <= len(name.parts) && slices.Equal(name.parts[:len(constraint)], constraint)
}

// emailAddresses are those that stand in a certificate's subject.
func emailAddresses(certificate *x509.Certificate) (addresses []string) {
	for _, attribute := range certificate.Subject.Names {
		if attribute.Type.Equal(oidEmailAddress) {
			addresses = append(addresses, fmt.Sprint(attribute.Value))
		}
	}
	return addresses
}

// directoryName is a distinguished name, to show and to compare.
type directoryName struct {
	text  string
	parts []string // in canonical form
}

func newDirectoryName(encoded []byte) directoryName {
	parts, ok := credential.CanonicalParts(encoded)
	var name pkix.RDNSequence
	if _, err := asn1.Unmarshal(encoded, &name); err != nil || !ok {
		return directoryName{"that can't be read", []string{string(encoded)}}
	}
	return directoryName{name.String(), parts}
}

// directoryNames are the names of a certificate that are no DNS names, addresses and
// the like: its subject, and those among its alternative names.
func directoryNames(certificate *x509.Certificate) (names []directoryName) {
	const tag = 4 // GeneralName, directoryName
	if subject := newDirectoryName(certificate.RawSubject); len(subject.parts) > 0 {
		names = append(names, subject)
	}
	var alternatives []asn1.RawValue
	if _, err := asn1.Unmarshal(extension(certificate, oidSubjectAltName), &alternatives); err != nil {
		return names
	}
	for _, alternative := range alternatives {
		if alternative.Class == asn1.ClassContextSpecific && alternative.Tag == tag {
			names = append(names, newDirectoryName(alternative.Bytes))
		}
	}
	return names
}

// directoryConstraints are an authority's constraints for directoryNames, which package
// crypto/x509 leaves to others. known is false when there are some of kinds that are not
// known here either.
func directoryConstraints(authority *x509.Certificate) (permitted, excluded [][]string, known bool) {
	type subtree struct {
		Base    asn1.RawValue
		Minimum int `asn1:"optional,tag:0,default:0"`
		Maximum int `asn1:"optional,tag:1,default:-1"`
	}
	var constraints struct {
		Permitted []subtree `asn1:"optional,tag:0"`
		Excluded  []subtree `asn1:"optional,tag:1"`
	}
	encoded := extension(authority, oidNameConstraints)
	if encoded == nil {
		return nil, nil, true
	}
	if _, err := asn1.Unmarshal(encoded, &constraints); err != nil {
		return nil, nil, false
	}
	known = true
	namesOf := func(subtrees []subtree) (names [][]string) {
		for _, tree := range subtrees {
			switch tree.Base.Tag {
			case 1, 2, 6, 7: // e-mail, DNS, URI, IP
			case 4:
				name, ok := credential.CanonicalParts(tree.Base.Bytes)
				known = known && ok
				names = append(names, name)
			default:
				known = false
			}
		}
		return names
	}
	return namesOf(constraints.Permitted), namesOf(constraints.Excluded), known
}

// extension is the value of an extension, nil for none.
func extension(certificate *x509.Certificate, id asn1.ObjectIdentifier) []byte {
	for _, extension := range certificate.Extensions {
		if extension.Id.Equal(id) {
			return extension.Value
		}
	}
	return nil
}
