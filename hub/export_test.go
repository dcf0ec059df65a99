package hub

import (
	"context"

	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/twin"
	"github.com/berth-iot/berth/store"
)

// QueryBudget bounds what a page of a query costs.
type QueryBudget = queryBudget

// SetQueryBudget replaces those bounds.
func (h *Hub) SetQueryBudget(budget QueryBudget) { h.queryBudget = budget }

// PrepareCreate is what CreateDevice commits.
func (h *Hub) PrepareCreate(device *identity.Device, initial twin.Document) ([]store.Change, error) {
	return h.prepareCreate(context.Background(), device, initial)
}
