package own

import (
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
)

// records are the operations on what can't be read: of all services, whose owner has
// the right ServiceConfig.
func (s *service) records() []https.Operation {
	return []https.Operation{
		dps("GET", contract.UnreadablePath, provisioning.ServiceConfig, 0, s.listUnreadable),
		dps("DELETE", contract.UnreadablePath, provisioning.ServiceConfig, 0, s.deleteUnreadable).
			With("collection", "key"),
	}
}

func (s *service) listUnreadable(c *https.Call) (any, error) {
	records, err := s.Records.Unreadable(c.Context())
	return listed(records), err
}

func (s *service) deleteUnreadable(c *https.Call) (any, error) {
	collection, key := c.Query("collection"), c.Query("key")
	if collection == "" || key == "" {
		return nil, fault.New(fault.ArgumentNull,
			"The address must have collection and key, as the list of unreadable records has them")
	}
	return nil, s.Records.DeleteUnreadable(c.Context(), collection, key)
}
