package issuance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/store"
)

const (
	// rootRenewBefore leaves the root valid for longer than what it signs.
	rootRenewBefore = authorityValidity + 365*24*time.Hour
	// authorityRenewBefore leaves an authority valid for longer than what it signs:
	// devices get certificates for a year at most.
	authorityRenewBefore = 2 * maxValidity * time.Minute
)

// Renew gives the root and the issuing authorities new certificates, with their old
// names and keys, long before the present ones expire, and when those are not valid as
// the clock is now. What they have signed stays good. An authority that was revoked
// stays as it is. What fails with one keeps no other from being renewed.
func (s *Service) Renew(ctx context.Context) error {
	stored, etag, err := s.authorities.Get(ctx, rootName)
	if err != nil {
		return err
	}
	root, err := s.parse(stored)
	if err != nil {
		return err
	}
	now := s.config.Now().UTC()
	if needsRenewal(root, now, rootRenewBefore) {
		renewed, err := root.Renew(root, notBeforeOf(root, now), now.Add(rootValidity))
		if err != nil {
			return fmt.Errorf("renew the root: %w", err)
		}
		if stored, err = s.replace(ctx, stored, etag, renewed, ""); err != nil {
			return fmt.Errorf("renew the root: %w", err)
		}
		root = renewed
	}
	entries, err := all(ctx, s.authorities)
	if err != nil {
		return err
	}
	var failed error
	for _, entry := range entries {
		// One under an authority of the operator's own is renewed by its operator.
		if entry.Key == rootName || !entry.Value.Revoked.IsZero() || entry.Value.Request != "" {
			continue
		}
		authority, err := s.parse(entry.Value)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("the issuing authority %s: %w", entry.Key, err))
			continue
		}
		// Devices get the root with their certificates.
		if !needsRenewal(authority, now, authorityRenewBefore) && entry.Value.Root == stored.Certificate {
			continue
		}
		renewed, err := authority.Renew(root, notBeforeOf(authority, now), now.Add(authorityValidity))
		if err == nil {
			_, err = s.replace(ctx, entry.Value, entry.ETag, renewed, stored.Certificate)
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("renew the issuing authority %s: %w", entry.Key, err))
		}
	}
	return failed
}

// needsRenewal reports whether an authority is not valid now, or won't be for long enough.
func needsRenewal(authority *credential.Authority, now time.Time, ahead time.Duration) bool {
	return now.Before(authority.Certificate.NotBefore) || now.Add(ahead).After(authority.Certificate.NotAfter)
}

// notBeforeOf is from when a renewed certificate is valid: from when the present one is, so
// that a clock that is ahead does no harm.
func notBeforeOf(authority *credential.Authority, now time.Time) time.Time {
	begin := now.Add(-clockSlack)
	if former := authority.Certificate.NotBefore; former.Before(begin) {
		return former
	}
	return begin
}

// replace stores an authority with its new certificate.
func (s *Service) replace(
	ctx context.Context, stored storedAuthority, etag string, made *credential.Authority, rootPEM string,
) (storedAuthority, error) {
	renewed, err := newStoredAuthority(stored.Name, made, rootPEM, stored.Created)
	if err != nil {
		return stored, err
	}
	_, err = s.config.Documents.Commit(ctx, append(
		s.config.Audit.Change(ctx, audit.Updated, audit.Issuer, stored.Name, stored.Authority, renewed.Authority),
		s.authorities.Put(stored.Name, store.IfMatch(etag), renewed))...)
	if _, conflict := store.IsConflict(err); conflict {
		return stored, nil // revoked meanwhile, or renewed by another node: the next look sees it
	}
	return renewed, err
}

// Root returns the root, which signs the issuing authorities and nothing else.
func (s *Service) Root(ctx context.Context) (Authority, error) {
	stored, _, err := s.authorities.Get(ctx, rootName)
	return stored.Authority, err
}
