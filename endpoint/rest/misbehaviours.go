package rest

import (
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/inject"
)

// misbehaviours are the operations of people who test what devices do when the
// service fails them.
func (h *handler) misbehaviours() []route {
	const all = "/berth/provisioning/misbehaviours"
	return []route{
		{"GET", all, provisioningAPI, provisioning.RegistrationStatusRead, 0, listMisbehaviours},
		{"POST", all, provisioningAPI, provisioning.ServiceConfig, smallBody, misbehave},
		{"DELETE", all, provisioningAPI, provisioning.ServiceConfig, 0, behave},
		{"DELETE", all + "/{id}", provisioningAPI, provisioning.ServiceConfig, 0, behave},
	}
}

func listMisbehaviours(c *call) (any, error) {
	return c.Provisioning.Injector().List(c.Context())
}

func misbehave(c *call) (any, error) {
	var wanted inject.Fault
	if err := c.decode(&wanted); err != nil {
		return nil, err
	}
	armed, err := c.Provisioning.Injector().Add(c.Context(), wanted)
	return armed, err
}

func behave(c *call) (any, error) {
	return nil, c.Provisioning.Injector().Remove(c.Context(), c.parameters["id"])
}
