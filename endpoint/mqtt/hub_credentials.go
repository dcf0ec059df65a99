package mqtt

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/connection"
	"github.com/berth-iot/berth/wire/mqtt"
)

// issueCertificate answers 202 when the request is well formed, and then 200 with
// the chain, or what is wrong. The same request again, with its $rid, gets the same
// certificate.
func (s *hubSession) issueCertificate(message *mqtt.Publish, parameters []byte) error {
	requestID, err := s.takeRequest(message, parameters)
	if err != nil {
		return err
	}
	renewal, err := s.takeRenewal(requestID, document.TrimPadding(message.Payload))
	if err != nil {
		return s.refuseCredentials(requestID, err)
	}
	defer renewal.End()
	body, err := asciiJSON(contract.CertificateAccepted{CorrelationID: renewal.CorrelationID,
		OperationExpires: renewal.OperationExpires()})
	if err == nil {
		err = s.respondCredentials(202, requestID, body)
	}
	if err != nil {
		return err
	}
	owed, err := s.reserveAnswer(requestID)
	if err != nil {
		return err
	}
	if owed != nil {
		owed.Topic = contract.CertificateAnswers.Topic(200, requestID)
	}
	body, err = renewal.Issue(func(chain []string) ([]byte, error) {
		return asciiJSON(contract.CertificateIssued{CorrelationID: renewal.CorrelationID, Certificates: chain})
	}, owed)
	if err != nil {
		return s.refuseRenewal(requestID, renewal, err, owed)
	}
	s.backend.Logger.Info("certificate issued", "device", s.deviceID, "correlationId", renewal.CorrelationID)
	if owed != nil {
		return s.deliver(*owed, false)
	}
	return s.respondCredentials(200, requestID, body)
}

// takeRenewal reads a request and takes it, if that can be done.
func (s *hubSession) takeRenewal(requestID string, payload []byte) (*connection.Renewal, error) {
	if s.backend.Exact && !isRequestID(requestID) {
		return nil, fault.New(fault.ArgumentInvalid,
			"$rid must have 4 to 36 letters, digits and dashes, with no dash first or last, not %.64q",
			requestID)
	}
	asked, err := s.readIssueRequest(payload)
	if err != nil {
		return nil, err
	}
	return s.session.BeginRenewal(s.ctx,
		connection.RenewalRequest{RequestID: requestID, CSR: asked.CSR, Replace: asked.Replace})
}

// readIssueRequest holds a request against its form, field by field.
func (s *hubSession) readIssueRequest(payload []byte) (asked contract.CertificateRequest, _ error) {
	if len(bytes.TrimSpace(payload)) == 0 {
		return asked, fault.New(fault.ArgumentInvalid, "The request has no body. It is JSON with the fields id and csr")
	}
	if err := document.CheckDepth(payload, document.MaxDepth); err != nil {
		return asked, fault.New(fault.BadFormat, "The request can't be taken: %v", err)
	}
	if err := document.CheckText(payload); err != nil {
		return asked, fault.New(fault.BadFormat, "The request can't be taken: %v", err)
	}
	if found, meant := document.Misspelled(payload, "id", "csr", "replace"); found != "" {
		return asked, fault.New(fault.ArgumentInvalid, "The request has a field %.64q, whose name is written %s", found,
			meant)
	}
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&asked); err != nil {
		var kind *json.UnmarshalTypeError
		switch {
		case errors.As(err, &kind) && kind.Field == "":
			return asked, fault.New(fault.ArgumentInvalid,
				"The request must be a JSON object with the fields id and csr, not a JSON %s", kind.Value)
		case kind != nil:
			misfit, _ := document.FindMisfit(payload, &asked)
			return asked, fault.New(fault.ArgumentInvalid, "%s must be %s, not %s", misfit.Path,
				fault.Word(misfit.Wanted), fault.Word(misfit.Got))
		case strings.Contains(err.Error(), "unknown field"):
			return asked, fault.New(fault.ArgumentInvalid, "The request has a field besides id, csr and replace: %s",
				strings.TrimPrefix(err.Error(), "json: unknown field "))
		}
		return asked, fault.New(fault.BadFormat,
			"The request is not JSON: it breaks off, or has a wrong character. It is an object with the fields id "+
				"and csr").Because(err)
	}
	if !json.Valid(payload) { // More is false before a closing bracket
		return asked, fault.New(fault.BadFormat, "The request goes on after its JSON")
	}
	switch {
	case asked.ID == "":
		return asked, fault.New(fault.ArgumentInvalid, "id is missing. It is the id of the device that is connected")
	case asked.ID != s.deviceID:
		return asked, fault.New(fault.ArgumentInvalid, "id is %.128q, and the device that is connected is %q", asked.ID,
			s.deviceID)
	case asked.CSR == "":
		return asked, fault.New(fault.ArgumentInvalid,
			"csr is missing. It is base64 of a certificate signing request, PKCS #10 in DER")
	case len(asked.CSR) > credential.MaxCSR:
		return asked, fault.New(fault.ArgumentInvalid, "csr has %d characters, the limit is %d", len(asked.CSR),
			credential.MaxCSR)
	case asked.Replace == "" || asked.Replace == "*" || isRequestID(asked.Replace):
		return asked, nil
	}
	return asked, fault.New(fault.ArgumentInvalid,
		"replace must be * or the id of a request (4 to 36 letters, digits and dashes), not %.64q",
		asked.Replace)
}

func isRequestID(text string) bool {
	for _, c := range []byte(text) {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-') {
			return false
		}
	}
	return len(text) >= 4 && len(text) <= 36 && text[0] != '-' && text[len(text)-1] != '-'
}

// refuseCredentials answers a request that is not taken.
func (s *hubSession) refuseCredentials(requestID string, err error) error {
	problem := fault.From(err)
	s.backend.Logger.Warn("certificate request refused", "device", s.deviceID, "trackingId", problem.TrackingID,
		"error", problem)
	topic := contract.CertificateAnswers.Topic(problem.Code.Status(), requestID) + retryAfter(problem.RetryAfter)
	return s.answer(topic, CertificateErrorBody(problem, time.Now()))
}

// refuseRenewal answers a request that was taken and can't be met.
func (s *hubSession) refuseRenewal(
	requestID string, renewal *connection.Renewal, err error, owed *connection.OwedAnswer,
) error {
	problem := fault.From(err)
	s.backend.Logger.Warn("certificate request refused", "device", s.deviceID, "correlationId", renewal.CorrelationID,
		"trackingId", problem.TrackingID, "error", problem)
	if owed == nil {
		return s.respondCredentials(problem.Code.Status(), requestID, CertificateErrorBody(problem, time.Now()))
	}
	owed.Topic, owed.Payload = contract.CertificateAnswers.Topic(problem.Code.Status(), requestID),
		CertificateErrorBody(problem, time.Now())
	if err := s.session.Owe(s.ctx, *owed); err != nil {
		s.backend.Logger.Warn("an answer is not kept", "device", s.deviceID, "error", err)
	}
	return s.deliver(*owed, false)
}

func (s *hubSession) respondCredentials(status int, requestID string, body []byte) error {
	return s.answer(contract.CertificateAnswers.Topic(status, requestID), body)
}

// reserveAnswer returns an answer that the device is owed until it acknowledges it, nil
// when its session ends with the connection, or it did not ask for QoS 1.
func (s *hubSession) reserveAnswer(requestID string) (*connection.OwedAnswer, error) {
	topic := contract.CertificateAnswers.Topic(200, requestID)
	if !s.session.IsPersistent() || s.subscriptions.Load().qos(topic) != 1 {
		return nil, nil
	}
	packetID, err := s.conn.Reserve()
	if errors.Is(err, mqtt.ErrTooManyInFlight) {
		return nil, nil // it goes with QoS 0, as Respond has it
	}
	return &connection.OwedAnswer{PacketID: packetID}, err
}

// deliver sends an answer that the device is owed.
func (s *hubSession) deliver(owed connection.OwedAnswer, again bool) error {
	return s.conn.Deliver(owed.Topic, owed.Payload, owed.PacketID, again, func(err error) {
		if err != nil {
			return // the connection ended: when the device is back, it gets it again
		}
		if err := s.session.Acknowledge(s.ctx, owed.PacketID); err != nil {
			s.backend.Logger.Warn("an answer is sent again though it was acknowledged", "device", s.deviceID, "error",
				err)
		}
	})
}
