package hub

import (
	"context"
	"slices"
	"strings"

	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/query"
)

// candidatesOf chooses how a query finds what it asks for: by ids that its condition names,
// an index, configurations, the status, the connection, or how ids begin. What it finds is
// held against the whole condition all the same.
func (h *Hub) candidatesOf(ctx context.Context, q *query.Query) (chosen candidates, _ error) {
	for _, bound := range q.Bounds() {
		if bound.Equal == nil {
			continue
		}
		if q.Source == query.Devices && len(bound.Path) == 1 && bound.Path[0] == "deviceId" {
			return candidates{list: listed(bound.Texts())}, nil
		}
		if list, err := h.indexes.Find(ctx, bound.Path, bound.Equal); err != nil || list != nil {
			return candidates{list: list}, err
		}
	}
	for _, bound := range q.Bounds() {
		switch name := bound.Path[0]; {
		case name == "configurations" && len(bound.Path) == 3 && bound.Path[2] == "status" && bound.Equal != nil:
			chosen.list = h.configurations.Candidates(bound.Path[1], q.Source == query.Modules, chosen.list)
		case len(bound.Path) > 1:
		case q.Source == query.Modules:
			if ids := bound.Texts(); name == "deviceId" && bound.Equal == nil {
				chosen.prefix = bound.Prefix
			} else if name == "deviceId" && len(ids) == 1 && len(bound.Equal) == 1 {
				return candidates{prefix: identity.ModuleKey(ids[0], "")}, nil
			}
		case name == "deviceId":
			chosen.prefix = bound.Prefix
		case name == "status" && bound.Is(identity.Disabled):
			chosen.list = h.registry.DisabledIDs
		case name == "connectionState" && bound.Is(identity.Connected) && chosen.list == nil:
			ids, ok, err := h.connections.IDs(ctx, manyConnected)
			if err != nil {
				return candidates{}, err
			}
			if ok {
				chosen.list = listed(ids)
			}
		}
	}
	return chosen, nil
}

// manyConnected is how many connected devices make it no use to begin with them.
const manyConnected = 20_000

// listed is the list of candidates that are known.
func listed(ids []string) func(context.Context, string, int) ([]string, error) {
	slices.Sort(ids)
	ids = slices.Compact(ids)
	return func(_ context.Context, after string, limit int) ([]string, error) {
		first, found := slices.BinarySearchFunc(ids, after, strings.Compare)
		if found {
			first++
		}
		return ids[first:min(len(ids), first+limit)], nil
	}
}
