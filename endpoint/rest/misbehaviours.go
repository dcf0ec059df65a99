package rest

import (
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/inject"
)

// misbehaviours are the operations of people who test what devices do when the
// service fails them.
func (h *handler) misbehaviours() []route {
	return []route{
		{"GET", contract.MisbehavioursPath, provisioningAPI, provisioning.RegistrationStatusRead, 0, listMisbehaviours},
		{"POST", contract.MisbehavioursPath, provisioningAPI, provisioning.ServiceConfig, smallBody, misbehave},
		{"DELETE", contract.MisbehavioursPath, provisioningAPI, provisioning.ServiceConfig, 0, behave},
		{"DELETE", contract.MisbehaviourPath, provisioningAPI, provisioning.ServiceConfig, 0, behave},
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
