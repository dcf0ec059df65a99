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

	"github.com/berth-iot/berth/authority"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/attempts"
	"github.com/berth-iot/berth/provisioning/attest"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/store"
)

// Case is all that a judgement of a device depends on, so that it can be made again
// elsewhere: what the device showed, and what was known of it. It holds no secret:
// of a token it says whose key signed it.
type Case struct {
	Time           time.Time `json:"time"`
	ServiceIDScope string    `json:"serviceIdScope"`

	IDScope        string     `json:"idScope"` // that the device named
	RegistrationID string     `json:"registrationId"`
	Certificates   [][]byte   `json:"certificates,omitempty"` // DER, as the device sent them
	Token          *CaseToken `json:"token,omitempty"`
	TPM            bool       `json:"tpm,omitempty"` // such a case can't be judged again: only the TPM and its service know the challenge

	Enrollment  *enroll.Enrollment   `json:"enrollment,omitempty"`  // the device's own
	Groups      []enroll.StoredGroup `json:"groups,omitempty"`      // that the device may belong to
	Authorities []CaseAuthority      `json:"authorities,omitempty"` // of the service, that they name or the chain leads over
}

// CaseToken is what a device's token says.
type CaseToken struct {
	Malformed bool      `json:"malformed,omitempty"`
	Resource  string    `json:"resource,omitempty"`
	KeyName   string    `json:"keyName,omitempty"`
	Expiry    time.Time `json:"expiry,omitzero"`
	SignedBy  string    `json:"signedBy,omitempty"` // primary or secondary key, of the enrollment or of the one group there; "" for neither
}

// CaseAuthority is a certificate authority of the service.
type CaseAuthority struct {
	Name        string `json:"name"`
	Certificate []byte `json:"certificate"` // DER
	Verified    bool   `json:"isVerified"`
}

// maxCaseCertificates bounds the bytes of certificates that are kept of an attempt:
// a stranger chooses them.
const maxCaseCertificates = 32 << 10

// maxCase bounds the bytes of a case, which holds all groups that a device may
// belong to: each attempt keeps one.
const maxCase = 256 << 10

// caseOf gathers what the judgement of the evidence depends on, as it is now. It is
// nil when there is more than is kept.
//
// found is what the judgement came to, as far as it did.
func (s *Service) caseOf(ctx context.Context, evidence attest.Evidence, found principal) (*Case, error) {
	c := &Case{Time: s.config.Now().UTC(), ServiceIDScope: s.config.IDScope, IDScope: attempts.Printable(evidence.IDScope), RegistrationID: attempts.Printable(evidence.RegistrationID),
		TPM: evidence.TPM != nil}
	size := 0
	for _, certificate := range evidence.Certificates {
		if size += len(certificate.Raw); size > maxCaseCertificates {
			return nil, nil
		}
		c.Certificates = append(c.Certificates, certificate.Raw)
	}
	if evidence.Token != "" && len(evidence.Certificates) == 0 {
		c.Token = caseToken(evidence.Token)
	}
	if !strings.EqualFold(evidence.IDScope, s.config.IDScope) || enroll.CheckRegistrationID(evidence.RegistrationID) != nil {
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
		enrollment.InitialTwin, enrollment.CustomAllocationDefinition, enrollment.OptionalDeviceInformation = nil, nil, nil
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

func caseToken(text string) *CaseToken {
	token, err := credential.ParseToken(text)
	if err != nil {
		return &CaseToken{Malformed: true}
	}
	return &CaseToken{Resource: beginning(token.Resource), KeyName: beginning(token.KeyName), Expiry: document.Bounded(token.Expiry)}
}

// beginning is as much of a part of a token as is kept: one that is longer is wrong.
func beginning(text string) string {
	const most = 512
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// maxCaseGroups bounds the groups that are kept of an attempt.
const maxCaseGroups = 16

// addSigners adds the groups whose authorities have the names of the chain, unless
// that are more than are kept.
func (s *Service) addSigners(ctx context.Context, c *Case, evidence attest.Evidence) (fits bool, _ error) {
	chain, err := s.chain(ctx, evidence)
	if err != nil {
		return false, err
	}
	named := map[string]bool{}
	for _, issuer := range chain.Issuers {
		signers, err := s.groups.Signers(ctx, chain, issuer, 2*maxCaseGroups+1) // primary and secondary, and one more
		if err != nil {
			return false, err
		}
		for _, candidate := range signers {
			if slices.ContainsFunc(c.Groups, func(g enroll.StoredGroup) bool { return key(g.EnrollmentGroupID) == key(candidate.Group) }) {
				continue
			}
			if len(c.Groups) == maxCaseGroups {
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
		c.Authorities = append(c.Authorities, CaseAuthority{known.Name, known.Certificate, known.IsVerified})
	}
	slices.SortFunc(c.Authorities, func(a, b CaseAuthority) int { return strings.Compare(a.Name, b.Name) })
	return true, nil
}

// addDerived adds the group from whose key the device's is derived.
func (s *Service) addDerived(ctx context.Context, c *Case, evidence attest.Evidence, found principal) error {
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

// encoded is the case as an attempt keeps it.
func (c *Case) encoded() json.RawMessage {
	if c == nil {
		return nil
	}
	text, err := json.Marshal(c)
	if err != nil || len(text) > maxCase {
		return nil // the attempt is kept without
	}
	return text
}

// Judgement is what came of judging a case.
type Judgement struct {
	Admitted bool         `json:"admitted"` // the device may come in
	GroupID  string       `json:"enrollmentGroupId,omitempty"`
	Message  string       `json:"message,omitempty"` // what a device that may not is told
	Checks   attest.Trace `json:"checks"`
}

// Explain judges a case again, by the same code as when a device registers, with
// nothing known but what the case holds. documents must be empty, and is the
// caller's to throw away. It returns fault 400004 for a case that can't be judged.
func Explain(ctx context.Context, documents store.Documents, c Case) (Judgement, error) {
	if c.TPM {
		return Judgement{}, fault.New(fault.ArgumentInvalid, "A registration with a TPM can't be judged again: only the TPM and its service know the challenge. Its checks are in the attempt")
	}
	at := c.Time
	s := newService(Config{IDScope: c.ServiceIDScope, Documents: documents, Now: func() time.Time { return at }})
	evidence, err := s.restore(ctx, c)
	if err != nil {
		return Judgement{}, err
	}
	return s.evaluate(ctx, evidence)
}

// evaluate says whether the evidence would be let in now.
func (s *Service) evaluate(ctx context.Context, evidence attest.Evidence) (judgement Judgement, err error) {
	session := &Session{service: s, evidence: evidence}
	found, err := session.authenticate(ctx, &judgement.Checks)
	var problem *fault.Error
	switch {
	case err == nil:
		judgement.Admitted, judgement.GroupID = true, found.group
	case errors.As(err, &problem):
		judgement.Message, err = problem.Message, nil
	}
	return judgement, err
}

// restore makes an empty service know what the case holds, and returns what the
// device showed. Keys are made anew: what counts is whose the token is.
func (s *Service) restore(ctx context.Context, c Case) (attest.Evidence, error) {
	evidence := attest.Evidence{IDScope: c.IDScope, RegistrationID: c.RegistrationID}
	for i, der := range c.Certificates {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return evidence, fault.New(fault.ArgumentInvalid, "Certificate %d of the case can't be read: %v", i+1, err)
		}
		evidence.Certificates = append(evidence.Certificates, certificate)
	}
	keys := &enroll.SymmetricKeyAttestation{PrimaryKey: credential.NewKey(enroll.KeySize), SecondaryKey: credential.NewKey(enroll.KeySize)}
	signing := map[string]string{"primary": keys.PrimaryKey, "secondary": keys.SecondaryKey, "": credential.NewKey(enroll.KeySize)}
	var changes []store.Change
	if c.Enrollment != nil {
		enrollment := *c.Enrollment
		if enrollment.Attestation.Type == enroll.SymmetricKey {
			enrollment.Attestation.SymmetricKey = keys
		}
		changes = append(changes, s.enrollments.Restore(enrollment))
	}
	for _, known := range c.Authorities {
		changes = append(changes, s.authorities.Restore(authority.Stored{
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
		changes = append(changes, s.groups.Restore(stored)...)
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
		if evidence.Token, err = credential.NewToken(token.Resource, token.KeyName, signing[token.SignedBy], token.Expiry); err != nil {
			return evidence, err
		}
	}
	return evidence, nil
}

// CheckChain judges a chain of certificates, the device's own first, as if a device
// came with it now. registrationID is the common name of the first one when empty.
// It returns fault 400004 for what holds no certificates.
func (s *Service) CheckChain(ctx context.Context, chain []byte, registrationID string) (Judgement, error) {
	certificates, err := credential.ParseCertificates(chain)
	if err != nil {
		return Judgement{}, fault.New(fault.ArgumentInvalid, "The chain is refused: %v", err)
	}
	if registrationID == "" {
		registrationID = certificates[0].Subject.CommonName
	}
	return s.evaluate(ctx, attest.Evidence{IDScope: s.config.IDScope, RegistrationID: registrationID,
		Evidence: credential.Evidence{Certificates: certificates}})
}

// ChainCase is the case of a chain against authorities that a person has at hand:
// each is the signing certificate of a group.
func ChainCase(chain []*x509.Certificate, authorities []*x509.Certificate, registrationID string, now time.Time) Case {
	const scope = "0ne00000000"
	c := Case{Time: now, ServiceIDScope: scope, IDScope: scope, RegistrationID: registrationID}
	if c.RegistrationID == "" {
		c.RegistrationID = chain[0].Subject.CommonName
	}
	for _, certificate := range chain {
		c.Certificates = append(c.Certificates, certificate.Raw)
	}
	for i, authority := range authorities {
		c.Groups = append(c.Groups, enroll.StoredGroup{Group: enroll.Group{
			EnrollmentGroupID: fmt.Sprintf("authority-%d", i+1), Settings: enroll.Settings{ProvisioningStatus: enroll.Enabled, ReprovisionPolicy: &enroll.ReprovisionPolicy{},
				Attestation: enroll.AttestationMechanism{Type: enroll.X509, X509: &enroll.X509Attestation{}}}}, Signing: [2][]byte{authority.Raw}})
	}
	return c
}
