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
		return fault.New(fault.ArgumentInvalid,
			"%.64q can't be a name here. It has 1 to 64 letters, digits, full stops, "+
				"dashes and underscores, the first and last of them letters or digits", name)
	}
	return nil
}

// listStride is how many records a list reads at once.
const listStride = 1000

// all are the records of a table from first to last.
func all[T any](ctx context.Context, table store.Table[T]) (entries []store.Entry[T], _ error) {
	for after := ""; ; {
		some, err := table.List(ctx, "", after, listStride)
		if err != nil {
			return nil, err
		}
		if entries = append(entries, some...); len(some) < listStride {
			return entries, nil
		}
		after = some[listStride-1].Key
	}
}

// Policies returns all credential policies.
func (s *Service) Policies(ctx context.Context) ([]Policy, error) {
	entries, err := all(ctx, s.policies)
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
	return store.RetryOnConflict(ctx, func() (Policy, error) {
		before, etag, err := s.policies.Get(ctx, strings.ToLower(policy.Name))
		exists, unreadable := err == nil, store.IsUnreadable(err)
		if err != nil && !unreadable && !errors.Is(err, store.ErrNotFound) {
			return Policy{}, err
		}
		expected, there := store.Absent, exists || unreadable
		if there {
			expected = store.IfMatch(etag)
		}
		if wanted := strings.Trim(ifMatch, `"`); wanted != "" && !(there && (wanted == "*" || wanted == etag)) {
			return Policy{}, fault.New(fault.PreconditionFailed,
				"The credential policy was changed since, or is not there. Read it again and repeat the change")
		}
		audited := s.config.Audit.Change(ctx, audit.Created, audit.CredentialPolicy, policy.Name, nil, nil)
		if exists {
			audited = s.config.Audit.Change(ctx, audit.Updated, audit.CredentialPolicy, policy.Name, before, policy)
		}
		etags, err := s.config.Documents.Commit(ctx,
			append([]store.Change{s.policies.Put(strings.ToLower(policy.Name), expected, policy)}, audited...)...)
		if err != nil {
			return Policy{}, err
		}
		stored := policy
		stored.ETag = `"` + etags[0] + `"`
		return stored, nil
	})
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
		return fault.New(fault.ArgumentInvalid, "validityMinutes must be from 1 to %d, not %d",
			maxValidity, policy.ValidityMinutes)
	case len(policy.DNSNames) > maxPatterns:
		return fault.New(fault.ArgumentInvalid, "dnsNames has %d patterns, the limit is %d",
			len(policy.DNSNames), maxPatterns)
	}
	for _, kind := range policy.KeyTypes {
		if !slices.Contains(KeyTypes, kind) {
			return fault.New(fault.ArgumentInvalid, "keyTypes must be of %s, not %.32q",
				strings.Join(KeyTypes, ", "), kind)
		}
	}
	for _, pattern := range policy.DNSNames {
		if !isPattern(pattern) {
			return fault.New(fault.ArgumentInvalid,
				"dnsNames holds %.253q, which no DNS name can match. A pattern is such as "+
					"{registrationId}.devices.example.com or *.example.com; there is no other placeholder", pattern)
		}
	}
	authority, err := s.Authority(ctx, policy.Authority)
	if err != nil {
		return err
	}
	switch {
	case !authority.Revoked.IsZero():
		return fault.New(fault.ArgumentInvalid, "The issuing authority %s was revoked. Let the policy name another",
			policy.Authority)
	case authority.Certificate == "":
		return fault.New(fault.ArgumentInvalid,
			"The issuing authority %s has no certificate yet. Have its request signed and activate it, or let the "+
				"policy name another", policy.Authority)
	}
	return nil
}

// isPattern reports whether a pattern is one that DNS names can match.
func isPattern(pattern string) bool {
	if len(pattern) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.ReplaceAll(pattern, "{registrationId}", ""), ".") {
		_, err := path.Match(label, "")
		fixed := !strings.ContainsAny(label, `*?[\`)
		foreign := func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune("{}/", c) }
		if err != nil || fixed && len(label) > 63 || strings.ContainsFunc(label, foreign) {
			return false
		}
	}
	return !slices.Contains(strings.Split(pattern, "."), "")
}

// DeletePolicy removes a credential policy. It returns fault 409000 while an enrollment
// or a group names it, unless forced: then the devices get no more certificates, and
// register in vain with a request for one. Certificates that they have stay good. Under
// another ifMatch than "", "*" or its ETag it is fault 412001.
func (s *Service) DeletePolicy(ctx context.Context, name, ifMatch string, force bool) error {
	_, err := store.RetryOnConflict(ctx, func() (struct{}, error) {
		return struct{}{}, s.deletePolicy(ctx, name, ifMatch, force)
	})
	return err
}

func (s *Service) deletePolicy(ctx context.Context, name, ifMatch string, force bool) error {
	policy, err := s.Policy(ctx, name)
	if err != nil && !store.IsUnreadable(err) {
		return err
	}
	if err := fault.Precondition("credential policy", ifMatch, policy.ETag); err != nil {
		return err
	}
	if !force {
		user, err := s.currentEnrollments().PolicyUser(ctx, name)
		switch {
		case err != nil:
			return err
		case user.Group:
			return fault.New(fault.Conflict,
				"The credential policy %.64q is named by the group %.128q. Let that name another, or force the "+
					"deletion: devices that send a request then register in vain", name, user.ID)
		case user.ID != "":
			return fault.New(fault.Conflict,
				"The credential policy %.64q is named by the enrollment %.128q. Let that name another, or force the "+
					"deletion: devices that send a request then register in vain", name, user.ID)
		}
	}
	_, err = s.config.Documents.Commit(ctx, append(
		s.config.Audit.Change(ctx, audit.Deleted, audit.CredentialPolicy, name, nil, nil),
		s.policies.Delete(strings.ToLower(name), store.IfMatch(store.UnquoteETag(policy.ETag))))...)
	return err
}

// Certificates returns at most limit certificates whose thumbprints begin with prefix, in
// the order of these, and the after of the next call, "" at the end. It returns fault
// 400004 for a prefix that no thumbprint has.
func (s *Service) Certificates(
	ctx context.Context, prefix, after string, limit int,
) (issued []Certificate, next string, err error) {
	prefix = strings.ToUpper(prefix)
	if strings.Trim(prefix, "0123456789ABCDEF") != "" || len(prefix) > 64 {
		return nil, "", fault.New(fault.ArgumentInvalid,
			"prefix must be how a thumbprint begins, in hexadecimal, not %.64q. The certificates of a device are "+
				"listed by registrationId", prefix)
	}
	entries, err := s.certificates.List(ctx, prefix, after, limit)
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
		return Certificate{}, fault.New(fault.NotFound, "No certificate with the thumbprint %.80q was issued here",
			thumbprint)
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
