package own

import (
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/inject"
)

// injection has the operations of people who test what devices do when the service
// fails them.
func (s *service) injection() []https.Operation {
	return []https.Operation{
		dps("GET", contract.MisbehavioursPath, provisioning.RegistrationStatusRead, 0, s.listInjectedFaults),
		dps("POST", contract.MisbehavioursPath, provisioning.ServiceConfig, https.SmallBody, s.injectFault),
		dps("DELETE", contract.MisbehavioursPath, provisioning.ServiceConfig, 0, s.removeInjectedFault),
		dps("DELETE", contract.MisbehaviourPath, provisioning.ServiceConfig, 0, s.removeInjectedFault),
	}
}

func (s *service) listInjectedFaults(c *https.Call) (any, error) {
	return s.Provisioning.Injector().List(c.Context())
}

func (s *service) injectFault(c *https.Call) (any, error) {
	var wanted inject.Fault
	if err := c.Decode(&wanted); err != nil {
		return nil, err
	}
	return s.Provisioning.Injector().Add(c.Context(), wanted)
}

func (s *service) removeInjectedFault(c *https.Call) (any, error) {
	return nil, s.Provisioning.Injector().Remove(c.Context(), c.Parameter("id"))
}
