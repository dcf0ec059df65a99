package rest

import (
	"net/http"

	"github.com/berth-iot/berth/provisioning"
)

// provisioningDevice are the operations of devices that register. The device
// proves itself by its client certificate, its token or its TPM.
func (h *handler) provisioningDevice() []route {
	return []route{
		{"PUT", "/{scope}/registrations/{id}/register", provisioningAPI, "", smallBody, register},
		{"GET", "/{scope}/registrations/{id}/operations/{operation}", provisioningAPI, "", 0, operationStatus},
		{"POST", "/{scope}/registrations/{id}", provisioningAPI, "", smallBody, lookUp},
	}
}

func (c *call) session() *provisioning.Session {
	session := c.Provisioning.OpenSession(c.parameters["scope"], c.parameters["id"], c.evidence())
	session.Proven = func() { c.Proven(c.Context()) }
	return session
}

// register answers 202 even when the work is done: the C# client takes nothing
// else.
func register(c *call) (any, error) {
	operation, err := c.session().Register(c.Context(), c.body)
	if err != nil {
		return nil, err
	}
	c.status = http.StatusAccepted
	c.pace(operation)
	return operation, nil
}

func operationStatus(c *call) (any, error) {
	operation, err := c.session().Operation(c.Context(), c.parameters["operation"])
	if err != nil {
		return nil, err
	}
	if operation.RetryAfter > 0 {
		c.status = http.StatusAccepted
	}
	c.pace(operation)
	return operation, nil
}

func (c *call) pace(operation provisioning.Operation) {
	if operation.RetryAfter > 0 {
		c.w.Header().Set("Retry-After", seconds(operation.RetryAfter))
	}
}

func lookUp(c *call) (any, error) { return c.session().Lookup(c.Context(), c.body) }
