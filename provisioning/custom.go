package provisioning

import (
	"cmp"
	"context"
	"encoding/json"
	"net/netip"
	"net/url"
	"strings"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// Custom allocation asks a web service of the operator's which hub a device goes
// to (Azure, concepts-custom-allocation).

// CustomAllocationDefinition is the web service that is asked.
type CustomAllocationDefinition struct {
	WebhookURL string `json:"webhookUrl"` // https, or http on this machine
	APIVersion string `json:"apiVersion"` // is sent along; 2021-10-01 when empty
}

// complete is the definition with the version that it means.
func (d *CustomAllocationDefinition) complete() *CustomAllocationDefinition {
	if d == nil {
		return nil // the group's was taken away meanwhile
	}
	return &CustomAllocationDefinition{d.WebhookURL, cmp.Or(d.APIVersion, "2021-10-01")}
}

// allocationRequest is what the webhook is sent.
type allocationRequest struct {
	IndividualEnrollment *Enrollment      `json:"individualEnrollment,omitempty"`
	EnrollmentGroup      *EnrollmentGroup `json:"enrollmentGroup,omitempty"`
	Device               deviceContext    `json:"deviceRuntimeContext"`
	LinkedHubs           []string         `json:"linkedHubs"`
}

// deviceContext is what is known of the device that registers.
type deviceContext struct {
	RegistrationID string               `json:"registrationId"`
	CurrentHub     string               `json:"currentIotHubHostName,omitempty"`
	CurrentDevice  string               `json:"currentDeviceId,omitempty"`
	X509           *contract.X509Result `json:"x509,omitempty"`
	SymmetricKey   *struct{}            `json:"symmetricKey,omitempty"` // as Azure's, without the keys
	TPM            *TPMAttestation      `json:"tpm,omitempty"`
	Payload        json.RawMessage      `json:"payload,omitempty"`
}

// beginning is the enrollment of a device that gets this twin, also when it moves:
// the webhook's goes before the one that would migrate (Azure,
// concepts-custom-allocation).
func (e Enrollment) beginning(twin *linkedhub.InitialTwin) Enrollment {
	if twin == nil {
		return e
	}
	policy := *e.ReprovisionPolicy
	policy.MigrateDeviceData = false
	e.InitialTwin, e.ReprovisionPolicy = twin, &policy
	return e
}

// isLoopback reports whether a host is this machine by what it is called, and not by
// what some name service says.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback()
}

// checkWebhook holds a custom allocation against what can be called.
func (s *Service) checkWebhook(definition *CustomAllocationDefinition) error {
	if definition == nil || definition.WebhookURL == "" {
		return fault.New(fault.ArgumentInvalid, "allocationPolicy custom needs customAllocationDefinition.webhookUrl")
	}
	address, err := url.Parse(definition.WebhookURL)
	if err != nil || address.Hostname() == "" { // it is not shown: it may hold a key
		return fault.New(fault.ArgumentInvalid, "customAllocationDefinition.webhookUrl is no address such as https://example.com/allocate")
	}
	if address.Scheme != "https" && !(address.Scheme == "http" && isLoopback(address.Hostname())) {
		return fault.New(fault.ArgumentInvalid, "customAllocationDefinition.webhookUrl, of the host %.253q, is not https. Without TLS the webhook must be on this machine: localhost, 127.0.0.1 or [::1]", address.Host)
	}
	return nil
}

func (s *Service) allocationRequest(ctx context.Context, enrollment Enrollment, intent intent, former record, candidates []*linkedhub.Linked) ([]byte, error) {
	request := allocationRequest{Device: deviceContext{
		RegistrationID: intent.RegistrationID, CurrentHub: former.AssignedHub, CurrentDevice: former.DeviceID, Payload: intent.Payload,
	}}
	for _, hub := range candidates {
		request.LinkedHubs = append(request.LinkedHubs, hub.Host())
	}
	switch intent.Mechanism {
	case bySymmetricKey:
		request.Device.SymmetricKey = &struct{}{}
	case byTPM:
		request.Device.TPM = enrollment.Attestation.TPM
	default:
		request.Device.X509 = &contract.X509Result{CertificateInfo: intent.Certificate, SigningCertificateInfo: intent.Signer, EnrollmentGroupID: intent.GroupID}
	}
	if intent.GroupID == "" {
		shown := enrollment
		shown.Attestation = enrollment.Attestation.withoutKeys()
		shown.CustomAllocationDefinition = shown.CustomAllocationDefinition.complete()
		request.IndividualEnrollment = &shown
	} else {
		group, err := s.Group(ctx, intent.GroupID)
		if err != nil {
			return nil, err
		}
		group.CustomAllocationDefinition = group.CustomAllocationDefinition.complete()
		request.EnrollmentGroup = &group
	}
	return document.Marshal(request)
}
