package rest

import (
	"net/http"
	"net/url"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/provisioning"
)

// provisioningDevice are the operations of devices that register. The device
// proves itself by its client certificate, its token or its TPM.
func (h *handler) provisioningDevice() []route {
	return []route{
		{"PUT", contract.RegisterPath, provisioningAPI, "", smallBody, register},
		{"GET", contract.OperationStatusPath, provisioningAPI, "", 0, operationStatus},
		{"POST", contract.LookUpPath, provisioningAPI, "", smallBody, lookUp},
	}
}

func (c *call) session() *provisioning.Session {
	session := c.Provisioning.OpenSession(c.parameters["scope"], c.parameters["id"], c.evidence())
	session.Proven = func() { c.Proven(c.Context()) }
	session.Failures = provisioning.FailuresOf(c.Context())
	return session
}

// register answers 202 even when the work is done: the C# client takes nothing
// else.
func register(c *call) (any, error) {
	operation, err := c.session().Register(c.Context(), c.body)
	if err != nil {
		return nil, err
	}
	c.accept(operation)
	return operation, nil
}

func operationStatus(c *call) (any, error) {
	operation, err := c.session().Operation(c.Context(), c.parameters["operation"])
	if err != nil {
		return nil, err
	}
	if operation.RetryAfter > 0 {
		c.accept(operation)
	}
	return operation, nil
}

// accept answers 202, and says where and when the device is to poll.
func (c *call) accept(operation provisioning.Operation) {
	c.status = http.StatusAccepted
	poll := url.URL{Scheme: "https", Host: c.Host, RawQuery: url.Values{"api-version": {c.query("api-version")}}.Encode(),
		Path: "/" + credential.RegistrationResource(c.parameters["scope"], c.parameters["id"]).String() +
			"/operations/" + operation.OperationID}
	setHeader(c.w.Header(), "Location", poll.String())
	if operation.RetryAfter > 0 {
		setHeader(c.w.Header(), "Retry-After", seconds(operation.RetryAfter))
	}
}

func lookUp(c *call) (any, error) { return c.session().Lookup(c.Context(), c.body) }
