package own

import (
	"strings"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/hub"
)

// indexes are the operations on the indexes by which queries find twins. The name of one is
// its path.
func (s *service) indexes() []https.Operation {
	return []https.Operation{
		iot("GET", contract.TwinIndexListPath, hub.RegistryRead, 0, listTwinIndexes),
		iot("PUT", contract.TwinIndexPath, hub.RegistryWrite, 0, createTwinIndex),
		iot("DELETE", contract.TwinIndexPath, hub.RegistryWrite, 0, deleteTwinIndex),
	}
}

func listTwinIndexes(c *https.Call) (any, error) { return c.Hub.TwinIndexes().List(c.Context()) }

func createTwinIndex(c *https.Call) (any, error) {
	return c.Hub.TwinIndexes().Create(c.Context(), strings.Split(c.Parameter("name"), "."))
}

func deleteTwinIndex(c *https.Call) (any, error) {
	return nil, c.Hub.TwinIndexes().Delete(c.Context(), strings.Split(c.Parameter("name"), "."))
}
