package issuance

import (
	"context"
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
// stays as it is.
func (s *Service) Renew(ctx context.Context) error {
	stored, etag, err := s.authorities.Get(ctx, rootName)
	if err != nil {
		return err
	}
	root, err := s.parsed(stored)
	if err != nil {
		return err
	}
	now := s.config.Now().UTC()
	if due(root, now, rootRenewBefore) {
		if stored, root, err = s.renew(ctx, stored, etag, root, root, "", now.Add(rootValidity)); err != nil {
			return fmt.Errorf("renew the root: %w", err)
		}
	}
	entries, err := s.authorities.List(ctx, "", "", maxAuthorities+1)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Key == rootName || !entry.Value.Revoked.IsZero() {
			continue
		}
		authority, err := s.parsed(entry.Value)
		if err != nil {
			return fmt.Errorf("the issuing authority %s: %w", entry.Key, err)
		}
		// Devices get the root with their certificates.
		if !due(authority, now, authorityRenewBefore) && entry.Value.Root == stored.Certificate {
			continue
		}
		if _, _, err := s.renew(ctx, entry.Value, entry.ETag, authority, root, stored.Certificate, now.Add(authorityValidity)); err != nil {
			return fmt.Errorf("renew the issuing authority %s: %w", entry.Key, err)
		}
	}
	return nil
}

// due reports whether an authority is not valid now, or won't be for long enough.
func due(authority *credential.Authority, now time.Time, ahead time.Duration) bool {
	return now.Before(authority.Certificate.NotBefore) || now.Add(ahead).After(authority.Certificate.NotAfter)
}

// renew stores an authority with a new certificate, and returns it.
func (s *Service) renew(ctx context.Context, stored storedAuthority, etag string, authority, issuer *credential.Authority, rootPEM string, notAfter time.Time) (storedAuthority, *credential.Authority, error) {
	// It stays valid from when it was, so that a clock that is ahead does no harm.
	begin := s.config.Now().Add(-clockSlack)
	if former := authority.Certificate.NotBefore; former.Before(begin) {
		begin = former
	}
	made, err := authority.Renew(issuer, begin, notAfter)
	if err != nil {
		return stored, authority, err
	}
	renewed, err := keep(stored.Name, made, rootPEM, stored.Created)
	if err != nil {
		return stored, authority, err
	}
	_, err = s.config.Documents.Commit(ctx, append(
		s.config.Audit.Change(ctx, audit.Updated, audit.Issuer, stored.Name, stored.Authority, renewed.Authority),
		s.authorities.Put(stored.Name, store.ETag(etag), renewed))...)
	if _, conflict := store.IsConflict(err); conflict {
		return stored, authority, nil // revoked meanwhile, or renewed by another node
	}
	return renewed, made, err
}

// Root returns the root, which signs the issuing authorities and nothing else.
func (s *Service) Root(ctx context.Context) (Authority, error) {
	stored, _, err := s.authorities.Get(ctx, rootName)
	return stored.Authority, err
}
