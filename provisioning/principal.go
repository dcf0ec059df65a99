package provisioning

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/authority"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/tpm"
	"github.com/berth-iot/berth/store"
)

// principal is a device that may come in, and by what.
type principal struct {
	enrollment enroll.Enrollment               // its own, or its group as its own
	group      string                          // "" for an individual enrollment
	signer     *credential.X509CertificateInfo // of a device of an X.509 group
	tpm        *tpm.Device                     // of a device with a TPM
}

// findPrincipal finds the enrollment that the device may claim and judges whether it
// may: its individual enrollment, which decides alone, even if it is disabled; else
// the group whose authority is nearest to the device's certificate, or whose key
// the device's is derived from (Azure, concepts-service).
func (s *Service) findPrincipal(ctx context.Context, trace *attest.Trace, evidence attest.Evidence) (principal,
	attest.Refusal, error) {
	enrollment, err := s.enrollments.Load(ctx, evidence.RegistrationID)
	switch {
	case err == nil && enrollment.Attestation.Type == enroll.TPM:
		return s.judgeTPM(ctx, trace, evidence, enrollment)
	case err == nil:
		refusal := s.judgeIndividual(trace, evidence, enrollment)
		return principal{enrollment: enrollment}, refusal, nil
	case !errors.Is(err, fault.EnrollmentNotFound):
		return principal{}, "", err
	case len(evidence.Certificates) > 0:
		return s.findSignedMember(ctx, trace, evidence)
	case evidence.Token == "":
		trace.Fail("enrollment", fault.Say("none"),
			fault.Say("an individual enrollment %s with the TPM's endorsement key", evidence.RegistrationID),
			fault.Say("Enroll the device: berth enrollment create %s --tpm FILE", evidence.RegistrationID))
		return principal{}, attest.NotAdmitted, nil
	}
	return s.findDerivedMember(ctx, trace, evidence)
}

// judgeIndividual judges the evidence against the device's individual enrollment.
func (s *Service) judgeIndividual(trace *attest.Trace, evidence attest.Evidence,
	enrollment enroll.Enrollment) attest.Refusal {
	switch mechanism := enrollment.Attestation; {
	case evidence.Token == "" && len(evidence.Certificates) == 0:
		trace.Fail("enrollment", fault.Say("individual, %s", mechanismName(mechanism)),
			fault.Say("TPM, as the device shows one"),
			fault.Say("Let the device prove itself with what it is enrolled with, or enroll its TPM's endorsement key"))
		return attest.NotAdmitted
	case mechanism.Type == enroll.SymmetricKey && evidence.Token == "":
		trace.Fail("enrollment", fault.Say("individual, symmetric key"),
			fault.Say("X.509, as the device shows a certificate"),
			fault.Say("Let the device prove itself with the enrollment's key, or enroll its certificate"))
		return attest.NotAdmitted
	case mechanism.Type == enroll.SymmetricKey:
		trace.Pass("enrollment", "individual, symmetric key")
		refusal, _ := attest.Signed(trace, evidence, s.config.Now(), mechanism.SymmetricKey.PrimaryKey,
			mechanism.SymmetricKey.SecondaryKey)
		return refusal
	case len(evidence.Certificates) == 0:
		trace.Fail("enrollment", fault.Say("individual, X.509"),
			fault.Say("symmetric key, as the device shows a token"),
			fault.Say("Let the device prove itself with its certificate, or enroll it with a symmetric key"))
		return attest.NotAdmitted
	}
	trace.Pass("enrollment", "individual, X.509")
	primary, secondary := enrollment.Thumbprints()
	refusal, _ := attest.Enrolled(trace, evidence, primary, secondary)
	return refusal
}

// mechanismName is what a trace calls a mechanism.
func mechanismName(m enroll.AttestationMechanism) fault.Word {
	switch m.Type {
	case enroll.SymmetricKey:
		return fault.Word("symmetric key")
	case enroll.TPM:
		return fault.Word("TPM")
	}
	return fault.Word("X.509")
}

// maxSigners bounds the signing certificates that one judgement looks at: those of
// one name are authorities made anew, and groups that share one.
const maxSigners = 100

// findSignedMember finds the group whose authority signed the device's certificate,
// the nearest first.
func (s *Service) findSignedMember(ctx context.Context, trace *attest.Trace, evidence attest.Evidence) (principal,
	attest.Refusal, error) {
	var failed attest.Trace // what was wrong with the first authority of the right name
	chain, err := s.buildChain(ctx, evidence)
	if err != nil {
		return principal{}, "", err
	}
	left := maxSigners
	for _, issuer := range chain.Issuers {
		signers, err := s.groups.Signers(ctx, chain, issuer, left)
		if err != nil {
			return principal{}, "", err
		}
		left -= len(signers)
		for _, candidate := range signers {
			authority, err := x509.ParseCertificate(candidate.Certificate)
			if err != nil {
				continue // it was parsed when it came in
			}
			attempt := attest.Trace{}
			attempt.Pass("enrollment", "group %s, X.509, signed by %s", candidate.Group, authority.Subject)
			trusted, err := s.checkGroupAuthority(ctx, &attempt, candidate)
			if err != nil {
				return principal{}, "", err
			}
			if trusted {
				_, trusted = chain.Descends(&attempt, authority, s.config.Now())
			}
			if !trusted {
				if failed == nil {
					failed = attempt
				}
				continue
			}
			group, err := s.groups.Load(ctx, candidate.Group)
			if errors.Is(err, fault.GroupNotFound) {
				continue // deleted this moment
			}
			if err != nil {
				return principal{}, "", err
			}
			*trace = append(*trace, attempt...)
			leaf := credential.Describe(evidence.Certificates[0])
			return principal{enrollment: group.WithCertificate(evidence.RegistrationID, leaf),
				group: group.EnrollmentGroupID, signer: credential.Describe(authority)}, "", nil
		}
	}
	if failed != nil {
		*trace = append(*trace, failed...)
		return principal{}, attest.NotAdmitted, nil
	}
	explainUnknownSigner(trace, evidence, chain)
	return principal{}, attest.NotAdmitted, nil
}

// explainUnknownSigner says why no group lets the device's certificate in.
func explainUnknownSigner(trace *attest.Trace, evidence attest.Evidence, chain *attest.Chain) {
	id, sent := evidence.RegistrationID, attest.Describe(evidence.Certificates)
	leaf, known := evidence.Certificates[0], chain.Known // of the service, that the chain leads over
	top, root := chain.Top()
	switch {
	case chain.IsRoot(leaf):
		trace.Fail("enrollment", fault.Say("none, and no group for a certificate that signs itself"),
			fault.Say("an individual enrollment %s", id),
			fault.Say("Enroll the device: berth enrollment create %s --x509 FILE", id))
	case len(known) > 0:
		trace.Fail("enrollment",
			fault.Say("none; the chain leads to the certificate authority %s, which no group names",
				known[len(known)-1].Subject),
			fault.Say("a group that names that authority"),
			fault.Say("Verify the authority if it is not yet, and make a group of it: "+
				"berth group create NAME --authority AUTHORITY"))
	case len(evidence.Certificates) == 1:
		trace.Fail("enrollment", fault.Say("none; the device sent its own certificate alone: %s", sent),
			fault.Say("an individual enrollment %s, a group of %s, or the certificates in between", id, leaf.Issuer),
			fault.Say("If a group has an authority above %s, let the device send the certificates in between, "+
				"its own first; some TLS libraries send none, then upload them as certificate authorities. "+
				"Else make a group with the certificate of %s", leaf.Issuer, leaf.Issuer))
	case root:
		trace.Fail("enrollment", fault.Say("none; the chain is whole and leads to the root %s: %s", top.Subject, sent),
			fault.Say("a group of an authority in that chain"),
			fault.Say("Make a group with that root or with one of the certificates in between, "+
				"or sign the device with an authority that is enrolled"))
	default:
		trace.Fail("enrollment", fault.Say("none; the chain ends at %s, signed by %s, which was not sent: %s",
			top.Subject, top.Issuer, sent),
			fault.Say("an individual enrollment %s, or a group of an authority in that chain", id),
			fault.Say("Let the device send the certificate of %s too, or upload it as a certificate authority, "+
				"or make a group with it", top.Issuer))
	}
}

// checkGroupAuthority checks the authority that a group names, as it is now: it may have
// been replaced or deleted since.
func (s *Service) checkGroupAuthority(ctx context.Context, trace *attest.Trace, candidate enroll.Signer) (bool, error) {
	if candidate.Authority == "" {
		return true, nil
	}
	expected := fault.Say("a verified authority")
	authority, err := s.authorities.Load(ctx, candidate.Authority)
	switch {
	case errors.Is(err, fault.NotFound):
		trace.Fail("certificate authority", fault.Say("%s, which was deleted", candidate.Authority), expected,
			fault.Say("Upload the authority again, or let the group name another"))
		return false, nil
	case store.IsUnreadable(err):
		trace.Fail("certificate authority", fault.Say("%s, whose record can't be read", candidate.Authority), expected,
			fault.Say("Upload the authority again"))
		return false, nil
	case err != nil:
		return false, err
	case !authority.IsVerified || !bytes.Equal(authority.Certificate, candidate.Certificate):
		trace.Fail("certificate authority",
			fault.Say("%s, which was replaced and is not verified, or is another than the group was made with",
				candidate.Authority),
			expected, fault.Say("Verify the authority, and save the group again so that it takes the new certificate"))
		return false, nil
	}
	trace.Pass("certificate authority", "%s, verified", candidate.Authority)
	return true, nil
}

// buildChain puts together what the device sent with the authorities of the service that
// it leads over, for devices that don't send the certificates in between.
func (s *Service) buildChain(ctx context.Context, evidence attest.Evidence) (*attest.Chain, error) {
	var failure error
	chain := attest.NewChain(evidence.Certificates, func(name []byte) []*x509.Certificate {
		known, err := s.authorities.BySubject(ctx, name)
		failure = errors.Join(failure, err)
		return authority.Certificates(known)
	}, &s.signatures)
	return chain, failure
}

// reloadEnrollment reads the enrollment of an intent again: a crash may lie between.
func (s *Service) reloadEnrollment(ctx context.Context, intent intent) (enroll.Enrollment, error) {
	if intent.GroupID == "" {
		enrollment, err := s.enrollments.Load(ctx, intent.RegistrationID)
		if err == nil && enrollment.Attestation.Type == enroll.TPM {
			return s.challenges.WithHubKeys(ctx, enrollment)
		}
		return enrollment, err
	}
	group, err := s.groups.Load(ctx, intent.GroupID)
	switch {
	case err != nil:
		return enroll.Enrollment{}, err
	case group.Attestation.Type == enroll.SymmetricKey:
		return group.WithKeys(intent.RegistrationID), nil
	}
	return group.WithCertificate(intent.RegistrationID, intent.Certificate), nil
}

// errEnrollmentChanged is beneath the fault of enrollmentChanged.
var errEnrollmentChanged = errors.New("the enrollment was changed")

// enrollmentChanged ends an assignment whose enrollment was changed meanwhile.
func enrollmentChanged() error {
	return fault.New(fault.RegistrationConflict,
		"The enrollment was changed while the device was being assigned. Register again").Because(errEnrollmentChanged)
}

// enrollmentChanges is how often a device is judged anew because its enrollment was
// changed meanwhile.
const enrollmentChanges = 3

// unchangedChecks are the checks that a commit makes to assign a device by an enrollment:
// that, or the group, is as it was when the device was judged, and a member of a group
// has no enrollment of its own, which would decide alone.
func (s *Service) unchangedChecks(intent intent, enrollment enroll.Enrollment) []store.Change {
	return enroll.Unchanged(intent.RegistrationID, intent.GroupID, enrollment.ETag)
}

// recheckEnrollment is the enrollment of an intent as it is now, if the device that was
// judged may still come in by it. Else the error is a failure, or why the enrollment
// can't be read.
func (s *Service) recheckEnrollment(ctx context.Context, intent intent) (enroll.Enrollment, error) {
	enrollment, err := s.reloadEnrollment(ctx, intent)
	if err != nil {
		return enroll.Enrollment{}, err
	}
	hash, err := s.attestationHash(ctx, intent.GroupID, enrollment)
	if err != nil {
		return enroll.Enrollment{}, err
	}
	if intent.Attestation != "" && hash != intent.Attestation {
		return enroll.Enrollment{}, attest.NewFailure("enrollment",
			fault.Say("the attestation that the device was judged by"),
			fault.Say("It was changed while the device was being assigned. "+
				"Let the device register again"), enrollmentChanged())
	}
	if intent.GroupID != "" {
		switch _, err := s.enrollments.Load(ctx, intent.RegistrationID); {
		case err == nil:
			return enroll.Enrollment{}, attest.NewFailure("enrollment",
				fault.Say("no individual enrollment, as the device came by its group"),
				fault.Say("It was enrolled by itself while it was being assigned. "+
					"Let the device register again"), enrollmentChanged())
		case !errors.Is(err, fault.EnrollmentNotFound):
			return enroll.Enrollment{}, err
		}
	}
	if enrollment.ProvisioningStatus == enroll.Disabled {
		return enroll.Enrollment{}, attest.NewFailure("provisioning status", fault.Say("enabled"),
			fault.Say("It was disabled while the device was being assigned. Enable it if the device may come in"),
			unauthorized("The enrollment of this device is disabled"))
	}
	return enrollment, nil
}

// attestationHash tells whether the attestation of an enrollment, or of a group, is
// another than before.
func (s *Service) attestationHash(ctx context.Context, groupID string, enrollment enroll.Enrollment) (string, error) {
	mechanism := enrollment.Attestation
	if groupID != "" {
		group, err := s.groups.Load(ctx, groupID)
		if err != nil {
			return "", err
		}
		mechanism = group.Attestation
	}
	if mechanism.Type == enroll.TPM {
		mechanism.SymmetricKey = nil // see Enrollment.WithHubKeys
	}
	encoded, err := json.Marshal(mechanism)
	if err != nil {
		return "", err
	}
	hash := sha256.Sum256(encoded)
	return hex.EncodeToString(hash[:]), nil
}

// isEnrolled reports whether somebody enrolled a device of this id, or a group's device
// registered with it: what it is refused later belongs to its attempts, whether or not its
// group was found. There are no more of these than of registrations, so strangers can't
// fill the store.
func (s *Service) isEnrolled(ctx context.Context, registrationID string) bool {
	if _, err := s.enrollments.Load(ctx, registrationID); err == nil {
		return true
	}
	_, err := s.loadRegistration(ctx, registrationID)
	return err == nil
}
