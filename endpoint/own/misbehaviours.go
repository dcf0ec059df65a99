package own

import (
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/inject"
)

// misbehaviours are the operations of people who test what devices do when the
// service fails them.
func (s *service) misbehaviours() []https.Operation {
	return []https.Operation{
		dps("GET", contract.MisbehavioursPath, provisioning.RegistrationStatusRead, 0, s.listMisbehaviours),
		dps("POST", contract.MisbehavioursPath, provisioning.ServiceConfig, https.SmallBody, s.misbehave),
		dps("DELETE", contract.MisbehavioursPath, provisioning.ServiceConfig, 0, s.behave),
		dps("DELETE", contract.MisbehaviourPath, provisioning.ServiceConfig, 0, s.behave),
	}
}

func (s *service) listMisbehaviours(c *https.Call) (any, error) {
	return s.Provisioning.Injector().List(c.Context())
}

func (s *service) misbehave(c *https.Call) (any, error) {
	var wanted inject.Fault
	if err := c.Decode(&wanted); err != nil {
		return nil, err
	}
	armed, err := s.Provisioning.Injector().Add(c.Context(), wanted)
	return armed, err
}

func (s *service) behave(c *https.Call) (any, error) {
	return nil, s.Provisioning.Injector().Remove(c.Context(), c.Parameter("id"))
}
