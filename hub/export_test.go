package hub

import (
	"context"

	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/query"
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

// Looks reports whether a query looks through all of its source.
func (h *Hub) Looks(ctx context.Context, text string) (bool, error) {
	q, err := query.Parse(text)
	if err != nil {
		return false, err
	}
	chosen, err := h.candidatesOf(ctx, &q)
	return chosen.list == nil && chosen.prefix == "", err
}
