package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/attempts"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/store"
)

// maxCertificates bounds the bytes of certificates that are kept of an attempt:
// a stranger chooses them.
const maxCertificates = 32 << 10

// maxSize bounds the bytes of a snapshot, which holds all groups that a device may
// belong to: each attempt keeps one.
const maxSize = 256 << 10

// Take gathers what the judgement of the evidence depends on, as it is now. It is nil when
// there is more than is kept. groupID is the group of which the judgement found the device
// to be a member, as its enrollment; "" for none.
func (s *Snapshots) Take(ctx context.Context, evidence attest.Evidence, groupID string,
	member enroll.Enrollment) (*Snapshot, error) {
	c := &Snapshot{Time: s.config.Now().UTC(), ServiceIDScope: s.config.IDScope,
		IDScope: attempts.Printable(evidence.IDScope), RegistrationID: attempts.Printable(evidence.RegistrationID),
		TPM: evidence.TPM != nil}
	size := 0
	for _, certificate := range evidence.Certificates {
		if size += len(certificate.Raw); size > maxCertificates {
			return nil, nil
		}
		c.Certificates = append(c.Certificates, certificate.Raw)
	}
	if evidence.Token != "" && len(evidence.Certificates) == 0 {
		c.Token = tokenOf(evidence.Token)
	}
	if !strings.EqualFold(evidence.IDScope, s.config.IDScope) ||
		enroll.CheckRegistrationID(evidence.RegistrationID) != nil {
		return c, nil
	}
	enrollment, err := s.config.Enrollments.Load(ctx, evidence.RegistrationID)
	switch {
	case err == nil:
		c.TPM = c.TPM || enrollment.Attestation.Type == enroll.TPM
		if keys := enrollment.Attestation.SymmetricKey; keys != nil && c.Token != nil {
			c.Token.SignedBy, _ = attest.SigningKey(evidence, keys.PrimaryKey, keys.SecondaryKey)
		}
		enrollment.Attestation = enrollment.Attestation.WithoutKeys()
		// Where people put secrets, or much, and no judgement looks.
		enrollment.InitialTwin, enrollment.CustomAllocationDefinition = nil, nil
		enrollment.OptionalDeviceInformation = nil
		c.Enrollment = &enrollment
		return c, nil
	case !errors.Is(err, fault.EnrollmentNotFound):
		return nil, err
	case len(evidence.Certificates) > 0 && attest.WithinLimits(evidence.Certificates):
		if fits, err := s.addSigners(ctx, c, evidence); err != nil || !fits {
			return nil, err
		}
	case c.Token != nil && groupID != "":
		return c, s.addDerived(ctx, c, evidence, groupID, member)
	}
	return c, nil
}

func tokenOf(text string) *Token {
	token, err := credential.ParseToken(text)
	if err != nil {
		return &Token{Malformed: true}
	}
	return &Token{Resource: truncated(token.Resource), KeyName: truncated(token.KeyName),
		Expiry: document.Bounded(token.Expiry)}
}

// truncated is as much of a part of a token as is kept: one that is longer is wrong.
func truncated(text string) string {
	const most = 512
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// maxGroups bounds the groups that are kept of an attempt.
const maxGroups = 16

// addSigners adds the groups whose authorities have the names of the chain, unless
// that are more than are kept.
func (s *Snapshots) addSigners(ctx context.Context, c *Snapshot, evidence attest.Evidence) (fits bool, _ error) {
	chain, err := s.config.Chain(ctx, evidence)
	if err != nil {
		return false, err
	}
	named := map[string]bool{}
	for _, issuer := range chain.Issuers {
		// Primary and secondary, and one more.
		signers, err := s.config.Groups.Signers(ctx, chain, issuer, 2*maxGroups+1)
		if err != nil {
			return false, err
		}
		for _, candidate := range signers {
			known := func(g enroll.StoredGroup) bool { return key(g.EnrollmentGroupID) == key(candidate.Group) }
			if slices.ContainsFunc(c.Groups, known) {
				continue
			}
			if len(c.Groups) == maxGroups {
				return false, nil
			}
			group, err := s.config.Groups.Load(ctx, candidate.Group)
			if errors.Is(err, fault.GroupNotFound) {
				continue
			}
			if err != nil {
				return false, err
			}
			group.InitialTwin, group.CustomAllocationDefinition = nil, nil // as of an enrollment
			c.Groups = append(c.Groups, group)
			named[key(group.Reference(0))], named[key(group.Reference(1))] = true, true
		}
		authorities, err := s.config.Authorities.BySubject(ctx, issuer)
		if err != nil {
			return false, err
		}
		for _, known := range authorities {
			named[key(known.Name)] = true
		}
	}
	delete(named, "") // of a group that names none
	for name := range named {
		known, err := s.config.Authorities.Load(ctx, name)
		if errors.Is(err, fault.NotFound) || store.IsUnreadable(err) {
			continue
		}
		if err != nil {
			return false, err
		}
		c.Authorities = append(c.Authorities, Authority{known.Name, known.Certificate, known.IsVerified})
	}
	slices.SortFunc(c.Authorities, func(a, b Authority) int { return strings.Compare(a.Name, b.Name) })
	return true, nil
}

// addDerived adds the group from whose key the device's is derived.
func (s *Snapshots) addDerived(ctx context.Context, c *Snapshot, evidence attest.Evidence, groupID string,
	member enroll.Enrollment) error {
	group, err := s.config.Groups.Load(ctx, groupID)
	if err != nil {
		return err
	}
	keys := member.Attestation.SymmetricKey
	c.Token.SignedBy, _ = attest.SigningKey(evidence, keys.PrimaryKey, keys.SecondaryKey)
	group.Attestation = group.Attestation.WithoutKeys()
	group.InitialTwin, group.CustomAllocationDefinition = nil, nil
	c.Groups = append(c.Groups, enroll.StoredGroup{Group: group.Group})
	return nil
}

// Encoded is the snapshot as an attempt keeps it.
func (c *Snapshot) Encoded() json.RawMessage {
	if c == nil {
		return nil
	}
	text, err := json.Marshal(c)
	if err != nil || len(text) > maxSize {
		return nil // the attempt is kept without
	}
	return text
}

// key is what an id is stored under: ids have no case.
func key(id string) string { return strings.ToLower(id) }
