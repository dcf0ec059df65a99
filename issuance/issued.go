package issuance

import (
	"context"
	"errors"
	"strings"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// Issued returns at most limit certificates of a device, the youngest first, and where
// to go on: next is the after of the next call, "" at the end.
func (s *Service) Issued(
	ctx context.Context, registrationID, after string, limit int,
) (issued []Certificate, next string, _ error) {
	folder := deviceFolder(registrationID)
	// The store lists the oldest first: the last ones before after are wanted, and one
	// more that tells whether there are others.
	var latest []store.Entry[string]
	for from, more := "", true; more; {
		entries, err := s.devices.List(ctx, folder, from, listStride)
		if err != nil {
			return nil, "", err
		}
		more = len(entries) == listStride
		for _, entry := range entries {
			if from = entry.Key; after != "" && entry.Key >= folder+after {
				more = false
				break
			}
			latest = append(latest, entry)
		}
		latest = latest[max(0, len(latest)-limit-1):]
	}
	if len(latest) > limit {
		next = strings.TrimPrefix(latest[1].Key, folder)
		latest = latest[1:]
	}
	issued = []Certificate{}
	for i := len(latest) - 1; i >= 0; i-- {
		certificate, _, err := s.certificates.Get(ctx, latest[i].Value)
		if errors.Is(err, store.ErrNotFound) || store.IsUnreadable(err) {
			continue
		}
		if err != nil {
			return nil, "", err
		}
		issued = append(issued, certificate)
	}
	return issued, next, nil
}

// Revoke makes a certificate void and ends the connection that came with it. It
// returns fault 404000 when there is none.
func (s *Service) Revoke(ctx context.Context, thumbprint string) (Certificate, error) {
	thumbprint = strings.ToUpper(thumbprint)
	return store.RetryOnConflict(ctx, func() (Certificate, error) {
		if _, err := s.Certificate(ctx, thumbprint); err != nil {
			return Certificate{}, err
		}
		issued, etag, err := s.certificates.Get(ctx, thumbprint)
		if err != nil {
			return Certificate{}, err
		}
		if issued.Revoked.IsZero() {
			issued.Revoked = s.config.Now().UTC()
			_, err = s.config.Documents.Commit(ctx, append(
				s.config.Audit.Change(ctx, audit.Revoked, audit.Issued, thumbprint, nil, nil),
				s.certificates.Put(thumbprint, store.IfMatch(etag), issued))...)
			if err != nil {
				return Certificate{}, err
			}
		}
		s.notifyRevoked(Revocation{Thumbprint: thumbprint})
		return issued, nil
	})
}

// revokedAtOnce is how many certificates one commit revokes.
const revokedAtOnce = 100

// RevokeDevice makes void all certificates that were issued to a device, and ends its
// connection. It returns how many were good before, and fault 404000 for a device to
// which none was issued. The device gets new ones as long as its enrollment lets it.
func (s *Service) RevokeDevice(ctx context.Context, registrationID string) (revoked int, err error) {
	folder := deviceFolder(registrationID)
	found := false
	for after := ""; ; {
		entries, err := s.devices.List(ctx, folder, after, revokedAtOnce)
		if err != nil {
			return revoked, err
		}
		n, err := s.revokeAll(ctx, registrationID, entries)
		revoked += n
		if err != nil {
			return revoked, err
		}
		found = found || len(entries) > 0
		if len(entries) < revokedAtOnce {
			break
		}
		after = entries[revokedAtOnce-1].Key
	}
	if !found {
		return 0, fault.New(fault.NotFound, "No certificate was issued to a device %.128q", registrationID)
	}
	s.notifyRevoked(Revocation{RegistrationID: registrationID}) // again too: somebody may have missed it
	return revoked, nil
}

// revokeAll revokes those of the certificates that are not revoked yet. The audit has
// one entry for them.
func (s *Service) revokeAll(ctx context.Context, registrationID string, entries []store.Entry[string]) (int, error) {
	return store.RetryOnConflict(ctx, func() (int, error) {
		var changes []store.Change
		for _, entry := range entries {
			issued, etag, err := s.certificates.Get(ctx, entry.Value)
			switch {
			case errors.Is(err, store.ErrNotFound), store.IsUnreadable(err): // which nobody can come in with
				continue
			case err != nil:
				return 0, err
			case !issued.Revoked.IsZero():
				continue
			}
			issued.Revoked = s.config.Now().UTC()
			changes = append(changes, s.certificates.Put(entry.Value, store.IfMatch(etag), issued))
		}
		if len(changes) == 0 {
			return 0, nil
		}
		_, err := s.config.Documents.Commit(ctx, append(changes,
			s.config.Audit.Change(ctx, audit.Revoked, audit.Issued, registrationID, nil, nil)...)...)
		if err != nil {
			return 0, err
		}
		return len(changes), nil
	})
}
