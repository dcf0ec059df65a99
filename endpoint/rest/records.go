package rest

import (
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
)

// records are the operations on what can't be read: of all services, whose owner has
// the right ServiceConfig.
func (h *handler) records() []route {
	return []route{
		{"GET", contract.UnreadablePath, provisioningAPI, provisioning.ServiceConfig, 0, listUnreadable},
		{"DELETE", contract.UnreadablePath, provisioningAPI, provisioning.ServiceConfig, 0, deleteUnreadable},
	}
}

func listUnreadable(c *call) (any, error) { return c.Records.Unreadable(c.Context()) }

func deleteUnreadable(c *call) (any, error) {
	collection, key := c.query("collection"), c.query("key")
	if collection == "" || key == "" {
		return nil, fault.New(fault.ArgumentNull, "The address must have collection and key, as the list of unreadable records has them")
	}
	return nil, c.Records.DeleteUnreadable(c.Context(), collection, key)
}
