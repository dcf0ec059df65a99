package rest

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/provisioning"
)

// provisioningDevice are the operations of devices that register. The device
// proves itself by its client certificate, its token or its TPM.
func (s *service) provisioningDevice() []https.Operation {
	return []https.Operation{
		dps("PUT", contract.RegisterPath, "", https.SmallBody, s.register),
		dps("GET", contract.OperationStatusPath, "", 0, s.operationStatus),
		dps("POST", contract.LookUpPath, "", https.SmallBody, s.lookUp),
	}
}

func (s *service) session(c *https.Call) *provisioning.Session {
	session := s.Provisioning.OpenSession(c.Parameter("scope"), c.Parameter("id"), c.Evidence())
	session.Proven = c.Proven
	session.Failures = provisioning.FailuresOf(c.Context())
	return session
}

// register answers 202 even when the work is done: the C# client takes nothing
// else.
func (s *service) register(c *https.Call) (any, error) {
	operation, err := s.session(c).Register(c.Context(), c.Content)
	if err != nil {
		return nil, err
	}
	answerAccepted(c, operation)
	return operation, nil
}

func (s *service) operationStatus(c *https.Call) (any, error) {
	operation, err := s.session(c).Operation(c.Context(), c.Parameter("operation"))
	if err != nil {
		return nil, err
	}
	if operation.RetryAfter > 0 {
		answerAccepted(c, operation)
	}
	return operation, nil
}

// answerAccepted answers 202, and says where and when the device is to poll.
func answerAccepted(c *https.Call, operation provisioning.Operation) {
	c.Status = http.StatusAccepted
	poll := url.URL{Scheme: "https", Host: c.Host,
		RawQuery: url.Values{"api-version": {c.Query("api-version")}}.Encode(),
		Path: "/" + credential.RegistrationResource(c.Parameter("scope"), c.Parameter("id")).String() +
			"/operations/" + operation.OperationID}
	c.SetHeader("Location", poll.String())
	if operation.RetryAfter > 0 {
		c.SetHeader("Retry-After", strconv.Itoa(contract.RetryAfter(operation.RetryAfter)))
	}
}

func (s *service) lookUp(c *https.Call) (any, error) {
	return s.session(c).Lookup(c.Context(), c.Content)
}
