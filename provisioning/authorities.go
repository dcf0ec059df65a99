package provisioning

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// Authority is a certificate authority that groups may name (Azure's certificate
// of a provisioning service, with the names of its management API). Devices come
// in by it only once it is verified: somebody proved to hold its key, or said on
// uploading it that it is to be trusted.
type Authority struct {
	Name       string                         `json:"name"`
	Info       credential.X509CertificateInfo `json:"info"`
	IsVerified bool                           `json:"isVerified"`
	Created    Time                           `json:"created"`
	Updated    Time                           `json:"updated"`
	ETag       string                         `json:"etag,omitempty"` // with its quotes: "\"…\""

	// VerificationCode is the common name of the certificate that proves possession,
	// once it was asked for.
	VerificationCode string `json:"verificationCode,omitempty"`

	// Warning says what will keep the authority's devices out, or soon: expired,
	// notYetValid or expiresSoon (30 days); "" for nothing.
	Warning string `json:"warning,omitempty"`
}

// storedAuthority is an authority with its certificate.
type storedAuthority struct {
	Authority
	Certificate []byte `json:"certificate"` // DER
}

// Authority returns a certificate authority. It returns fault 404000 when there is
// none of this name.
func (s *Service) Authority(ctx context.Context, name string) (Authority, error) {
	stored, err := s.authority(ctx, name)
	return s.describeAuthority(stored), err
}

// Authorities returns at most limit authorities whose names start with prefix, in
// the order of their names; after and next are as in Enrollments.
func (s *Service) Authorities(ctx context.Context, prefix, after string, limit int) (found []Authority, next string, err error) {
	entries, err := s.authorities.List(ctx, key(prefix), after, limit)
	if err != nil {
		return nil, "", err
	}
	found = make([]Authority, len(entries))
	for i, entry := range entries {
		entry.Value.ETag = store.QuoteETag(entry.ETag)
		found[i] = s.describeAuthority(entry.Value)
	}
	if len(entries) == limit {
		next = entries[limit-1].Key
	}
	return found, next, nil
}

// PutAuthority uploads an authority's certificate (PEM, DER, or base64 of either)
// under a name, or replaces one, under the condition ifMatch as in PutEnrollment.
// trusted verifies it at once, without proof of possession. A certificate that
// takes the place of another has to be verified anew.
func (s *Service) PutAuthority(ctx context.Context, name string, certificate []byte, trusted bool, ifMatch string) (Authority, error) {
	if err := checkAuthorityName(name); err != nil {
		return Authority{}, err
	}
	parsed, err := credential.ParseEnrollable(certificate)
	if err != nil {
		return Authority{}, fault.About("certificate", fault.New(fault.ArgumentInvalid, "The certificate is refused: %v", err))
	}
	if len(parsed) > 1 {
		return Authority{}, fault.About("certificate", fault.New(fault.ArgumentInvalid, "The file holds %d certificates. Upload each authority by itself", len(parsed)))
	}
	if err := checkAuthority(parsed[0]); err != nil {
		return Authority{}, fault.About("certificate", err)
	}
	return s.changeAuthority(ctx, name, ifMatch, true, func(a *storedAuthority) error {
		if !bytes.Equal(a.Certificate, parsed[0].Raw) {
			a.IsVerified, a.VerificationCode = false, ""
		}
		a.IsVerified = a.IsVerified || trusted
		a.Certificate, a.Info = parsed[0].Raw, *credential.Describe(parsed[0])
		return nil
	})
}

// NewVerificationCode makes the code that proves possession of an authority's key:
// the common name of a certificate that the authority is to sign.
func (s *Service) NewVerificationCode(ctx context.Context, name, ifMatch string) (Authority, error) {
	return s.changeAuthority(ctx, name, ifMatch, false, func(a *storedAuthority) error {
		var code [24]byte
		rand.Read(code[:]) // never fails, see crypto/rand
		a.VerificationCode = strings.ToUpper(hex.EncodeToString(code[:]))
		return nil
	})
}

// VerifyAuthority takes a certificate that the authority signed and whose common
// name is the verification code. It returns fault 400004 for what does not prove
// possession, and says why.
func (s *Service) VerifyAuthority(ctx context.Context, name string, certificate []byte, ifMatch string) (Authority, error) {
	return s.changeAuthority(ctx, name, ifMatch, false, func(a *storedAuthority) error {
		if a.VerificationCode == "" {
			return fault.New(fault.ArgumentInvalid, "The authority %q has no verification code yet. Ask for one, and sign a certificate with it as common name", a.Name)
		}
		parsed, err := credential.ParseCertificates(certificate)
		if err != nil {
			return fault.About("certificate", fault.New(fault.ArgumentInvalid, "The certificate is refused: %v", err))
		}
		authority, err := x509.ParseCertificate(a.Certificate)
		if err != nil {
			return err
		}
		proof := parsed[0]
		now := s.config.Now()
		switch {
		case subtle.ConstantTimeCompare([]byte(proof.Subject.CommonName), []byte(a.VerificationCode)) != 1:
			return fault.About("certificate", fault.New(fault.ArgumentInvalid, "The certificate's common name is %.128q and not the verification code. Make one with the code as it is shown", proof.Subject.CommonName))
		case now.Before(proof.NotBefore) || now.After(proof.NotAfter):
			return fault.About("certificate", fault.New(fault.ArgumentInvalid, "The certificate is valid from %s to %s only. Make a new one", proof.NotBefore.UTC().Format(time.RFC3339), proof.NotAfter.UTC().Format(time.RFC3339)))
		case proof.CheckSignatureFrom(authority) != nil:
			return fault.About("certificate", fault.New(fault.ArgumentInvalid, "The certificate was not signed with the key of the authority %q. Sign it with the key that belongs to the certificate that was uploaded", a.Name))
		}
		a.IsVerified, a.VerificationCode = true, ""
		return nil
	})
}

// DeleteAuthority removes an authority under the condition ifMatch, as in
// PutEnrollment. While groups name it, that is fault 409000, unless force is set:
// their devices are refused without it. One that can't be read lets nobody in, and is
// removed all the same.
func (s *Service) DeleteAuthority(ctx context.Context, name, ifMatch string, force bool) error {
	_, err := store.RetryOnConflict(ctx, func() ([]string, error) {
		prior, err := s.authority(ctx, name)
		unreadable := store.IsUnreadable(err)
		if err != nil && !unreadable {
			return nil, err
		}
		if err := fault.PreconditionOf("certificate authority", ifMatch, prior.ETag, true); err != nil {
			return nil, err
		}
		changes := append(s.config.Audit.Change(ctx, audit.Deleted, audit.Authority, cmp.Or(prior.Name, name), nil, nil),
			s.authorities.Delete(key(name), store.ETag(store.UnquoteETag(prior.ETag))))
		if !unreadable { // else its name leads nowhere
			changes = append(changes, s.withoutSubject(prior, "")...)
		}
		if !force && !unreadable {
			unused, err := s.checkUnused(ctx, prior.Name)
			if err != nil {
				return nil, err
			}
			changes = append(changes, unused)
		}
		return s.config.Documents.Commit(ctx, changes...)
	})
	return err
}

// checkUnused returns the check that no group names an authority, for the commit that
// deletes it: the groups must be those that were looked at. It returns fault 409000
// when there are some that do.
func (s *Service) checkUnused(ctx context.Context, name string) (store.Change, error) {
	generation, err := s.keyGroups.generation(ctx) // before the groups, so that it is never newer than they
	if err != nil {
		return store.Change{}, err
	}
	const named = 5 // as many as a person wants to read of
	groups, count, err := s.GroupsOfAuthority(ctx, name, named)
	if err != nil {
		return store.Change{}, err
	}
	if count > len(groups) {
		groups = append(groups, "+"+strconv.Itoa(count-len(groups)))
	}
	if count > 0 {
		return store.Change{}, fault.New(fault.Conflict, "Enrollment groups name the certificate authority %.64q: %s. "+
			"Without it their devices are refused. Let the groups name another authority first, or delete this one by force",
			name, strings.Join(groups, ", "))
	}
	match := store.Absent
	if generation != "" {
		match = store.ETag(generation)
	}
	return store.Change{Collection: generations, Key: groupGeneration, Match: match, Check: true}, nil
}

// GroupsOfAuthority returns the ids of the first groups, at most limit, that name a
// certificate authority, and how many do. It reads all groups.
func (s *Service) GroupsOfAuthority(ctx context.Context, name string, limit int) (ids []string, count int, err error) {
	const stride = 500
	for after := ""; ; {
		entries, err := s.groups.List(ctx, "", after, stride)
		if err != nil {
			return nil, 0, err
		}
		for _, entry := range entries {
			if !entry.Value.names(name) {
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

// signingOf is the certificate that the group has of the authority of this name, nil
// when it names another.
func (g storedGroup) signingOf(name string) []byte {
	for i := range g.Signing {
		if reference := g.reference(i); reference != "" && strings.EqualFold(reference, name) {
			return g.Signing[i]
		}
	}
	return nil
}

// names reports whether the group names the authority of this name.
func (g storedGroup) names(name string) bool {
	return strings.EqualFold(g.reference(0), name) || strings.EqualFold(g.reference(1), name)
}

// changeAuthority changes an authority by compare-and-swap; create says whether it
// may be a new one.
func (s *Service) changeAuthority(ctx context.Context, name, ifMatch string, create bool, change func(*storedAuthority) error) (Authority, error) {
	return store.RetryOnConflict(ctx, func() (Authority, error) {
		prior, err := s.authority(ctx, name)
		exists, unreadable := err == nil, store.IsUnreadable(err)
		if err != nil && !(create && (unreadable || errors.Is(err, fault.NotFound))) {
			return Authority{}, err
		}
		if err := fault.PreconditionOf("certificate authority", ifMatch, prior.ETag, exists || unreadable); err != nil {
			return Authority{}, err
		}
		now := Time{Time: s.config.Now().UTC()}
		changed, match := prior, store.ETag(store.UnquoteETag(prior.ETag))
		if !exists {
			changed = storedAuthority{Authority: Authority{Name: name, Created: now}}
		}
		if !exists && !unreadable {
			match = store.Absent
		}
		if err := change(&changed); err != nil {
			return Authority{}, err
		}
		changed.Updated, changed.ETag = now, ""
		subject, _ := changed.subjectKey()
		changes := []store.Change{s.authorities.Put(key(name), match, changed), s.authorityNames.Put(subject, store.Always, key(name))}
		if exists {
			changes = append(changes, s.withoutSubject(prior, subject)...)
		}
		if exists {
			changes = append(changes, s.config.Audit.Change(ctx, audit.Updated, audit.Authority, name, s.describeAuthority(prior), s.describeAuthority(changed))...)
		} else {
			if full, err := isFull(ctx, s.config.Limits.Authorities, s.authorities.Count); err != nil {
				return Authority{}, err
			} else if full && !unreadable {
				return Authority{}, fault.New(fault.QuotaExceeded, "There are %d certificate authorities, which is the limit of the service", s.config.Limits.Authorities)
			}
			changes = append(changes, s.config.Audit.Change(ctx, audit.Created, audit.Authority, name, nil, nil)...)
		}
		etags, err := s.config.Documents.Commit(ctx, changes...)
		if err != nil {
			return Authority{}, err
		}
		changed.ETag = store.QuoteETag(etags[0])
		return s.describeAuthority(changed), nil
	})
}

func (s *Service) authority(ctx context.Context, name string) (storedAuthority, error) {
	if err := checkAuthorityName(name); err != nil {
		return storedAuthority{}, err
	}
	stored, etag, err := s.authorities.Get(ctx, key(name))
	if errors.Is(err, store.ErrNotFound) {
		return storedAuthority{}, fault.New(fault.NotFound, "There is no certificate authority %q", name)
	}
	stored.ETag = store.QuoteETag(etag)
	return stored, err
}

// describeAuthority adds what depends on the time.
func (s *Service) describeAuthority(stored storedAuthority) Authority {
	shown, now := stored.Authority, s.config.Now()
	switch info := shown.Info; {
	case info.NotAfterUTC.IsZero():
	case now.After(info.NotAfterUTC.Time):
		shown.Warning = "expired"
	case now.Before(info.NotBeforeUTC.Time):
		shown.Warning = "notYetValid"
	case info.NotAfterUTC.Sub(now) < credential.ExpiresSoon:
		shown.Warning = "expiresSoon"
	}
	return shown
}

// subjectKey is where the authority is found by the name that certificates have as
// their issuer. former is where versions before kept it.
func (a storedAuthority) subjectKey() (name, former string) {
	certificate, err := x509.ParseCertificate(a.Certificate)
	if err != nil {
		return key(a.Name), key(a.Name) // it was parsed when it came in
	}
	name, former = credential.NameKeys(certificate.RawSubject)
	return name + "/" + key(a.Name), former + "/" + key(a.Name)
}

// withoutSubject removes an authority from where it is found, but for kept.
func (s *Service) withoutSubject(authority storedAuthority, kept string) (changes []store.Change) {
	name, former := authority.subjectKey()
	for _, name := range slices.Compact([]string{name, former}) {
		if name != kept {
			changes = append(changes, s.authorityNames.Delete(name, store.Always))
		}
	}
	return changes
}

// authoritiesNamed returns the keys of the authorities with a certificate of this
// subject, 10 at most.
func (s *Service) authoritiesNamed(ctx context.Context, subject []byte) (found []string, err error) {
	const most = 10
	present, former := credential.NameKeys(subject)
	for _, name := range []string{present, former} {
		entries, err := s.authorityNames.List(ctx, name+"/", "", most)
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			if len(found) < most && !slices.Contains(found, entry.Value) {
				found = append(found, entry.Value)
			}
		}
	}
	return found, nil
}

// checkAuthorityName holds a name against the rules of Azure's management API: up
// to 64 letters, digits and - . _
func checkAuthorityName(name string) error {
	valid := name != "" && len(name) <= 64
	for i := range len(name) {
		c := name[i]
		alphanumeric := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		valid = valid && (alphanumeric || strings.IndexByte("-._", c) >= 0)
	}
	if !valid {
		return fault.About("name", fault.New(fault.ArgumentInvalid, "The name %.64q is no name of a certificate authority: up to 64 letters, digits, dashes, full stops and underscores are allowed", name))
	}
	return nil
}
