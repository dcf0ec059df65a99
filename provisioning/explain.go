package provisioning

import (
	"context"
	"errors"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/snapshot"
	"github.com/berth-iot/berth/store"
)

// Decision is what came of judging a snapshot.
type Decision struct {
	Admitted bool         `json:"admitted"` // the device may come in
	GroupID  string       `json:"enrollmentGroupId,omitempty"`
	Message  string       `json:"message,omitempty"` // what a device that may not is told
	Checks   attest.Trace `json:"checks"`
}

// Explain judges a snapshot again, by the same code as when a device registers, with
// nothing known but what the snapshot holds. documents must be empty, and is the
// caller's to throw away. It returns fault 400004 for a snapshot that can't be judged.
func Explain(ctx context.Context, documents store.Documents, c *snapshot.Snapshot) (Decision, error) {
	if c.TPM {
		return Decision{}, fault.New(fault.ArgumentInvalid,
			"A registration with a TPM can't be judged again: only the TPM and its service know the challenge. "+
				"Its checks are in the attempt")
	}
	at := c.Time
	s := newService(Config{IDScope: c.ServiceIDScope, Documents: documents, Now: func() time.Time { return at }})
	evidence, err := s.snapshots.Restore(ctx, c)
	if err != nil {
		return Decision{}, err
	}
	return s.evaluate(ctx, evidence)
}

// evaluate says whether the evidence would be let in now.
func (s *Service) evaluate(ctx context.Context, evidence attest.Evidence) (decision Decision, err error) {
	session := &Session{service: s, evidence: evidence}
	found, err := session.authenticate(ctx, &decision.Checks)
	var problem *fault.Error
	switch {
	case err == nil:
		decision.Admitted, decision.GroupID = true, found.group
	case errors.As(err, &problem):
		decision.Message, err = problem.Message, nil
	}
	return decision, err
}

// CheckChain judges a chain of certificates, the device's own first, as if a device
// came with it now. registrationID is the common name of the first one when empty.
// It returns fault 400004 for what holds no certificates.
func (s *Service) CheckChain(ctx context.Context, chain []byte, registrationID string) (Decision, error) {
	certificates, err := credential.ParseCertificates(chain)
	if err != nil {
		return Decision{}, fault.New(fault.ArgumentInvalid, "The chain is refused: %v", err)
	}
	if registrationID == "" {
		registrationID = certificates[0].Subject.CommonName
	}
	return s.evaluate(ctx, attest.Evidence{IDScope: s.config.IDScope, RegistrationID: registrationID,
		Evidence: credential.Evidence{Certificates: certificates}})
}
