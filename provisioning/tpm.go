package provisioning

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/enroll"
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

// readTPM returns what a register request says of a TPM, nil for nothing. What
// else is wrong in the request is found later.
func readTPM(body []byte) *attest.TPM {
	var request struct {
		TPM json.RawMessage `json:"tpm"`
	}
	if document.CheckDepth(body, document.MaxDepth) != nil || json.Unmarshal(body, &request) != nil ||
		!hasValue(request.TPM) {
		return nil
	}
	shown := new(attest.TPM)
	if json.Unmarshal(request.TPM, shown) != nil {
		return new(attest.TPM) // which is refused as malformed
	}
	return shown
}

// judgeTPM judges the evidence against an individual enrollment with a TPM.
func (s *Service) judgeTPM(ctx context.Context, trace *attest.Trace, evidence attest.Evidence,
	enrollment enroll.Enrollment) (principal, attest.Refusal, error) {
	trace.Pass("enrollment", "individual, TPM")
	device, refusal, err := s.challenges.Judge(ctx, trace, evidence, enrollment)
	if device == nil {
		return principal{}, refusal, err
	}
	return principal{enrollment: enrollment, tpm: device}, "", nil
}

// refuse keeps the attempt of a device that got an error. A device that shows
// the enrolled TPM gets a challenge with it, whatever else is wrong: device SDKs
// begin with an old token, or none. Being challenged is no attempt.
func (x *Session) refuse(ctx context.Context, trace attest.Trace, err error) error {
	s := x.service
	if x.evidence.TPM == nil || !errors.Is(err, fault.UnauthorizedAccess) {
		return s.recordRefusal(ctx, x.evidence, x.found, trace, err)
	}
	challenge, failure := s.challenge(ctx, x.evidence)
	if _, failed := trace.Failed(); failed || failure != nil || challenge == nil {
		err = s.recordRefusal(ctx, x.evidence, x.found, trace, errors.Join(failure, err))
	} else {
		s.config.Logger.InfoContext(ctx, "challenge", "registrationId", x.evidence.RegistrationID,
			"remote", x.evidence.RemoteAddr)
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
	return s.challenges.Activation(ctx, evidence, enrollment)
}

// withHubKey encloses the key of its hub for a device with a TPM that is
// assigned.
func (x *Session) withHubKey(ctx context.Context, operation Operation) (Operation, error) {
	if x.tpm == nil || operation.RegistrationState == nil || operation.Status != StatusAssigned {
		return operation, nil
	}
	activation, err := x.service.challenges.HubKey(ctx, x.evidence.RegistrationID, x.tpm)
	if err != nil {
		return Operation{}, err
	}
	answer := *operation.RegistrationState
	answer.TPM = &contract.TPMResult{AuthenticationKey: activation}
	operation.RegistrationState = &answer
	return operation, nil
}
