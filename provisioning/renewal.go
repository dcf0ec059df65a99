package provisioning

import (
	"context"
	"errors"
	"strings"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/store"
)

// renewals are what a renewal at a hub depends on.
type renewals struct{ service *Service }

var _ issuance.Enrollments = renewals{}

// ThrottleRenewal implements issuance.Enrollments: a certificate costs at a hub what it
// costs here.
func (r renewals) ThrottleRenewal(registrationID string) error {
	return r.service.rates.Registration(registrationID)
}

// MayRenew implements issuance.Enrollments. It asks what a registration would ask: the
// device's individual enrollment decides alone, else the group by which it came.
func (r renewals) MayRenew(ctx context.Context, registrationID, policy string) ([]store.Change, error) {
	record, err := r.service.loadRegistration(ctx, registrationID)
	if errors.Is(err, fault.RegistrationNotFound) {
		return nil, fault.New(fault.RegistrationNotFound, "The registration of this device was deleted. Register again")
	}
	if err != nil {
		return nil, err
	}
	enrollment, group, err := r.service.loadEffectiveEnrollment(ctx, registrationID, record.GroupID)
	switch {
	case errors.Is(err, fault.EnrollmentNotFound), errors.Is(err, fault.GroupNotFound):
		return nil, fault.New(fault.UnauthorizedAccess, "This device is not enrolled any more")
	case err != nil:
		return nil, err
	case enrollment.ProvisioningStatus == enroll.Disabled:
		return nil, fault.New(fault.UnauthorizedAccess, "The enrollment of this device is disabled")
	case enrollment.CredentialPolicyName == "":
		return nil, fault.New(fault.ArgumentInvalid,
			"The enrollment of this device names no credential policy any more. Register again, without csr")
	case !strings.EqualFold(enrollment.CredentialPolicyName, policy):
		return nil, fault.New(fault.ArgumentInvalid,
			"The enrollment of this device names another credential policy now. Register again, with a new request")
	}
	return r.service.unchangedChecks(intent{RegistrationID: registrationID, GroupID: group}, enrollment), nil
}

// loadEffectiveEnrollment is the enrollment that decides about a device which came by this
// group, "" for none, and the group if it is that.
func (s *Service) loadEffectiveEnrollment(ctx context.Context,
	registrationID, groupID string) (enroll.Enrollment, string, error) {
	enrollment, err := s.enrollments.Load(ctx, registrationID)
	if groupID == "" || !errors.Is(err, fault.EnrollmentNotFound) {
		return enrollment, "", err
	}
	group, err := s.groups.Load(ctx, groupID)
	return group.Member(registrationID), groupID, err
}

// PolicyUser implements issuance.Enrollments. It reads all groups, and then the
// enrollments until one is found.
func (r renewals) PolicyUser(ctx context.Context, policy string) (issuance.PolicyUser, error) {
	id, err := r.service.groups.UserOfPolicy(ctx, policy)
	if err != nil || id != "" {
		return issuance.PolicyUser{ID: id, Group: id != ""}, err
	}
	id, err = r.service.enrollments.UserOfPolicy(ctx, policy)
	return issuance.PolicyUser{ID: id}, err
}

// checkCredentialPolicy returns the fault of a credential policy that an enrollment can't
// name.
func (s *Service) checkCredentialPolicy(ctx context.Context, name string) error {
	if s.config.Issuer == nil {
		return fault.New(fault.ArgumentInvalid, "This service issues no certificates")
	}
	if _, err := s.config.Issuer.Policy(ctx, name); err != nil {
		return fault.New(fault.ArgumentInvalid, "credentialPolicyName: %v", fault.ReasonOf(err))
	}
	return nil
}
