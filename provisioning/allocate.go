package provisioning

import (
	"context"
	"encoding/json"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// allocate chooses the hub for a device. A hub that it has already, and that its
// policy keeps, stays.
func (s *Service) allocate(ctx context.Context, enrollment enroll.Enrollment, intent intent,
	pending storedRegistration) (allocation.Decision, error) {
	return s.allocator.Choose(ctx, allocation.Request{Settings: enrollment.Allocation(),
		RegistrationID: intent.RegistrationID, DeviceID: pending.hubDeviceID(enrollment), RemoteAddr: intent.RemoteAddr,
		AssignedHub: pending.AssignedHub, Keep: !enrollment.ReprovisionPolicy.UpdateHubAssignment,
		Body: func(ctx context.Context, hosts []string) ([]byte, error) {
			return s.webhookBody(ctx, enrollment, intent, pending, hosts)
		}})
}

// allocationRequest is what the webhook is sent.
type allocationRequest struct {
	IndividualEnrollment *enroll.Enrollment `json:"individualEnrollment,omitempty"`
	EnrollmentGroup      *enroll.Group      `json:"enrollmentGroup,omitempty"`
	Device               deviceContext      `json:"deviceRuntimeContext"`
	LinkedHubs           []string           `json:"linkedHubs"`
}

// deviceContext is what is known of the device that registers.
type deviceContext struct {
	RegistrationID string                 `json:"registrationId"`
	CurrentHub     string                 `json:"currentIotHubHostName,omitempty"`
	CurrentDevice  string                 `json:"currentDeviceId,omitempty"`
	X509           *contract.X509Result   `json:"x509,omitempty"`
	SymmetricKey   *struct{}              `json:"symmetricKey,omitempty"` // as Azure's, without the keys
	TPM            *enroll.TPMAttestation `json:"tpm,omitempty"`
	Payload        json.RawMessage        `json:"payload,omitempty"`
}

// webhookBody is what the webhook is sent, with the hubs to choose among.
func (s *Service) webhookBody(ctx context.Context, enrollment enroll.Enrollment, intent intent,
	former storedRegistration, hosts []string) ([]byte, error) {
	request := allocationRequest{Device: deviceContext{
		RegistrationID: intent.RegistrationID, CurrentHub: former.AssignedHub, CurrentDevice: former.DeviceID,
		Payload: intent.Payload,
	}}
	if len(hosts) > 0 { // null in JSON for none
		request.LinkedHubs = hosts
	}
	switch intent.Mechanism {
	case enroll.SymmetricKey:
		request.Device.SymmetricKey = &struct{}{}
	case enroll.TPM:
		request.Device.TPM = enrollment.Attestation.TPM
	default:
		request.Device.X509 = &contract.X509Result{CertificateInfo: intent.Certificate,
			SigningCertificateInfo: intent.Signer, EnrollmentGroupID: intent.GroupID}
	}
	if intent.GroupID == "" {
		shown := enrollment
		shown.Attestation = enrollment.Attestation.WithoutKeys()
		shown.CustomAllocationDefinition = shown.CustomAllocationDefinition.WithVersion()
		request.IndividualEnrollment = &shown
	} else {
		group, err := s.Groups().Get(ctx, intent.GroupID)
		if err != nil {
			return nil, err
		}
		group.CustomAllocationDefinition = group.CustomAllocationDefinition.WithVersion()
		request.EnrollmentGroup = &group
	}
	return document.Marshal(request)
}

// withTwin is the enrollment of a device that gets this twin, also when it moves:
// the webhook's goes before the one that would migrate (Azure,
// concepts-custom-allocation).
func withTwin(e enroll.Enrollment, twin *linkedhub.InitialTwin) enroll.Enrollment {
	if twin == nil {
		return e
	}
	policy := *e.ReprovisionPolicy
	policy.MigrateDeviceData = false
	e.InitialTwin, e.ReprovisionPolicy = twin, &policy
	return e
}
