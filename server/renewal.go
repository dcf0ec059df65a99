package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-iot/berth/panics"
)

const (
	// renewEvery is how soon what has become due is renewed, and how soon what a wrong
	// clock has done is made good.
	renewEvery = time.Minute
	// renewRetryAtMost is the longest pause after failures.
	renewRetryAtMost = 16 * time.Minute
)

// runRenewals renews what expires, and clears away what has expired, for as long as
// the server runs: nobody restarts it for that. What fails is tried again, after
// longer and longer pauses.
func (s *Server) runRenewals(ctx context.Context) {
	for pause := renewEvery; ; {
		err := s.panics.Do(panics.Background, func() error { return s.renew(ctx) })
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			pause = renewEvery
		default:
			s.renewalFailures.Add(1)
			s.config.Logger.Error("what expires can't be renewed: the server goes on with what it has",
				"retryIn", pause, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.config.After(pause):
		}
		if err != nil {
			pause = min(2*pause, renewRetryAtMost)
		}
	}
}

// renew looks once at all that expires. One failure does not keep it from the rest.
func (s *Server) renew(ctx context.Context) error {
	var failed error
	for what, renew := range map[string]func(context.Context) error{
		"the server's certificates": s.renewCertificates,
		"the issuing authorities":   s.issuer.Renew,
		"the portal's sessions":     s.portal.Sweep,
		"operators' authorities":    s.warnOfExpiry,
	} {
		if err := renew(ctx); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", what, err))
		}
	}
	return failed
}

// renewCertificates waits while a hub is added, whose name the certificate must have.
func (s *Server) renewCertificates(context.Context) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	return s.certificates.renew(s.names(), s.config.Now())
}

// warnAgain is how often the log says what an operator must renew.
const warnAgain = 24 * time.Hour

// warnOfExpiry says in the log which certificate authorities of operators expire soon,
// or have expired: only they can renew them, and devices are refused from then on.
func (s *Server) warnOfExpiry(ctx context.Context) error {
	now := s.config.Now()
	if now.Sub(s.warned).Abs() < warnAgain {
		return nil
	}
	for after := ""; ; {
		authorities, next, err := s.provisioning.Authorities().List(ctx, "", after, 100)
		if err != nil {
			return err
		}
		for _, authority := range authorities {
			if left := authority.Info.NotAfterUTC.Sub(now); authority.IsVerified && authority.Warning != "" {
				s.config.Logger.Warn("a certificate authority of devices must be renewed", "authority", authority.Name,
					"notAfter", authority.Info.NotAfterUTC, "days", int(left.Hours()/24), "warning", authority.Warning)
			}
		}
		if after = next; after == "" {
			break
		}
	}
	if err := s.warnOfIssuers(ctx, now); err != nil {
		return err
	}
	s.warned = now
	return nil
}

// warnIssuersBefore is how long before its expiry the log asks for the certificate of an
// issuing authority: whoever signs it may take a while.
const warnIssuersBefore = 60 * 24 * time.Hour

// warnOfIssuers says which issuing authorities under authorities of operators' own need
// a new certificate. Berth renews the others itself.
func (s *Server) warnOfIssuers(ctx context.Context, now time.Time) error {
	authorities, err := s.issuer.Authorities(ctx)
	for _, authority := range authorities {
		left := authority.NotAfter.Sub(now)
		if authority.Request != "" && authority.Certificate != "" && authority.Revoked.IsZero() &&
			left < warnIssuersBefore {
			s.config.Logger.Warn("the certificate of an issuing authority must be renewed", "authority", authority.Name,
				"notAfter", authority.NotAfter, "days", int(left.Hours()/24))
		}
	}
	return err
}

// expiry is when one of the server's certificates expires.
type expiry struct {
	certificate string // what it is for
	name        string // of an issuing authority
	notAfter    time.Time
}

// expiries are those of all certificates that the server made for itself.
func (s *Server) expiries(ctx context.Context) ([]expiry, error) {
	found := []expiry{
		{certificate: "server", notAfter: s.certificates.server.Load().Leaf.NotAfter},
		{certificate: "authority", notAfter: s.certificates.authority.Load().Certificate.NotAfter},
	}
	root, err := s.issuer.Root(ctx)
	if err != nil {
		return found, err
	}
	found = append(found, expiry{certificate: "issuing_root", notAfter: root.NotAfter})
	authorities, err := s.issuer.Authorities(ctx)
	for _, authority := range authorities {
		if authority.Revoked.IsZero() && authority.Certificate != "" {
			found = append(found, expiry{"issuing_authority", authority.Name, authority.NotAfter})
		}
	}
	return found, err
}
