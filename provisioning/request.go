package provisioning

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// maxRequest is the size of the largest register request in bytes (Azure,
// iot-dps limits: 96 KB).
const maxRequest = 96 << 10

// request is the part of a register request that this service acts on. Fields
// it does not know are left aside: clients of later versions send more.
type request struct {
	RegistrationID string          `json:"registrationId"`
	CSR            string          `json:"csr"` // base64 of PKCS #10
	TPM            json.RawMessage `json:"tpm"` // see readTPM
	Payload        json.RawMessage `json:"payload"`
	ModelID        json.RawMessage `json:"modelId"` // part of the payload, as in Azure; here it is refused
}

func (s *Service) checkRequest(ctx context.Context, trace *attest.Trace, body []byte, registrationID string,
	enrollment enroll.Enrollment) (request, error) {
	asked, problem := readRequest(body, registrationID)
	if problem != nil {
		trace.Fail("request", problem.Text(), fault.Say("a register request in JSON"),
			fault.Say("The device's program sends this; an unmodified device SDK does not"))
		return request{}, problem
	}
	trace.Pass("request", "%d bytes", len(body))
	if asked.CSR == "" {
		return asked, nil
	}
	if enrollment.CredentialPolicyName == "" || s.config.Issuer == nil {
		trace.Fail("certificate request", fault.Say("a certificate signing request"),
			fault.Say("none, as the enrollment names no credential policy"),
			fault.Say("Let the enrollment name one: --credential-policy default. "+
				"Or let the device register without csr"))
		return request{}, fault.New(fault.ArgumentInvalid,
			"The request holds csr, and the enrollment names no credential policy")
	}
	_, err := s.config.Issuer.Check(ctx, enrollment.CredentialPolicyName, registrationID, asked.CSR)
	if errors.Is(err, fault.Unavailable) { // nothing that the device could do better
		trace.Fail("credential policy", fault.From(err).Text(),
			fault.Say("a credential policy whose issuing authority can sign"),
			fault.Say("Make the policy again, or let it name another authority: "+
				"berth credential policy set %s --authority NAME. Or let the enrollment name another policy",
				enrollment.CredentialPolicyName))
		return request{}, err
	}
	if err != nil {
		trace.Fail("certificate request", fault.From(err).Text(),
			fault.Say("a request that the credential policy %s allows", enrollment.CredentialPolicyName),
			fault.Say("Correct the device's request, or the policy"))
		return request{}, err
	}
	trace.Pass("certificate request", "for the credential policy %s", enrollment.CredentialPolicyName)
	return asked, nil
}

func readRequest(body []byte, registrationID string) (asked request, _ *fault.Error) {
	if len(body) > maxRequest {
		return asked, fault.New(fault.ArgumentInvalid, "The request has %d bytes, the limit is %d",
			len(body), maxRequest)
	}
	if body = bytes.TrimSpace(body); len(body) == 0 {
		return asked, nil
	}
	if err := document.CheckDepth(body, document.MaxDepth); err != nil {
		return asked, fault.New(fault.ArgumentInvalid, "The request can't be taken: %v", err)
	}
	if err := document.CheckText(body); err != nil {
		return asked, fault.New(fault.ArgumentInvalid, "The request can't be taken: %v", err)
	}
	if found, meant := document.Misspelled(body, "registrationId", "csr", "payload", "tpm"); found != "" {
		return asked, fault.New(fault.ArgumentInvalid, "The request has a field %.64q, whose name is written %s", found,
			meant)
	}
	r := &asked
	if err := json.Unmarshal(body, r); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) && kind.Field == "" {
			return asked, fault.New(fault.ArgumentInvalid,
				"The request must be a JSON object with registrationId, csr or payload, not a JSON %s", kind.Value)
		}
		if misfit, ok := document.FindMisfit(body, r); ok {
			return asked, fault.New(fault.ArgumentInvalid, "%s must be %s, not %s", misfit.Path,
				fault.Word(misfit.Wanted), fault.Word(misfit.Got))
		}
		return asked, fault.New(fault.ArgumentInvalid,
			"The request is not JSON: it breaks off, or has a wrong character").Because(err)
	}
	if found, meant := document.Misspelled(r.TPM, "endorsementKey", "storageRootKey"); found != "" {
		return asked, fault.New(fault.ArgumentInvalid, "The request has a field %.64q, whose name is written %s", found,
			meant)
	}
	if hasValue(r.ModelID) {
		return asked, fault.New(fault.ArgumentInvalid,
			"The request has modelId beside payload. It belongs into it: {\"payload\":{\"modelId\":\"dtmi:…\"}}")
	}
	if r.RegistrationID != "" && key(r.RegistrationID) != key(registrationID) {
		return asked, fault.New(fault.InvalidRegistrationID,
			"The request names the registration id %.128q, the connection %q", r.RegistrationID, registrationID)
	}
	if !hasValue(r.Payload) {
		r.Payload = nil
	}
	if err := linkedhub.CheckFree("payload", r.Payload); err != nil {
		return asked, fault.From(err)
	}
	return asked, nil
}

func hasValue(field json.RawMessage) bool { return len(field) > 0 && string(field) != "null" }
