package snapshot

import (
	"context"
	"crypto/x509"
	"fmt"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/authority"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/store"
)

// Restore makes an empty service know what the snapshot holds, and returns what the
// device showed. Keys are made anew: what counts is whose the token is.
func (s *Snapshots) Restore(ctx context.Context, c *Snapshot) (attest.Evidence, error) {
	evidence := attest.Evidence{IDScope: c.IDScope, RegistrationID: c.RegistrationID}
	for i, der := range c.Certificates {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return evidence, fault.New(fault.ArgumentInvalid, "Certificate %d of the case can't be read: %v", i+1, err)
		}
		evidence.Certificates = append(evidence.Certificates, certificate)
	}
	keys := &enroll.SymmetricKeyAttestation{PrimaryKey: credential.NewKey(enroll.KeySize),
		SecondaryKey: credential.NewKey(enroll.KeySize)}
	signing := map[string]string{"primary": keys.PrimaryKey, "secondary": keys.SecondaryKey,
		"": credential.NewKey(enroll.KeySize)}
	var changes []store.Change
	if c.Enrollment != nil {
		enrollment := *c.Enrollment
		if enrollment.Attestation.Type == enroll.SymmetricKey {
			enrollment.Attestation.SymmetricKey = keys
		}
		changes = append(changes, s.config.Enrollments.Restore(enrollment))
	}
	for _, known := range c.Authorities {
		changes = append(changes, s.config.Authorities.Restore(authority.Stored{
			Authority:   authority.Authority{Name: known.Name, IsVerified: known.Verified},
			Certificate: known.Certificate})...)
	}
	for _, group := range c.Groups {
		stored := group
		if stored.Attestation.Type == enroll.SymmetricKey {
			stored.Attestation.SymmetricKey = keys
			for which, own := range signing {
				signing[which] = attest.DeriveKey(own, c.RegistrationID)
			}
		}
		changes = append(changes, s.config.Groups.Restore(stored)...)
	}
	if len(changes) > 0 {
		if _, err := s.config.Documents.Commit(ctx, changes...); err != nil {
			return evidence, fmt.Errorf("stage the case: %w", err)
		}
	}
	switch token := c.Token; {
	case token == nil:
	case token.Malformed:
		evidence.Token = "malformed"
	default:
		var err error
		if evidence.Token, err = credential.NewToken(token.Resource, token.KeyName, signing[token.SignedBy],
			token.Expiry); err != nil {
			return evidence, err
		}
	}
	return evidence, nil
}
