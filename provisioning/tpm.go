package provisioning

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"

	"github.com/berth-iot/berth/provisioning/enroll"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/attest"
	"github.com/berth-iot/berth/store"
)

// challengeKeyName is what the token of a device with a TPM is to have as skn.
const challengeKeyName = "registration"

// TPMChallenge is the refusal of a device with an enrolled TPM that has yet to
// prove itself: it opens the activation with its TPM, signs a token with the key
// inside, and registers again.
type TPMChallenge struct {
	Fault      *fault.Error
	Activation []byte // as attest.Activation makes it
	KeyName    string // of the key inside: registration
}

// Error is what the fault says.
func (c *TPMChallenge) Error() string { return c.Fault.Error() }

// Unwrap returns the fault.
func (c *TPMChallenge) Unwrap() error { return c.Fault }

// tpmDevice is a device whose TPM was judged.
type tpmDevice struct{ endorsement, storageRoot *attest.TPMKey }

// tpmState is what is kept of a device with a TPM from one challenge to the next.
type tpmState struct {
	Answered       int    `json:"answered"`       // challenges, since the device was first enrolled
	StorageRootKey string `json:"storageRootKey"` // when it answered last
}

func (s *Service) tpmStates() store.Table[tpmState] {
	return store.NewTable[tpmState](s.config.Documents, "provisioning/tpm")
}

// tpmSecret returns what the keys of challenges and of devices with a TPM are
// derived from. It is made when it is first needed and then stays.
func (s *Service) tpmSecret(ctx context.Context) ([]byte, error) {
	const name = "tpm"
	secrets := store.NewTable[[]byte](s.config.Documents, "provisioning/secrets")
	return store.RetryOnConflict(ctx, func() ([]byte, error) {
		secret, _, err := secrets.Get(ctx, name)
		if !errors.Is(err, store.ErrNotFound) {
			return secret, err
		}
		secret = make([]byte, 32)
		rand.Read(secret) // never fails, see crypto/rand
		_, err = s.config.Documents.Commit(ctx, secrets.Put(name, store.Absent, secret))
		return secret, err
	})
}

// readTPM returns what a register request says of a TPM, nil for nothing. What
// else is wrong in the request is found later.
func readTPM(body []byte) *attest.TPM {
	var request struct {
		TPM json.RawMessage `json:"tpm"`
	}
	if document.CheckDepth(body, document.MaxDepth) != nil || json.Unmarshal(body, &request) != nil || !present(request.TPM) {
		return nil
	}
	shown := new(attest.TPM)
	if json.Unmarshal(request.TPM, shown) != nil {
		return new(attest.TPM) // which is refused as malformed
	}
	return shown
}

// ownTPM judges the evidence against an individual enrollment with a TPM. It
// takes each answer to a challenge once.
func (s *Service) ownTPM(ctx context.Context, trace *attest.Trace, evidence attest.Evidence,
	enrollment enroll.Enrollment) (principal, attest.Refusal, error) {
	trace.Pass("enrollment", "individual, TPM")
	if evidence.Returning {
		return s.returningTPM(ctx, trace, evidence, enrollment)
	}
	keys := enrollment.Attestation.TPM
	endorsement, storageRoot, refusal, ok := attest.EnrolledTPM(trace, evidence, keys.EndorsementKey, keys.StorageRootKey)
	if !ok {
		return principal{}, refusal, nil
	}
	if evidence.Token == "" {
		return principal{}, "Answer the challenge: sign a token with the key that the TPM activates", nil
	}
	secret, err := s.tpmSecret(ctx)
	if err != nil {
		return principal{}, "", err
	}
	judged := len(*trace)
	device, err := store.RetryOnConflict(ctx, func() (principal, error) {
		*trace = (*trace)[:judged] // the same answer may come twice at once: only one of them counts
		state, etag, err := s.tpmState(ctx, enrollment.RegistrationID)
		if err != nil {
			return principal{}, err
		}
		var before *attest.TPMKey
		if state.StorageRootKey != "" {
			if before, err = attest.ParseTPMKey(state.StorageRootKey); err != nil {
				return principal{}, err
			}
		}
		challenge := attest.Challenge{Secret: secret, RegistrationID: enrollment.RegistrationID, Endorsement: endorsement, StorageRoot: storageRoot, Answered: state.Answered}
		if refusal, ok = attest.Answers(trace, evidence, s.config.Now(), challenge, before); !ok {
			return principal{}, nil
		}
		state = tpmState{state.Answered + 1, evidence.TPM.StorageRootKey}
		_, err = s.config.Documents.Commit(ctx, s.tpmStates().Put(key(enrollment.RegistrationID), etag, state))
		return principal{enrollment: enrollment, tpm: &tpmDevice{endorsement, storageRoot}}, err
	})
	if err != nil || !ok {
		return principal{}, refusal, err
	}
	return device, "", nil
}

// returningTPM judges a device that asks how its registration goes.
func (s *Service) returningTPM(ctx context.Context, trace *attest.Trace, evidence attest.Evidence,
	enrollment enroll.Enrollment) (principal, attest.Refusal, error) {
	state, _, err := s.tpmState(ctx, enrollment.RegistrationID)
	if err != nil {
		return principal{}, "", err
	}
	if state.Answered == 0 {
		trace.Fail("challenge", fault.Say("none was answered yet"), fault.Say("a device that has registered"),
			fault.Say("Let the device register first"))
		return principal{}, attest.NotAdmitted, nil
	}
	endorsement, err := attest.ParseTPMKey(enrollment.Attestation.TPM.EndorsementKey)
	if err != nil {
		return principal{}, "", err
	}
	storageRoot, err := attest.ParseTPMKey(state.StorageRootKey)
	if err != nil {
		return principal{}, "", err
	}
	secret, err := s.tpmSecret(ctx)
	if err != nil {
		return principal{}, "", err
	}
	challenge := attest.Challenge{Secret: secret, RegistrationID: enrollment.RegistrationID, Endorsement: endorsement, StorageRoot: storageRoot, Answered: state.Answered - 1}
	if refusal, ok := attest.Answered(trace, evidence, s.config.Now(), challenge); !ok {
		return principal{}, refusal, nil
	}
	return principal{enrollment: enrollment, tpm: &tpmDevice{endorsement, storageRoot}}, "", nil
}

func (s *Service) tpmState(ctx context.Context, registrationID string) (tpmState, store.Match, error) {
	state, etag, err := s.tpmStates().Get(ctx, key(registrationID))
	if errors.Is(err, store.ErrNotFound) {
		return tpmState{}, store.Absent, nil
	}
	return state, store.ETag(etag), err
}

// refused keeps the attempt of a device that got an error. A device that shows
// the enrolled TPM gets a challenge with it, whatever else is wrong: device SDKs
// begin with an old token, or none. Being challenged is no attempt.
func (x *Session) refused(ctx context.Context, trace attest.Trace, err error) error {
	s := x.service
	if x.evidence.TPM == nil || !errors.Is(err, fault.UnauthorizedAccess) {
		return s.refused(ctx, x.evidence, x.found, trace, err)
	}
	challenge, failure := s.challenge(ctx, x.evidence)
	if _, failed := trace.Failed(); failed || failure != nil || challenge == nil {
		err = s.refused(ctx, x.evidence, x.found, trace, errors.Join(failure, err))
	} else {
		s.config.Logger.InfoContext(ctx, "challenge", "registrationId", x.evidence.RegistrationID, "remote", x.evidence.RemoteAddr)
	}
	if challenge == nil {
		return err
	}
	return &TPMChallenge{Fault: fault.From(err), Activation: challenge, KeyName: challengeKeyName}
}

// challenge returns the activation for a device that shows the enrolled TPM, nil
// for any other.
func (s *Service) challenge(ctx context.Context, evidence attest.Evidence) ([]byte, error) {
	enrollment, err := s.enrollments.Load(ctx, evidence.RegistrationID)
	switch {
	case errors.Is(err, fault.EnrollmentNotFound), errors.Is(err, fault.InvalidRegistrationID):
		return nil, nil
	case err != nil || enrollment.Attestation.Type != enroll.TPM:
		return nil, err
	}
	keys := enrollment.Attestation.TPM
	endorsement, storageRoot, _, ok := attest.EnrolledTPM(new(attest.Trace), evidence, keys.EndorsementKey, keys.StorageRootKey)
	if !ok {
		return nil, nil
	}
	secret, err := s.tpmSecret(ctx)
	if err != nil {
		return nil, err
	}
	state, _, err := s.tpmState(ctx, enrollment.RegistrationID)
	if err != nil {
		return nil, err
	}
	challenge := attest.Challenge{Secret: secret, RegistrationID: enrollment.RegistrationID, Endorsement: endorsement, StorageRoot: storageRoot, Answered: state.Answered}
	return attest.Activation(endorsement, storageRoot, challenge.Key(s.config.Now()))
}

// withHubKey encloses the key of its hub for a device with a TPM that is
// assigned.
func (x *Session) withHubKey(ctx context.Context, operation Operation) (Operation, error) {
	if x.tpm == nil || operation.RegistrationState == nil || operation.Status != StatusAssigned {
		return operation, nil
	}
	secret, err := x.service.tpmSecret(ctx)
	if err != nil {
		return Operation{}, err
	}
	hubKey, _ := attest.HubKeys(secret, x.evidence.RegistrationID, x.tpm.endorsement)
	activation, err := attest.Activation(x.tpm.endorsement, x.tpm.storageRoot, hubKey)
	if err != nil {
		return Operation{}, err
	}
	told := *operation.RegistrationState
	told.TPM = &contract.TPMResult{AuthenticationKey: activation}
	operation.RegistrationState = &told
	return operation, nil
}

// withTPMKeys is the enrollment with the keys that its device has in its hub.
func (s *Service) withTPMKeys(ctx context.Context, enrollment enroll.Enrollment) (enroll.Enrollment, error) {
	secret, err := s.tpmSecret(ctx)
	if err != nil {
		return enroll.Enrollment{}, err
	}
	endorsement, err := attest.ParseTPMKey(enrollment.Attestation.TPM.EndorsementKey)
	if err != nil {
		return enroll.Enrollment{}, err
	}
	return enrollment.WithHubKeys(attest.HubKeys(secret, enrollment.RegistrationID, endorsement)), nil
}
