package provisioning

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/store"
)

// issue gives the device the operational certificate that it asked for, and makes
// the admission that of a device that has one. What it returns is to be committed.
// Certificates that the device never learns of, because the process died, do no
// harm: only the device has their key.
func (s *Service) issue(ctx context.Context, enrollment Enrollment, intent intent, result *record, admission *Admission) (changes []store.Change, err error) {
	result.IssuedChain = nil
	if enrollment.CredentialPolicyName == "" {
		result.Issued = nil // the enrollment's own credential counts again
		return nil, nil
	}
	if intent.CSR != "" {
		request, err := s.config.Issuer.Check(ctx, enrollment.CredentialPolicyName, enrollment.RegistrationID, intent.CSR)
		if err != nil {
			return nil, err
		}
		var chain [][]byte
		if chain, changes, err = s.config.Issuer.Issue(ctx, request); err != nil {
			return nil, err
		}
		for _, der := range chain {
			result.IssuedChain = append(result.IssuedChain, base64.StdEncoding.EncodeToString(der))
		}
		sum := sha256.Sum256(chain[0])
		result.Issued = slices.Insert(slices.Clone(result.Issued), 0, strings.ToUpper(hex.EncodeToString(sum[:])))
		result.Issued = result.Issued[:min(2, len(result.Issued))]
	}
	result.Issued = s.notRevoked(ctx, result.Issued, len(changes) > 0)
	result.operational(enrollment.CredentialPolicyName, enrollment.RegistrationID, admission)
	return changes, nil
}

// notRevoked is what is good of the certificates issued to a device, of which the
// first may not be stored yet. Where nothing is, one that nobody has takes their
// place: the device may not come in with its enrollment's credential instead.
func (s *Service) notRevoked(ctx context.Context, issued []string, isNew bool) []string {
	if len(issued) == 0 {
		return nil
	}
	good := []string{}
	for i, thumbprint := range issued {
		if i == 0 && isNew || s.config.Issuer.Good(ctx, thumbprint) {
			good = append(good, thumbprint)
		}
	}
	if len(good) == 0 {
		return []string{noThumbprint}
	}
	return good
}

// operational makes the admission that of a device with operational certificates,
// if it has any.
func (r *record) operational(policy, registrationID string, admission *Admission) {
	if len(r.Issued) == 0 {
		return
	}
	admission.PrimaryKey, admission.SecondaryKey = "", ""
	admission.PrimaryThumbprint, admission.SecondaryThumbprint = r.Issued[0], ""
	if len(r.Issued) > 1 {
		admission.SecondaryThumbprint = r.Issued[1]
	}
	admission.CredentialPolicy, admission.RegistrationID = policy, registrationID
}

// noThumbprint is one that no certificate has: the SHA-256 of nothing.
const noThumbprint = "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"

// Revoked takes certificates that were revoked from hubs elsewhere, which know
// certificates by their thumbprints alone. Hubs of this process ask the issuer
// themselves.
func (s *Service) Revoked(ctx context.Context, revoked issuance.Revocation) error {
	if revoked.RegistrationID != "" {
		return s.withdraw(ctx, revoked.RegistrationID)
	}
	if revoked.Thumbprint != "" {
		certificate, err := s.config.Issuer.Certificate(ctx, revoked.Thumbprint)
		if err != nil {
			return err
		}
		return s.withdraw(ctx, certificate.RegistrationID)
	}
	for after := ""; ; {
		const stride = 1000
		entries, err := s.registrations.List(ctx, "", after, stride)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			if len(entry.Value.Issued) > 0 {
				err = errors.Join(err, s.withdraw(ctx, entry.Value.RegistrationID))
			}
		}
		if err != nil || len(entries) < stride {
			return err
		}
		after = entries[stride-1].Key
	}
}

// withdraw leaves a device at its hub elsewhere only the certificates that are
// still good.
func (s *Service) withdraw(ctx context.Context, registrationID string) error {
	record, err := s.record(ctx, registrationID)
	if errors.Is(err, fault.RegistrationNotFound) {
		return nil // it is in no hub by this service
	}
	if err != nil {
		return err
	}
	hub := s.linked(record.AssignedHub)
	if hub == nil || hub.link.Local || len(record.Issued) == 0 {
		return nil
	}
	enrollment, err := s.again(ctx, intent{RegistrationID: registrationID, GroupID: record.GroupID, Certificate: record.Certificate})
	if err != nil {
		return err
	}
	record.Issued = s.notRevoked(ctx, record.Issued, false)
	admission := enrollment.admission()
	record.operational(enrollment.CredentialPolicyName, registrationID, &admission)
	return s.persist(ctx, func() error {
		_, err := hub.Admit(ctx, admission)
		return err
	})
}
