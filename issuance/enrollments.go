package issuance

import (
	"context"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// Enrollments is what this service asks of the one that keeps the enrollments: the
// provisioning service.
type Enrollments interface {
	// ThrottleRenewal counts a certificate that a device asks its hub for as a
	// registration: fault 429001 when there were too many.
	ThrottleRenewal(registrationID string) error

	// MayRenew returns the checks under which a device that got its certificates by
	// this policy gets another one at its hub, or a fault that says why it gets none:
	// its enrollment is disabled or gone, or names another policy.
	MayRenew(ctx context.Context, registrationID, policy string) ([]store.Change, error)

	// PolicyUser returns somebody who names a policy; the zero value is nobody.
	PolicyUser(ctx context.Context, policy string) (PolicyUser, error)
}

// PolicyUser is an enrollment or a group that names a credential policy.
type PolicyUser struct {
	ID    string // "" for nobody
	Group bool
}

// Follow has the service ask these enrollments from now on. Until then everybody may
// renew, and nobody names a policy.
func (s *Service) Follow(enrollments Enrollments) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.enrollments = enrollments
}

func (s *Service) currentEnrollments() Enrollments {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.enrollments == nil {
		return noEnrollments{}
	}
	return s.enrollments
}

// ThrottleRenewal is that of the Enrollments.
func (s *Service) ThrottleRenewal(registrationID string) error {
	return s.currentEnrollments().ThrottleRenewal(registrationID)
}

// MayRenew is that of the Enrollments.
func (s *Service) MayRenew(ctx context.Context, registrationID, policy string) ([]store.Change, error) {
	return s.currentEnrollments().MayRenew(ctx, registrationID, policy)
}

// CheckEncoding looks whether a certificate signing request is base64, in the way that
// this service takes it: fault 400004.
func (s *Service) CheckEncoding(csr string) error {
	if err := credential.CheckCSREncoding(csr, s.config.Exact); err != nil {
		return fault.New(fault.ArgumentInvalid, "csr: %s", err)
	}
	return nil
}

// noEnrollments are those of a service that knows none.
type noEnrollments struct{}

func (noEnrollments) ThrottleRenewal(string) error { return nil }
func (noEnrollments) MayRenew(context.Context, string, string) ([]store.Change, error) {
	return nil, nil
}
func (noEnrollments) PolicyUser(context.Context, string) (PolicyUser, error) {
	return PolicyUser{}, nil
}
