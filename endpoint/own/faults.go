package own

import (
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/inject"
)

// faults are the operations of people who test what devices do when their hub fails them.
func (s *service) faults() []https.Operation {
	return []https.Operation{
		iot("GET", contract.FaultsPath, hub.RegistryRead, 0, listFaults),
		iot("POST", contract.FaultsPath, hub.RegistryWrite, https.SmallBody, addFault),
		iot("DELETE", contract.FaultsPath, hub.RegistryWrite, 0, removeFault),
		iot("DELETE", contract.FaultPath, hub.RegistryWrite, 0, removeFault),
	}
}

func listFaults(c *https.Call) (any, error) { return c.Hub.Faults().List(c.Context()) }

func addFault(c *https.Call) (any, error) {
	var wanted inject.DeviceFault
	if err := c.Decode(&wanted); err != nil {
		return nil, err
	}
	return c.Hub.Faults().Add(c.Context(), wanted)
}

func removeFault(c *https.Call) (any, error) {
	return nil, c.Hub.Faults().Remove(c.Context(), c.Parameter("id"))
}
