package provisioning

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"github.com/berth-iot/berth/fault"
)

// Custom allocation asks a web service of the operator's which hub a device goes
// to (Azure, concepts-custom-allocation).

// CustomAllocationDefinition is the web service that is asked.
type CustomAllocationDefinition struct {
	WebhookURL string `json:"webhookUrl"` // https, or http on this machine
	APIVersion string `json:"apiVersion"` // is sent along; 2021-10-01 when empty
}

// Webhook calls the operator's web service. Implementations bound the time and the
// size of the answer, and follow no redirects.
type Webhook interface {
	// Call posts a JSON document and returns the status and the body of the answer.
	Call(ctx context.Context, address string, body []byte) (status int, answer []byte, err error)
}

// maxPayload is the size of the largest payload in bytes, in a register request and
// in a webhook's answer (Azure, how-to-send-additional-data: 64 KB).
const maxPayload = 64 << 10

// allocationRequest is what the webhook is sent.
type allocationRequest struct {
	IndividualEnrollment *Enrollment      `json:"individualEnrollment,omitempty"`
	EnrollmentGroup      *EnrollmentGroup `json:"enrollmentGroup,omitempty"`
	Device               deviceContext    `json:"deviceRuntimeContext"`
	LinkedHubs           []string         `json:"linkedHubs"`
}

// deviceContext is what is known of the device that registers.
type deviceContext struct {
	RegistrationID string              `json:"registrationId"`
	CurrentHub     string              `json:"currentIotHubHostName,omitempty"`
	CurrentDevice  string              `json:"currentDeviceId,omitempty"`
	X509           *X509Result         `json:"x509,omitempty"`
	SymmetricKey   *SymmetricKeyResult `json:"symmetricKey,omitempty"`
	TPM            *struct{}           `json:"tpm,omitempty"`
	Payload        json.RawMessage     `json:"payload,omitempty"`
}

// allocationAnswer is what the webhook answers.
type allocationAnswer struct {
	HubHostName string          `json:"iotHubHostName"`
	InitialTwin *InitialTwin    `json:"initialTwin"` // in place of the enrollment's
	Payload     json.RawMessage `json:"payload"`     // for the device
}

// checkWebhook holds a custom allocation against what can be called.
func (s *Service) checkWebhook(definition *CustomAllocationDefinition) error {
	if definition == nil || definition.WebhookURL == "" {
		return fault.New(fault.ArgumentInvalid, "allocationPolicy custom needs customAllocationDefinition.webhookUrl")
	}
	address, err := url.Parse(definition.WebhookURL)
	if err != nil || address.Host == "" {
		return fault.New(fault.ArgumentInvalid, "customAllocationDefinition.webhookUrl %.200q is no address", definition.WebhookURL)
	}
	local := address.Hostname() == "localhost" || strings.HasPrefix(address.Hostname(), "127.") || address.Hostname() == "::1"
	if address.Scheme != "https" && !(address.Scheme == "http" && local) {
		return fault.New(fault.ArgumentInvalid, "customAllocationDefinition.webhookUrl %.200q is not https. Without TLS the webhook must be on this machine", definition.WebhookURL)
	}
	return nil
}

// Attempts at a webhook that does not answer, and the time between.
const (
	webhookTries = 3
	webhookPause = 500 * time.Millisecond
)

// askWebhook asks the enrollment's webhook for a hub among those allowed. What the
// webhook says wrong is a fault that names it.
func (s *Service) askWebhook(ctx context.Context, enrollment Enrollment, intent intent, former record, candidates []*linkedHub) (*linkedHub, allocationAnswer, error) {
	body, err := s.allocationRequest(ctx, enrollment, intent, former, candidates)
	if err != nil {
		return nil, allocationAnswer{}, err
	}
	var status int
	var text []byte
	for try := 1; ; try++ {
		status, text, err = s.config.Webhook.Call(ctx, enrollment.CustomAllocationDefinition.WebhookURL, body)
		if err == nil && status < 500 && status != 429 || try == webhookTries || ctx.Err() != nil {
			break
		}
		timer := time.NewTimer(webhookPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	switch {
	case err != nil:
		return nil, allocationAnswer{}, fault.New(fault.HubNotSpecified, "The allocation webhook did not answer").Because(err)
	case status == 401 || status == 403:
		return nil, allocationAnswer{}, fault.New(fault.WebhookUnauthorized, "The allocation webhook refused the service with the status %d", status)
	case status != 200:
		return nil, allocationAnswer{}, fault.New(fault.HubNotSpecified, "The allocation webhook answered with the status %d", status)
	}
	var answer allocationAnswer
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, allocationAnswer{}, fault.New(fault.HubNotSpecified, "The allocation webhook's answer is not the JSON of an allocation").Because(err)
	}
	if len(answer.Payload) > maxPayload {
		return nil, allocationAnswer{}, fault.New(fault.HubNotSpecified, "The allocation webhook's payload has %d bytes, the limit is %d", len(answer.Payload), maxPayload)
	}
	if string(answer.Payload) == "null" {
		answer.Payload = nil
	}
	for _, hub := range candidates {
		if hub.is(answer.HubHostName) {
			return hub, answer, nil
		}
	}
	if answer.HubHostName == "" {
		return nil, allocationAnswer{}, fault.New(fault.HubNotSpecified, "The allocation webhook's answer names no hub")
	}
	return nil, allocationAnswer{}, fault.New(fault.HubNotSpecified, "The allocation webhook names the hub %.253q, which is not one of those that it was given", answer.HubHostName)
}

func (s *Service) allocationRequest(ctx context.Context, enrollment Enrollment, intent intent, former record, candidates []*linkedHub) ([]byte, error) {
	request := allocationRequest{Device: deviceContext{
		RegistrationID: intent.RegistrationID, CurrentHub: former.AssignedHub, CurrentDevice: former.DeviceID, Payload: intent.Payload,
	}}
	for _, hub := range candidates {
		request.LinkedHubs = append(request.LinkedHubs, hub.Host())
	}
	switch intent.Mechanism {
	case bySymmetricKey:
		request.Device.SymmetricKey = &SymmetricKeyResult{intent.GroupID}
	case byTPM:
		request.Device.TPM = &struct{}{}
	default:
		request.Device.X509 = &X509Result{CertificateInfo: intent.Certificate, SigningCertificateInfo: intent.Signer, EnrollmentGroupID: intent.GroupID}
	}
	if intent.GroupID == "" {
		shown := enrollment
		shown.Attestation = enrollment.Attestation.withoutKeys()
		request.IndividualEnrollment = &shown
	} else {
		group, err := s.Group(ctx, intent.GroupID)
		if err != nil {
			return nil, err
		}
		request.EnrollmentGroup = &group
	}
	return json.Marshal(request)
}
