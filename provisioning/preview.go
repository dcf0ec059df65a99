package provisioning

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/guard"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// PreviewRequest is a device whose allocation somebody wants to know beforehand.
type PreviewRequest struct {
	RegistrationID string `json:"registrationId"`
	GroupID        string `json:"enrollmentGroupId,omitempty"` // of a device that has no individual enrollment
	RemoteAddress  string `json:"remoteAddress,omitempty"`     // IP address it would come from
	// what it would send along, for custom allocation
	Payload json.RawMessage `json:"payload,omitempty"`
}

// Preview is where a device would go if it registered now, and why.
type Preview struct {
	RegistrationID string            `json:"registrationId"`
	GroupID        string            `json:"enrollmentGroupId,omitempty"`
	Policy         allocation.Policy `json:"allocationPolicy"`
	HubHostName    string            `json:"iotHubHostName,omitempty"` // none when there is no hub for it
	DeviceID       string            `json:"deviceId"`
	Reason         string            `json:"reason"`
	ReasonText     fault.Text        `json:"-"` // the same, for other languages
	CurrentHub     string            `json:"currentIotHubHostName,omitempty"`
	// what a device of the api-version 2019-03-31 would be told
	Substatus  Substatus              `json:"substatus,omitempty"`
	Candidates []allocation.Candidate `json:"candidates"`

	// What would have the device refused before that: its enrollment or group is disabled,
	// or it has an enrollment of its own and does not come by the group.
	Disabled      bool `json:"disabled,omitempty"`
	OwnEnrollment bool `json:"ownEnrollment,omitempty"`
}

// PreviewAllocation says where a device would go, and changes nothing. With custom
// allocation the webhook is asked, as it would be. It returns the faults 404201 and
// 404204 for what is not enrolled, and those of the webhook.
func (s *Service) PreviewAllocation(ctx context.Context, request PreviewRequest) (Preview, error) {
	if err := enroll.CheckRegistrationID(request.RegistrationID); err != nil {
		return Preview{}, err
	}
	if request.RemoteAddress != "" && !guard.AddressOf(request.RemoteAddress).IsValid() {
		return Preview{}, fault.New(fault.ArgumentInvalid, "remoteAddress must be an IP address, not %.64q",
			request.RemoteAddress)
	}
	if len(request.Payload) > maxRequest {
		return Preview{}, fault.New(fault.ArgumentInvalid, "payload has %d bytes, the limit is %d",
			len(request.Payload), maxRequest)
	}
	if err := linkedhub.CheckFree("payload", request.Payload); err != nil {
		return Preview{}, err
	}
	preview := Preview{RegistrationID: request.RegistrationID, GroupID: request.GroupID}
	if request.GroupID != "" {
		_, err := s.enrollments.Load(ctx, request.RegistrationID)
		if preview.OwnEnrollment = err == nil; err != nil && !errors.Is(err, fault.EnrollmentNotFound) {
			return Preview{}, err
		}
	}
	asked := intent{RegistrationID: request.RegistrationID, GroupID: request.GroupID,
		RemoteAddr: request.RemoteAddress, Payload: request.Payload}
	var enrollment enroll.Enrollment
	var err error
	if request.GroupID == "" {
		enrollment, err = s.enrollments.Load(ctx, request.RegistrationID)
	} else {
		var group enroll.StoredGroup
		group, err = s.groups.Load(ctx, request.GroupID)
		enrollment = group.Member(request.RegistrationID)
	}
	if err != nil {
		return Preview{}, err
	}
	asked.Mechanism = enrollment.Attestation.Type
	if x := enrollment.Attestation.X509; asked.Mechanism == enroll.X509 && x != nil && x.ClientCertificates != nil {
		asked.Certificate = x.ClientCertificates.Primary.Info
	}
	pending, err := s.loadRegistration(ctx, request.RegistrationID)
	if err != nil && fault.From(err).Code != fault.RegistrationNotFound {
		return Preview{}, err
	}
	chosen, err := s.allocate(ctx, enrollment, asked, pending)
	if err != nil {
		return Preview{}, previewError(ctx, err)
	}
	preview.Policy = cmp.Or(enrollment.AllocationPolicy, allocation.Default)
	preview.Candidates = append([]allocation.Candidate{}, chosen.Candidates...) // [] in JSON
	preview.Reason, preview.ReasonText = chosen.Reason.String(), chosen.Reason
	preview.CurrentHub, preview.DeviceID = pending.AssignedHub, pending.hubDeviceID(enrollment)
	preview.Disabled = enrollment.ProvisioningStatus == enroll.Disabled
	if chosen.Hub != nil {
		preview.HubHostName = chosen.Hub.Host()
		preview.Substatus = s.substatus(pending, withTwin(enrollment, chosen.InitialTwin), chosen.Hub, false)
	}
	return preview, nil
}
