package provisioning

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/attempts"
	"github.com/berth-iot/berth/provisioning/attest"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/store"
)

// Snapshot is all that a judgement of a device depends on, so that it can be made again
// elsewhere: what the device showed, and what was known of it. It holds no secret:
// of a token it says whose key signed it.
type Snapshot struct {
	Time           time.Time `json:"time"`
	ServiceIDScope string    `json:"serviceIdScope"`

	IDScope        string         `json:"idScope"` // that the device named
	RegistrationID string         `json:"registrationId"`
	Certificates   [][]byte       `json:"certificates,omitempty"` // DER, as the device sent them
	Token          *SnapshotToken `json:"token,omitempty"`
	// such a snapshot can't be judged again: only the TPM and its service know the challenge
	TPM bool `json:"tpm,omitempty"`

	Enrollment *enroll.Enrollment   `json:"enrollment,omitempty"` // the device's own
	Groups     []enroll.StoredGroup `json:"groups,omitempty"`     // that the device may belong to
	// of the service, that they name or the chain leads over
	Authorities []SnapshotAuthority `json:"authorities,omitempty"`
}

// SnapshotToken is what a device's token says.
type SnapshotToken struct {
	Malformed bool      `json:"malformed,omitempty"`
	Resource  string    `json:"resource,omitempty"`
	KeyName   string    `json:"keyName,omitempty"`
	Expiry    time.Time `json:"expiry,omitzero"`
	// primary or secondary key, of the enrollment or of the one group there; "" for neither
	SignedBy string `json:"signedBy,omitempty"`
}

// SnapshotAuthority is a certificate authority of the service.
type SnapshotAuthority struct {
	Name        string `json:"name"`
	Certificate []byte `json:"certificate"` // DER
	Verified    bool   `json:"isVerified"`
}

// maxSnapshotCertificates bounds the bytes of certificates that are kept of an attempt:
// a stranger chooses them.
const maxSnapshotCertificates = 32 << 10

// maxSnapshot bounds the bytes of a snapshot, which holds all groups that a device may
// belong to: each attempt keeps one.
const maxSnapshot = 256 << 10

// snapshotOf gathers what the judgement of the evidence depends on, as it is now. It is
// nil when there is more than is kept.
//
// found is what the judgement came to, as far as it did.
func (s *Service) snapshotOf(ctx context.Context, evidence attest.Evidence, found principal) (*Snapshot, error) {
	c := &Snapshot{Time: s.config.Now().UTC(), ServiceIDScope: s.config.IDScope,
		IDScope: attempts.Printable(evidence.IDScope), RegistrationID: attempts.Printable(evidence.RegistrationID),
		TPM: evidence.TPM != nil}
	size := 0
	for _, certificate := range evidence.Certificates {
		if size += len(certificate.Raw); size > maxSnapshotCertificates {
			return nil, nil
		}
		c.Certificates = append(c.Certificates, certificate.Raw)
	}
	if evidence.Token != "" && len(evidence.Certificates) == 0 {
		c.Token = snapshotToken(evidence.Token)
	}
	if !strings.EqualFold(evidence.IDScope, s.config.IDScope) ||
		enroll.CheckRegistrationID(evidence.RegistrationID) != nil {
		return c, nil
	}
	enrollment, err := s.enrollments.Load(ctx, evidence.RegistrationID)
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
	case c.Token != nil && found.group != "":
		return c, s.addDerived(ctx, c, evidence, found)
	}
	return c, nil
}

func snapshotToken(text string) *SnapshotToken {
	token, err := credential.ParseToken(text)
	if err != nil {
		return &SnapshotToken{Malformed: true}
	}
	return &SnapshotToken{Resource: truncated(token.Resource), KeyName: truncated(token.KeyName),
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

// maxSnapshotGroups bounds the groups that are kept of an attempt.
const maxSnapshotGroups = 16

// addSigners adds the groups whose authorities have the names of the chain, unless
// that are more than are kept.
func (s *Service) addSigners(ctx context.Context, c *Snapshot, evidence attest.Evidence) (fits bool, _ error) {
	chain, err := s.chain(ctx, evidence)
	if err != nil {
		return false, err
	}
	named := map[string]bool{}
	for _, issuer := range chain.Issuers {
		// Primary and secondary, and one more.
		signers, err := s.groups.Signers(ctx, chain, issuer, 2*maxSnapshotGroups+1)
		if err != nil {
			return false, err
		}
		for _, candidate := range signers {
			known := func(g enroll.StoredGroup) bool { return key(g.EnrollmentGroupID) == key(candidate.Group) }
			if slices.ContainsFunc(c.Groups, known) {
				continue
			}
			if len(c.Groups) == maxSnapshotGroups {
				return false, nil
			}
			group, err := s.groups.Load(ctx, candidate.Group)
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
		authorities, err := s.authorities.BySubject(ctx, issuer)
		if err != nil {
			return false, err
		}
		for _, known := range authorities {
			named[key(known.Name)] = true
		}
	}
	delete(named, "") // of a group that names none
	for name := range named {
		known, err := s.authorities.Load(ctx, name)
		if errors.Is(err, fault.NotFound) || store.IsUnreadable(err) {
			continue
		}
		if err != nil {
			return false, err
		}
		c.Authorities = append(c.Authorities, SnapshotAuthority{known.Name, known.Certificate, known.IsVerified})
	}
	slices.SortFunc(c.Authorities, func(a, b SnapshotAuthority) int { return strings.Compare(a.Name, b.Name) })
	return true, nil
}

// addDerived adds the group from whose key the device's is derived.
func (s *Service) addDerived(ctx context.Context, c *Snapshot, evidence attest.Evidence, found principal) error {
	group, err := s.groups.Load(ctx, found.group)
	if err != nil {
		return err
	}
	keys := found.enrollment.Attestation.SymmetricKey
	c.Token.SignedBy, _ = attest.SigningKey(evidence, keys.PrimaryKey, keys.SecondaryKey)
	group.Attestation = group.Attestation.WithoutKeys()
	group.InitialTwin, group.CustomAllocationDefinition = nil, nil
	c.Groups = append(c.Groups, enroll.StoredGroup{Group: group.Group})
	return nil
}

// encoded is the snapshot as an attempt keeps it.
func (c *Snapshot) encoded() json.RawMessage {
	if c == nil {
		return nil
	}
	text, err := json.Marshal(c)
	if err != nil || len(text) > maxSnapshot {
		return nil // the attempt is kept without
	}
	return text
}

// ChainSnapshot is the snapshot of a chain against authorities that a person has at hand:
// each is the signing certificate of a group.
func ChainSnapshot(chain []*x509.Certificate, authorities []*x509.Certificate, registrationID string,
	now time.Time) Snapshot {
	const scope = "0ne00000000"
	c := Snapshot{Time: now, ServiceIDScope: scope, IDScope: scope, RegistrationID: registrationID}
	if c.RegistrationID == "" {
		c.RegistrationID = chain[0].Subject.CommonName
	}
	for _, certificate := range chain {
		c.Certificates = append(c.Certificates, certificate.Raw)
	}
	for i, authority := range authorities {
		attestation := enroll.AttestationMechanism{Type: enroll.X509, X509: &enroll.X509Attestation{}}
		settings := enroll.Settings{Attestation: attestation, ProvisioningStatus: enroll.Enabled,
			ReprovisionPolicy: &enroll.ReprovisionPolicy{}}
		c.Groups = append(c.Groups, enroll.StoredGroup{
			Group:   enroll.Group{EnrollmentGroupID: fmt.Sprintf("authority-%d", i+1), Settings: settings},
			Signing: [2][]byte{authority.Raw},
		})
	}
	return c
}
