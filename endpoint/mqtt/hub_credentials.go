package mqtt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/wire/mqtt"
)

// The topics by which a device renews its operational certificate (Azure,
// iot-mqtt-connect-to-iot-hub).
const (
	credentialsTopic    = "$iothub/credentials/POST/issueCertificate/?"
	credentialsResponse = "$iothub/credentials/res/%d/?$rid=%s"
)

// issueRequest is what a device asks for.
type issueRequest struct {
	ID      *string `json:"id"`  // the device's
	CSR     *string `json:"csr"` // base64 of PKCS #10
	Replace *string `json:"replace"`
}

// issueCertificate answers 202 when the request is well formed, and then 200 with
// the chain, or what is wrong.
func (s *hubSession) issueCertificate(message *mqtt.Publish, parameters []byte) error {
	requestID, err := s.begin(message, parameters)
	if err != nil {
		return err
	}
	asked, err := s.readIssueRequest(message.Payload)
	if err != nil {
		return s.refuseCredentials(requestID, err)
	}
	correlationID := fault.NewTrackingID()
	accepted := map[string]string{"correlationId": correlationID, "operationExpires": time.Now().Add(hub.IssueTimeout).UTC().Format(time.RFC3339Nano)}
	body, err := asciiJSON(accepted)
	if err == nil {
		err = s.respondCredentials(202, requestID, body)
	}
	if err != nil {
		return err
	}
	request, err := s.session.CheckCertificateRequest(s.ctx, *asked.CSR)
	var chain []string
	if err == nil {
		chain, err = s.session.IssueCertificate(s.ctx, request)
	}
	if err != nil {
		return s.refuseCredentials(requestID, err)
	}
	s.backend.Logger.Info("certificate issued", "device", s.deviceID, "correlationId", correlationID)
	body, err = asciiJSON(struct {
		CorrelationID string   `json:"correlationId"`
		Certificates  []string `json:"certificates"`
	}{correlationID, chain})
	if err != nil {
		return s.refuseCredentials(requestID, err)
	}
	return s.respondCredentials(200, requestID, body)
}

// readIssueRequest holds a request against its form, field by field.
func (s *hubSession) readIssueRequest(payload []byte) (asked issueRequest, _ error) {
	if len(bytes.TrimSpace(payload)) == 0 {
		return asked, fault.New(fault.ArgumentInvalid, "The request has no body. It is JSON with the fields id and csr")
	}
	if err := document.CheckDepth(payload, document.MaxDepth); err != nil {
		return asked, fault.New(fault.BadFormat, "The request can't be taken: %v", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&asked); err != nil {
		var kind *json.UnmarshalTypeError
		switch {
		case errors.As(err, &kind) && kind.Field == "":
			return asked, fault.New(fault.ArgumentInvalid, "The request is a JSON %s. It is an object with the fields id and csr", kind.Value)
		case errors.As(err, &kind):
			return asked, fault.New(fault.ArgumentInvalid, "%s can't be a JSON %s", kind.Field, kind.Value)
		case strings.Contains(err.Error(), "unknown field"):
			return asked, fault.New(fault.ArgumentInvalid, "The request has a field besides id, csr and replace: %s", strings.TrimPrefix(err.Error(), "json: "))
		}
		return asked, fault.New(fault.BadFormat, "The request is not JSON: %v", err)
	}
	if decoder.More() {
		return asked, fault.New(fault.BadFormat, "The request goes on after its JSON")
	}
	switch {
	case asked.ID == nil || *asked.ID == "":
		return asked, fault.New(fault.ArgumentInvalid, "id is missing. It is the id of the device that is connected")
	case *asked.ID != s.deviceID:
		return asked, fault.New(fault.ArgumentInvalid, "id is %.128q, and the device that is connected is %q", *asked.ID, s.deviceID)
	case asked.CSR == nil || *asked.CSR == "":
		return asked, fault.New(fault.ArgumentInvalid, "csr is missing. It is base64 of a certificate signing request, PKCS #10 in DER")
	case len(*asked.CSR) > credential.MaxCSR:
		return asked, fault.New(fault.ArgumentInvalid, "csr has %d characters, the limit is %d", len(*asked.CSR), credential.MaxCSR)
	case asked.Replace == nil || *asked.Replace == "" || *asked.Replace == "*":
		return asked, nil // nothing is ever pending: certificates are issued at once
	case !isRequestID(*asked.Replace):
		return asked, fault.New(fault.ArgumentInvalid, "replace is %.64q. It is *, or the id of a request: 4 to 36 letters, digits and dashes, no dash first or last", *asked.Replace)
	}
	return asked, fault.New(fault.PreconditionFailed, "There is no request %q that is pending, so none can be replaced", *asked.Replace)
}

func isRequestID(text string) bool {
	for _, c := range []byte(text) {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-') {
			return false
		}
	}
	return len(text) >= 4 && len(text) <= 36 && text[0] != '-' && text[len(text)-1] != '-'
}

func (s *hubSession) refuseCredentials(requestID string, err error) error {
	problem := fault.From(err)
	s.backend.Logger.Warn("certificate request refused", "device", s.deviceID, "trackingId", problem.TrackingID, "error", problem)
	return s.respondCredentials(problem.Code.Status(), requestID, problemBody(problem, time.Now()))
}

func (s *hubSession) respondCredentials(status int, requestID string, body []byte) error {
	return s.answer(fmt.Sprintf(credentialsResponse, status, requestID), body)
}
