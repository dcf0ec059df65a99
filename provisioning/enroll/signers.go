package enroll

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/authority"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// completeSigners checks who signs the group's devices: certificates, or
// authorities of the service by their names. An authority that the group named before
// is no reason to refuse it, whatever has become of it. It returns the checks that
// the others are still what they were.
func (g *Groups) completeSigners(ctx context.Context, stored *StoredGroup,
	before StoredGroup) (checks []store.Change, _ error) {
	x := stored.Attestation.X509
	switch {
	case x != nil && x.ClientCertificates.isSet():
		return nil, fault.About("attestation", fault.New(fault.ArgumentInvalid,
			"attestation.x509 has clientCertificates, which are of individual enrollments. "+
				"A group has signingCertificates or caReferences"))
	case x != nil && x.SigningCertificates.isSet() && x.CAReferences.isSet():
		return nil, fault.About("attestation", fault.New(fault.ArgumentInvalid,
			"attestation.x509 has both signingCertificates and caReferences. A group has one of them"))
	}
	if x == nil || x.CAReferences == nil || x.CAReferences.Primary == "" && x.SigningCertificates != nil {
		return nil, stored.completeSigningCertificates(before)
	}
	x.ClientCertificates, x.SigningCertificates = nil, nil
	for i, name := range []string{x.CAReferences.Primary, x.CAReferences.Secondary} {
		if name == "" {
			if i == 0 {
				return nil, fault.About("primary", fault.New(fault.ArgumentInvalid,
					"attestation.x509.caReferences.primary is missing. It is the name of a certificate "+
						"authority of this service"))
			}
			continue
		}
		field := []string{"primary", "secondary"}[i]
		named, err := g.config.Authorities.Load(ctx, name)
		former := before.certificateOf(name)
		switch {
		case err == nil && named.IsVerified:
			stored.Signing[i] = named.Certificate
			check := g.config.Authorities.Unchanged(named)
			if len(checks) == 0 || checks[0].Key != check.Key {
				checks = append(checks, check)
			}
		case former != nil && (err == nil || errors.Is(err, fault.NotFound) || store.IsUnreadable(err)):
			stored.Signing[i] = former
		case errors.Is(err, fault.NotFound):
			return nil, fault.About(field, fault.New(fault.ArgumentInvalid,
				"There is no certificate authority %q. Upload it first",
				name))
		case err != nil:
			return nil, fault.About(field, err)
		default:
			return nil, fault.About(field, fault.New(fault.ArgumentInvalid,
				"The certificate authority %q is not verified. Prove "+
					"that you hold its key, or upload it as trusted", name))
		}
	}
	return checks, nil
}

// completeSigningCertificates checks the certificates that sign the group's devices, and keeps
// them: their keys are needed.
func (g *StoredGroup) completeSigningCertificates(before StoredGroup) error {
	x := g.Attestation.X509
	if x == nil || x.SigningCertificates == nil {
		return fault.About("primary", fault.New(fault.ArgumentInvalid,
			"attestation.x509.signingCertificates is missing. A group has the certificate there that signs its "+
				"devices"))
	}
	x.ClientCertificates, x.CAReferences = nil, nil
	earlier := new(X509Certificates)
	if before.Attestation.X509 != nil && before.Attestation.X509.SigningCertificates != nil {
		earlier = before.Attestation.X509.SigningCertificates
	}
	for i, part := range []struct {
		name           string
		given, earlier *X509Certificate
	}{
		{"primary", x.SigningCertificates.Primary, earlier.Primary},
		{"secondary", x.SigningCertificates.Secondary, earlier.Secondary},
	} {
		switch given := part.given; {
		case given == nil || given.Certificate == "" && given.Info == nil:
		case given.Certificate == "":
			if part.earlier == nil ||
				!strings.EqualFold(part.earlier.Info.SHA256Thumbprint, given.Info.SHA256Thumbprint) {
				return fault.About(part.name, fault.New(fault.ArgumentInvalid,
					"The %s certificate is missing: a group needs the whole of a certificate that it does not "+
						"have yet", fault.Word(part.name)))
			}
			g.Signing[i] = before.Signing[i]
		default:
			certificates, err := credential.ParseEnrollable([]byte(given.Certificate))
			if err != nil {
				continue // said below, with its field
			}
			if former := before.Signing[i]; !bytes.Equal(certificates[0].Raw, former) {
				if err := authority.CheckCertificate(certificates[0]); err != nil {
					return fault.About(part.name, err)
				}
			}
			g.Signing[i] = certificates[0].Raw
		}
	}
	return completeCertificates("signingCertificates", x.SigningCertificates, earlier)
}

// Signer is a certificate that signs devices of a group, kept under its name.
type Signer struct {
	Group       string `json:"group"`
	Certificate []byte `json:"certificate"`         // DER
	Authority   string `json:"authority,omitempty"` // the service's authority that it is, if the group names one
}

// Reference is the authority that a group names as its primary (0) or secondary
// (1) one, or "".
func (g StoredGroup) Reference(which int) string {
	if g.Attestation.X509 == nil || g.Attestation.X509.CAReferences == nil {
		return ""
	}
	return []string{g.Attestation.X509.CAReferences.Primary, g.Attestation.X509.CAReferences.Secondary}[which]
}

// signerKey is where a signing certificate is found: by the name and the key
// identifier that the certificates which it signs have as their issuer's. former are
// where versions before kept it: by the name as it is encoded, with the key identifier
// and without.
func signerKey(der []byte, groupID string, which int) (name string, former []string) {
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return "", nil // it was parsed when it came in
	}
	own := key(groupID) + "/" + []string{"primary", "secondary"}[which]
	id := keyIDKey(certificate.SubjectKeyId)
	issuer, encoded := credential.NameKeys(certificate.RawSubject)
	return issuer + "/" + id + "/" + own, []string{encoded + "/" + id + "/" + own, encoded + "/" + own}
}

// keyIDKey is a key identifier in the key of a document. Group ids have no equals
// sign.
func keyIDKey(id []byte) string {
	if len(id) > sha256.Size { // usual are 20 bytes
		sum := sha256.Sum256(id)
		id = sum[:]
	}
	return "id=" + hex.EncodeToString(id)
}

// putSigners stores the signing certificates of a group where they are found.
func (g *Groups) putSigners(group StoredGroup) (changes []store.Change) {
	for i, der := range group.Signing {
		if len(der) == 0 {
			continue
		}
		if name, _ := signerKey(der, group.EnrollmentGroupID, i); name != "" {
			signer := Signer{group.EnrollmentGroupID, der, group.Reference(i)}
			changes = append(changes, g.signers.Put(name, store.Always, signer))
		}
	}
	return changes
}

// deleteSigners removes the signing certificates of a group from where they are
// found, but for those that are kept.
func (g *Groups) deleteSigners(group StoredGroup, kept map[string]bool) (changes []store.Change) {
	for i, der := range group.Signing {
		if len(der) == 0 {
			continue
		}
		name, former := signerKey(der, group.EnrollmentGroupID, i)
		for _, name := range append(former, name) {
			if name != "" && !kept[name] {
				changes = append(changes, g.signers.Delete(name, store.Always))
			}
		}
	}
	return changes
}

// deleteSignersOf is deleteSigners for a group that can't be read. It goes through
// the signing certificates of all groups.
func (g *Groups) deleteSignersOf(ctx context.Context, groupID string, kept map[string]bool) (changes []store.Change,
	err error) {
	const stride = 500
	for after := ""; ; {
		documents, err := g.config.Documents.List(ctx, g.signers.Collection, "", after, stride)
		if err != nil {
			return nil, err
		}
		for _, document := range documents {
			parts := strings.Split(document.Key, "/") // the last are the group, and which it is
			if len(parts) >= 3 && parts[len(parts)-2] == key(groupID) && !kept[document.Key] {
				changes = append(changes, g.signers.Delete(document.Key, store.Always))
			}
		}
		if len(documents) < stride {
			return changes, nil
		}
		after = documents[stride-1].Key
	}
}

// Signers returns the signing certificates that may have signed a chain's
// certificates of this issuer, those whose key identifier they name first. There
// are at most as many as most.
func (g *Groups) Signers(ctx context.Context, chain *attest.Chain, issuer []byte, most int) ([]Signer, error) {
	var found []Signer
	seen := make(map[string]bool)
	present, former := credential.NameKeys(issuer)
	names, prefixes := []string{present, former}, []string{}
	for _, id := range chain.KeyIDs(issuer) {
		for _, name := range names {
			prefixes = append(prefixes, name+"/"+keyIDKey(id)+"/")
		}
	}
	for _, name := range names {
		prefixes = append(prefixes, name+"/")
	}
	for _, prefix := range prefixes {
		if len(found) >= most {
			break
		}
		entries, err := g.signers.List(ctx, prefix, "", most)
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			if !seen[entry.Key] && len(found) < most {
				seen[entry.Key] = true
				found = append(found, entry.Value)
			}
		}
	}
	return found, nil
}

// CheckAuthorityUnused returns the check that no group names an authority, for the commit that
// deletes it: the groups must be those that were looked at. It returns fault 409000
// when there are some that do.
func (g *Groups) CheckAuthorityUnused(ctx context.Context, name string) ([]store.Change, error) {
	generation, err := g.keys.generation(ctx) // before the groups, so that it is never newer than they
	if err != nil {
		return nil, err
	}
	const named = 5 // as many as a person wants to read of
	groups, count, err := g.ListOfAuthority(ctx, name, named)
	if err != nil {
		return nil, err
	}
	if count > len(groups) {
		groups = append(groups, "+"+strconv.Itoa(count-len(groups)))
	}
	if count > 0 {
		return nil, fault.New(fault.Conflict, "Enrollment groups name the certificate authority %.64q: %s. "+
			"Without it their devices are refused. Let the groups name another authority first, or delete this "+
			"one by force",
			name, strings.Join(groups, ", "))
	}
	match := store.Absent
	if generation != "" {
		match = store.IfMatch(generation)
	}
	return []store.Change{{Collection: generations, Key: groupGeneration, Match: match, Check: true}}, nil
}

// ListOfAuthority returns the ids of the first groups, at most limit, that name a
// certificate authority, and how many do. It reads all groups.
func (g *Groups) ListOfAuthority(ctx context.Context, name string, limit int) (ids []string, count int, err error) {
	const stride = 500
	for after := ""; ; {
		entries, err := g.table.List(ctx, "", after, stride)
		if err != nil {
			return nil, 0, err
		}
		for _, entry := range entries {
			if !entry.Value.namesAuthority(name) {
				continue
			}
			if count++; count <= limit {
				ids = append(ids, entry.Value.EnrollmentGroupID)
			}
		}
		if len(entries) < stride {
			return ids, count, nil
		}
		after = entries[stride-1].Key
	}
}

// certificateOf is the certificate that the group has of the authority of this name, nil
// when it names another.
func (g StoredGroup) certificateOf(name string) []byte {
	for i := range g.Signing {
		if reference := g.Reference(i); reference != "" && strings.EqualFold(reference, name) {
			return g.Signing[i]
		}
	}
	return nil
}

// namesAuthority reports whether the group names the authority of this name.
func (g StoredGroup) namesAuthority(name string) bool {
	return strings.EqualFold(g.Reference(0), name) || strings.EqualFold(g.Reference(1), name)
}
