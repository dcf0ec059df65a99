package issuance

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"unicode"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// Authorities returns all issuing authorities, without the root.
func (s *Service) Authorities(ctx context.Context) ([]Authority, error) {
	entries, err := all(ctx, s.authorities)
	authorities := []Authority{}
	for _, entry := range entries {
		if entry.Key != rootName && entry.Value.Deleted.IsZero() {
			authorities = append(authorities, entry.Value.Authority)
			authorities[len(authorities)-1].ETag = `"` + entry.ETag + `"`
		}
	}
	return authorities, err
}

// Authority returns an issuing authority. It returns fault 404000 when there is
// none.
func (s *Service) Authority(ctx context.Context, name string) (Authority, error) {
	stored, _, err := s.authority(ctx, name)
	return stored.Authority, err
}

// authority is Authority with what is stored of it.
func (s *Service) authority(ctx context.Context, name string) (storedAuthority, string, error) {
	stored, etag, err := s.authorities.Get(ctx, strings.ToLower(name))
	if errors.Is(err, store.ErrNotFound) || strings.EqualFold(name, rootName) || name == "" ||
		err == nil && !stored.Deleted.IsZero() {
		return storedAuthority{}, "", fault.New(fault.NotFound, "There is no issuing authority %.64q", name)
	}
	stored.Authority.ETag = `"` + etag + `"`
	return stored, etag, err
}

// authorityIf is authority under the condition ifMatch: "", "*" or the ETag that it must
// have.
func (s *Service) authorityIf(ctx context.Context, name, ifMatch string) (storedAuthority, string, error) {
	stored, etag, err := s.authority(ctx, name)
	if err == nil {
		err = fault.Precondition("issuing authority", ifMatch, stored.Authority.ETag)
	}
	return stored, etag, err
}

// CreateAuthority makes an issuing authority below the root. It returns fault
// 409000 for a name that is taken, also by one that was revoked, and 412001 for an ifMatch
// that asks for another state than is there.
func (s *Service) CreateAuthority(ctx context.Context, name, ifMatch string) (Authority, error) {
	if ifMatch != "" {
		present, err := s.Authority(ctx, name)
		if err != nil && !errors.Is(err, fault.NotFound) {
			return Authority{}, err
		}
		if err := fault.PreconditionOf("issuing authority", ifMatch, present.ETag, err == nil); err != nil {
			return Authority{}, err
		}
	}
	made, err := s.newAuthority(ctx, name)
	if err != nil {
		return Authority{}, err
	}
	return s.addAuthority(ctx, made)
}

// newAuthority makes an authority below the root. It is yet to be stored.
func (s *Service) newAuthority(ctx context.Context, name string) (storedAuthority, error) {
	if err := checkName(name); err != nil {
		return storedAuthority{}, err
	}
	root, _, err := s.authorities.Get(ctx, rootName)
	if err != nil {
		return storedAuthority{}, err
	}
	signing, err := s.parse(root)
	if err != nil {
		return storedAuthority{}, err
	}
	return s.newSubordinate(strings.ToLower(name), signing, root.Certificate, s.config.Now().UTC())
}

func (s *Service) addAuthority(ctx context.Context, made storedAuthority) (Authority, error) {
	_, err := s.config.Documents.Commit(ctx, append(
		s.config.Audit.Change(ctx, audit.Created, audit.Issuer, made.Name, nil, nil),
		s.authorities.Put(made.Name, store.Absent, made))...)
	if _, exists := store.IsConflict(err); exists {
		return Authority{}, fault.New(fault.Conflict, "There is an issuing authority %s already, or was", made.Name)
	}
	return made.Authority, err
}

// RequestAuthority makes an issuing authority that an authority of the operator's own
// is to sign, and returns it with the request for its certificate. Until that is
// brought with ActivateAuthority it signs nothing. For one that was activated before it
// makes another request for the same key, with which what it has signed stays good.
// commonName is the subject's; "" is the one that it had before, or one of Berth's. It
// returns fault 409000 for a name that is taken by an authority under Berth's own root, or
// by one that was revoked, and 412001 for an ifMatch that asks for another state than is
// there.
func (s *Service) RequestAuthority(ctx context.Context, name, commonName, ifMatch string) (Authority, error) {
	if err := checkName(name); err != nil {
		return Authority{}, err
	}
	if len(commonName) > maxCommonName {
		return Authority{}, fault.New(fault.ArgumentInvalid, "The common name has %d characters, the limit is %d",
			len(commonName), maxCommonName)
	}
	if strings.ContainsFunc(commonName, unicode.IsControl) {
		return Authority{}, fault.New(fault.ArgumentInvalid, "The common name %q has a control character", commonName)
	}
	return store.RetryOnConflict(ctx, func() (Authority, error) {
		return s.requestAuthority(ctx, strings.ToLower(name), commonName, ifMatch)
	})
}

func (s *Service) requestAuthority(ctx context.Context, name, commonName, ifMatch string) (Authority, error) {
	stored, etag, err := s.authority(ctx, name)
	missing := errors.Is(err, fault.NotFound)
	if err == nil || missing {
		if err := fault.PreconditionOf("issuing authority", ifMatch, stored.Authority.ETag, !missing); err != nil {
			return Authority{}, err
		}
	}
	if missing {
		stored = storedAuthority{Authority: Authority{Name: name, Created: s.config.Now().UTC()}}
		if commonName == "" {
			commonName = "Berth operational " + name
			commonName = commonName[:min(len(commonName), maxCommonName)]
		}
		if stored.Request, stored.Key, err = credential.NewAuthorityRequest(commonName, ""); err != nil {
			return Authority{}, err
		}
		return s.addAuthority(ctx, stored)
	}
	switch {
	case err != nil:
		return Authority{}, err
	case !stored.Revoked.IsZero():
		return Authority{}, fault.New(fault.Conflict, "The issuing authority %s was revoked. Choose another name", name)
	case stored.Request == "":
		return Authority{}, fault.New(fault.Conflict,
			"The issuing authority %s is signed by Berth's own root. Choose another name for one under an authority "+
				"of your own", name)
	}
	before := stored.Authority
	if commonName == "" {
		commonName = requestedName(stored.Request)
	}
	if stored.Request, _, err = credential.NewAuthorityRequest(commonName, stored.Key); err != nil {
		return Authority{}, err
	}
	return s.putAuthority(ctx, before, stored, etag)
}

// requestedName is the common name of a request that was made before.
func requestedName(requestPEM string) string {
	if block, _ := pem.Decode([]byte(requestPEM)); block != nil {
		if request, err := x509.ParseCertificateRequest(block.Bytes); err == nil {
			return request.Subject.CommonName
		}
	}
	return ""
}

// maxCommonName is the size of the longest common name (RFC 5280, ub-common-name).
const maxCommonName = 64

// ActivateAuthority takes the certificate that was signed for the request of an issuing
// authority, with those above it up to the root, in PEM and any order. From then on the
// authority signs, and devices get that chain. It returns fault 400004 for what is wrong
// with the chain, 409000 for an authority that made no request, and 412001 for one that
// has another ETag than ifMatch.
func (s *Service) ActivateAuthority(ctx context.Context, name string, chain []byte, ifMatch string) (Authority,
	error) {
	return store.RetryOnConflict(ctx, func() (Authority, error) {
		return s.activateAuthority(ctx, name, chain, ifMatch)
	})
}

func (s *Service) activateAuthority(ctx context.Context, name string, chain []byte, ifMatch string) (Authority,
	error) {
	stored, etag, err := s.authorityIf(ctx, name, ifMatch)
	switch {
	case err != nil:
		return Authority{}, err
	case !stored.Revoked.IsZero():
		return Authority{}, fault.New(fault.Conflict,
			"The issuing authority %s was revoked. Make a request for another one", stored.Name)
	case stored.Request == "":
		return Authority{}, fault.New(fault.Conflict,
			"The issuing authority %s is signed by Berth's own root and needs no other certificate. Make a request "+
				"under another name", stored.Name)
	}
	certificates, err := credential.AuthorityChain(chain, stored.Key, s.config.Now())
	if err != nil {
		return Authority{}, fault.New(fault.ArgumentInvalid, "The chain is refused: %s", err)
	}
	before := stored.Authority
	stored.Certificate, stored.Root = "", ""
	for i, certificate := range certificates {
		encoded := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}))
		if i == 0 {
			stored.Certificate, stored.NotAfter = encoded, certificate.NotAfter.UTC()
		} else {
			stored.Root += encoded
		}
	}
	return s.putAuthority(ctx, before, stored, etag)
}

// putAuthority replaces an authority that was read with this ETag.
func (s *Service) putAuthority(ctx context.Context, before Authority, stored storedAuthority, etag string) (Authority,
	error) {
	stored.ETag = ""
	etags, err := s.config.Documents.Commit(ctx, append(
		[]store.Change{s.authorities.Put(stored.Name, store.IfMatch(etag), stored)},
		s.config.Audit.Change(ctx, audit.Updated, audit.Issuer, stored.Name, before, stored.Authority)...)...)
	if err != nil {
		return Authority{}, err
	}
	stored.Authority.ETag = `"` + etags[0] + `"`
	return stored.Authority, nil
}

// RevokeAuthority makes void all that an issuing authority signed, and ends the
// connections of devices that came with it. It returns fault 404000 when there is
// none, and 412001 for one that has another ETag than ifMatch.
func (s *Service) RevokeAuthority(ctx context.Context, name, ifMatch string) (Authority, error) {
	return s.revokeAuthority(ctx, name, "", ifMatch)
}

// RotateAuthority is RevokeAuthority and, in the same commit, has the policies that
// name the authority name another one instead, which is made below the root when there
// is none. It returns fault 409000 for one that can't sign.
func (s *Service) RotateAuthority(ctx context.Context, name, replacement, ifMatch string) (Authority, error) {
	if strings.EqualFold(name, replacement) {
		return Authority{}, fault.New(fault.ArgumentInvalid,
			"The issuing authority %.64s can't replace itself. Name another, or a new one", name)
	}
	if err := checkName(replacement); err != nil {
		return Authority{}, err
	}
	return s.revokeAuthority(ctx, name, replacement, ifMatch)
}

func (s *Service) revokeAuthority(ctx context.Context, name, replacement, ifMatch string) (Authority, error) {
	return store.RetryOnConflict(ctx, func() (Authority, error) {
		stored, etag, err := s.authorityIf(ctx, name, ifMatch)
		if err != nil {
			return Authority{}, err
		}
		var changes []store.Change
		if stored.Revoked.IsZero() {
			stored.Revoked, stored.ETag = s.config.Now().UTC(), ""
			changes = append(s.config.Audit.Change(ctx, audit.Revoked, audit.Issuer, stored.Name, nil, nil),
				s.authorities.Put(stored.Name, store.IfMatch(etag), stored))
		}
		if replacement != "" {
			rotated, err := s.rotate(ctx, stored.Name, replacement)
			if err != nil {
				return Authority{}, err
			}
			changes = append(changes, rotated...)
		}
		if len(changes) > 0 {
			if _, err := s.config.Documents.Commit(ctx, changes...); err != nil {
				return Authority{}, err
			}
		}
		s.notifyRevoked(Revocation{Authority: stored.Name}) // again too: somebody may have missed it
		return stored.Authority, nil
	})
}

// rotate are the changes by which the policies of one authority take another, which is
// made when there is none.
func (s *Service) rotate(ctx context.Context, from, to string) (changes []store.Change, _ error) {
	next, etag, err := s.authority(ctx, to)
	switch {
	case errors.Is(err, fault.NotFound):
		if next, err = s.newAuthority(ctx, to); err != nil {
			return nil, err
		}
		if _, _, err := s.authorities.Get(ctx, next.Name); err == nil { // the root, or one that was deleted
			return nil, fault.New(fault.Conflict, "There is an issuing authority %s already, or was", next.Name)
		}
		changes = append(s.config.Audit.Change(ctx, audit.Created, audit.Issuer, next.Name, nil, nil),
			s.authorities.Put(next.Name, store.Absent, next))
	case err != nil:
		return nil, err
	case !next.Revoked.IsZero() || next.Certificate == "":
		return nil, fault.New(fault.Conflict,
			"The issuing authority %s was revoked, or has no certificate yet. Name one that can sign, or a new one",
			next.Name)
	default: // it still can when this is committed
		changes = []store.Change{{Collection: s.authorities.Collection, Key: next.Name, Match: store.IfMatch(etag),
			Check: true}}
	}
	entries, err := all(ctx, s.policies)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if !strings.EqualFold(entry.Value.Authority, from) {
			continue
		}
		changed := entry.Value
		changed.Authority = next.Name
		changes = append(changes, s.policies.Put(entry.Key, store.IfMatch(entry.ETag), changed))
		changes = append(changes,
			s.config.Audit.Change(ctx, audit.Updated, audit.CredentialPolicy, changed.Name, entry.Value, changed)...)
	}
	return changes, nil
}

// DeleteAuthority removes an issuing authority and its key. Its name stays taken, and
// what it has signed is void. It returns fault 409000 while a policy names it, or while
// a certificate is good that it signed, unless forced, and 412001 for one that has another
// ETag than ifMatch.
func (s *Service) DeleteAuthority(ctx context.Context, name, ifMatch string, force bool) error {
	stored, err := store.RetryOnConflict(ctx, func() (storedAuthority, error) {
		stored, etag, err := s.authorityIf(ctx, name, ifMatch)
		if err != nil {
			return stored, err
		}
		if !force {
			if err := s.checkUnused(ctx, stored); err != nil {
				return stored, err
			}
		}
		now := s.config.Now().UTC()
		stored.Key, stored.Deleted, stored.ETag = "", now, ""
		if stored.Revoked.IsZero() {
			stored.Revoked = now
		}
		_, err = s.config.Documents.Commit(ctx, append(
			s.config.Audit.Change(ctx, audit.Deleted, audit.Issuer, stored.Name, nil, nil),
			s.authorities.Put(stored.Name, store.IfMatch(etag), stored))...)
		return stored, err
	})
	if err == nil {
		s.notifyRevoked(Revocation{Authority: stored.Name})
	}
	return err
}

// checkUnused returns fault 409000 for an authority that somebody needs.
func (s *Service) checkUnused(ctx context.Context, authority storedAuthority) error {
	policies, err := all(ctx, s.policies)
	if err != nil {
		return err
	}
	for _, entry := range policies {
		if strings.EqualFold(entry.Value.Authority, authority.Name) {
			return fault.New(fault.Conflict,
				"The issuing authority %s is named by the credential policy %s. Let that name another, or force the "+
					"deletion: devices that send a request then register in vain", authority.Name, entry.Value.Name)
		}
	}
	if !authority.Revoked.IsZero() {
		return nil
	}
	now := s.config.Now()
	for after := ""; ; {
		entries, err := s.certificates.List(ctx, "", after, listStride)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			issued := entry.Value
			if after = entry.Key; issued.Authority == authority.Name && issued.Revoked.IsZero() &&
				now.Before(issued.NotAfter) {
				return fault.New(fault.Conflict,
					"The certificate that the issuing authority %s gave to %.128q is good until %s. Wait until all "+
						"have expired, or force the deletion, which makes them void",
					authority.Name, issued.RegistrationID,
					issued.NotAfter.Format("2006-01-02 15:04 MST"))
			}
		}
		if len(entries) < listStride {
			return nil
		}
	}
}
