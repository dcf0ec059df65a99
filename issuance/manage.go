package issuance

import (
	"context"
	"errors"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// names are those that policies and authorities can have.
var names = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9._-]{0,62}[a-zA-Z0-9])?$`)

func checkName(name string) error {
	if !names.MatchString(name) {
		return fault.New(fault.ArgumentInvalid, "%.64q can't be a name here. It has 1 to 64 letters, digits, full stops, dashes and underscores, the first and last of them letters or digits", name)
	}
	return nil
}

// Policies returns all credential policies.
func (s *Service) Policies(ctx context.Context) ([]Policy, error) {
	entries, err := s.policies.List(ctx, "", "", maxAuthorities)
	policies := make([]Policy, len(entries))
	for i, entry := range entries {
		policies[i] = entry.Value
		policies[i].ETag = `"` + entry.ETag + `"`
	}
	return policies, err
}

// Policy returns a credential policy. It returns fault 404000 when there is none.
func (s *Service) Policy(ctx context.Context, name string) (Policy, error) {
	policy, etag, err := s.policies.Get(ctx, strings.ToLower(name))
	if errors.Is(err, store.ErrNotFound) || name == "" {
		return Policy{}, fault.New(fault.NotFound, "There is no credential policy %.64q", name)
	}
	policy.ETag = `"` + etag + `"`
	return policy, err
}

// PutPolicy makes a credential policy or replaces it, under the condition ifMatch:
// "", "*" or the ETag that it must have. It returns the faults 400004 and 412001.
func (s *Service) PutPolicy(ctx context.Context, policy Policy, ifMatch string) (Policy, error) {
	if err := s.complete(ctx, &policy); err != nil {
		return Policy{}, err
	}
	expected := store.Always
	switch ifMatch = strings.Trim(ifMatch, `"`); ifMatch {
	case "":
	case "*":
		expected = store.Present
	default:
		expected = store.ETag(ifMatch)
	}
	changes := []store.Change{s.policies.Put(strings.ToLower(policy.Name), expected, policy)}
	if before, err := s.Policy(ctx, policy.Name); err == nil {
		changes = append(changes, s.config.Audit.Change(ctx, audit.Updated, audit.CredentialPolicy, policy.Name, before, policy)...)
	} else {
		changes = append(changes, s.config.Audit.Change(ctx, audit.Created, audit.CredentialPolicy, policy.Name, nil, nil)...)
	}
	etags, err := s.config.Documents.Commit(ctx, changes...)
	if _, conflict := store.IsConflict(err); conflict {
		return Policy{}, fault.New(fault.PreconditionFailed, "The credential policy was changed since, or is not there. Read it again and repeat the change")
	}
	if err != nil {
		return Policy{}, err
	}
	policy.ETag = `"` + etags[0] + `"`
	return policy, nil
}

func (s *Service) complete(ctx context.Context, policy *Policy) error {
	policy.ETag = ""
	if err := checkName(policy.Name); err != nil {
		return err
	}
	if policy.Authority == "" {
		policy.Authority = DefaultAuthority
	}
	if policy.ValidityMinutes == 0 {
		policy.ValidityMinutes = defaultValidity
	}
	if len(policy.KeyTypes) == 0 {
		policy.KeyTypes = KeyTypes
	}
	switch {
	case policy.ValidityMinutes < 1 || policy.ValidityMinutes > maxValidity:
		return fault.New(fault.ArgumentInvalid, "validityMinutes is %d. It is 1 to %d", policy.ValidityMinutes, maxValidity)
	case len(policy.DNSNames) > maxPatterns:
		return fault.New(fault.ArgumentInvalid, "dnsNames has %d patterns, the limit is %d", len(policy.DNSNames), maxPatterns)
	}
	for _, kind := range policy.KeyTypes {
		if !slices.Contains(KeyTypes, kind) {
			return fault.New(fault.ArgumentInvalid, "keyTypes holds %.32q. Possible are: %s", kind, strings.Join(KeyTypes, ", "))
		}
	}
	for _, pattern := range policy.DNSNames {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" || len(pattern) > 253 {
			return fault.New(fault.ArgumentInvalid, "dnsNames holds %.253q, which is no pattern such as {registrationId}.devices.example.com", pattern)
		}
	}
	authority, err := s.Authority(ctx, policy.Authority)
	if err != nil {
		return err
	}
	if !authority.Revoked.IsZero() {
		return fault.New(fault.ArgumentInvalid, "The issuing authority %s was revoked. Let the policy name another", policy.Authority)
	}
	return nil
}

// DeletePolicy removes a credential policy. Devices whose enrollments name it get
// no more certificates; those they have stay good.
func (s *Service) DeletePolicy(ctx context.Context, name string) error {
	_, err := s.config.Documents.Commit(ctx, append(s.config.Audit.Change(ctx, audit.Deleted, audit.CredentialPolicy, name, nil, nil), s.policies.Delete(strings.ToLower(name), store.Present))...)
	if _, missing := store.IsConflict(err); missing {
		return fault.New(fault.NotFound, "There is no credential policy %.64q", name)
	}
	return err
}

// Authorities returns all issuing authorities, without the root.
func (s *Service) Authorities(ctx context.Context) ([]Authority, error) {
	entries, err := s.authorities.List(ctx, "", "", maxAuthorities)
	authorities := []Authority{}
	for _, entry := range entries {
		if entry.Key != rootName {
			authorities = append(authorities, entry.Value.Authority)
			authorities[len(authorities)-1].ETag = `"` + entry.ETag + `"`
		}
	}
	return authorities, err
}

// Authority returns an issuing authority. It returns fault 404000 when there is
// none.
func (s *Service) Authority(ctx context.Context, name string) (Authority, error) {
	stored, etag, err := s.authorities.Get(ctx, strings.ToLower(name))
	if errors.Is(err, store.ErrNotFound) || strings.EqualFold(name, rootName) || name == "" {
		return Authority{}, fault.New(fault.NotFound, "There is no issuing authority %.64q", name)
	}
	stored.Authority.ETag = `"` + etag + `"`
	return stored.Authority, err
}

// CreateAuthority makes an issuing authority below the root. It returns fault
// 409000 for a name that is taken, also by one that was revoked.
func (s *Service) CreateAuthority(ctx context.Context, name string) (Authority, error) {
	if err := checkName(name); err != nil {
		return Authority{}, err
	}
	name = strings.ToLower(name)
	root, _, err := s.authorities.Get(ctx, rootName)
	if err != nil {
		return Authority{}, err
	}
	signing, err := s.parsed(root)
	if err != nil {
		return Authority{}, err
	}
	made, err := s.subordinate(name, signing, root.Certificate, s.config.Now().UTC())
	if err != nil {
		return Authority{}, err
	}
	_, err = s.config.Documents.Commit(ctx, append(s.config.Audit.Change(ctx, audit.Created, audit.Issuer, name, nil, nil), s.authorities.Put(name, store.Absent, made))...)
	if _, exists := store.IsConflict(err); exists {
		return Authority{}, fault.New(fault.Conflict, "There is an issuing authority %s already, or was", name)
	}
	return made.Authority, err
}

// RevokeAuthority makes void all that an issuing authority signed, and ends the
// connections of devices that came with it. It returns fault 404000 when there is
// none.
func (s *Service) RevokeAuthority(ctx context.Context, name string) (Authority, error) {
	for {
		if _, err := s.Authority(ctx, name); err != nil {
			return Authority{}, err
		}
		name = strings.ToLower(name)
		stored, etag, err := s.authorities.Get(ctx, name)
		if err != nil {
			return Authority{}, err
		}
		if stored.Revoked.IsZero() {
			stored.Revoked = s.config.Now().UTC()
			_, err = s.config.Documents.Commit(ctx, append(s.config.Audit.Change(ctx, audit.Revoked, audit.Issuer, name, nil, nil), s.authorities.Put(name, store.ETag(etag), stored))...)
			if _, conflict := store.IsConflict(err); conflict {
				continue
			}
			if err != nil {
				return Authority{}, err
			}
		}
		s.tell(Revocation{Authority: name}) // again too: somebody may have missed it
		return stored.Authority, nil
	}
}

// Issued returns the latest 1,000 certificates of a device, the youngest first.
func (s *Service) Issued(ctx context.Context, registrationID string) ([]Certificate, error) {
	var thumbprints []string
	for after := ""; ; {
		entries, err := s.devices.List(ctx, deviceFolder(registrationID), after, maxIssuedOfADevice)
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			thumbprints = append(thumbprints, entry.Value)
		}
		thumbprints = thumbprints[max(0, len(thumbprints)-maxIssuedOfADevice):]
		if len(entries) < maxIssuedOfADevice {
			break
		}
		after = entries[len(entries)-1].Key
	}
	issued := []Certificate{}
	for _, thumbprint := range thumbprints {
		certificate, _, err := s.certificates.Get(ctx, thumbprint)
		if errors.Is(err, store.ErrNotFound) || store.IsUnreadable(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		issued = append(issued, certificate)
	}
	slices.Reverse(issued)
	return issued, nil
}

// Certificates returns at most limit certificates in the order of their
// thumbprints, and the after of the next call, "" at the end.
func (s *Service) Certificates(ctx context.Context, after string, limit int) (issued []Certificate, next string, err error) {
	entries, err := s.certificates.List(ctx, "", after, limit)
	issued = []Certificate{}
	for _, entry := range entries {
		issued = append(issued, entry.Value)
	}
	if len(entries) == limit {
		next = entries[limit-1].Key
	}
	return issued, next, err
}

// Certificate returns one that was issued, by its SHA-256 thumbprint. It returns
// fault 404000 when there is none.
func (s *Service) Certificate(ctx context.Context, thumbprint string) (Certificate, error) {
	issued, _, err := s.certificates.Get(ctx, strings.ToUpper(thumbprint))
	if errors.Is(err, store.ErrNotFound) || thumbprint == "" {
		return Certificate{}, fault.New(fault.NotFound, "No certificate with the thumbprint %.80q was issued here", thumbprint)
	}
	return issued, err
}

// Good reports whether a certificate was issued here, and neither it nor its
// authority was revoked.
func (s *Service) Good(ctx context.Context, thumbprint string) bool {
	issued, err := s.Certificate(ctx, thumbprint)
	if err != nil || !issued.Revoked.IsZero() {
		return false
	}
	authority, err := s.Authority(ctx, issued.Authority)
	return err == nil && authority.Revoked.IsZero()
}

// Revoke makes a certificate void and ends the connection that came with it. It
// returns fault 404000 when there is none.
func (s *Service) Revoke(ctx context.Context, thumbprint string) (Certificate, error) {
	thumbprint = strings.ToUpper(thumbprint)
	for {
		if _, err := s.Certificate(ctx, thumbprint); err != nil {
			return Certificate{}, err
		}
		issued, etag, err := s.certificates.Get(ctx, thumbprint)
		if err != nil {
			return Certificate{}, err
		}
		if issued.Revoked.IsZero() {
			issued.Revoked = s.config.Now().UTC()
			_, err = s.config.Documents.Commit(ctx, append(s.config.Audit.Change(ctx, audit.Revoked, audit.Issued, thumbprint, nil, nil), s.certificates.Put(thumbprint, store.ETag(etag), issued))...)
			if _, conflict := store.IsConflict(err); conflict {
				continue
			}
			if err != nil {
				return Certificate{}, err
			}
		}
		s.tell(Revocation{Thumbprint: thumbprint})
		return issued, nil
	}
}
