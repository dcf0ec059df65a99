package backend

import (
	"context"
	"net/http"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/hub/twin"
)

// TwinIndexes returns the indexes by which queries of the hub find twins.
func (h *Hub) TwinIndexes(ctx context.Context) (indexes []twin.Index, err error) {
	err = h.do(ctx, request{method: http.MethodGet, path: contract.TwinIndexListPath, into: &indexes})
	return indexes, err
}

// CreateTwinIndex has the hub index its twins by a path such as tags.site. One that is there
// stays as it is.
func (h *Hub) CreateTwinIndex(ctx context.Context, path string) (index twin.Index, err error) {
	err = h.do(ctx, request{method: http.MethodPut, path: contract.TwinIndexPath.With(path), into: &index})
	return index, err
}

// DeleteTwinIndex removes an index of twins.
func (h *Hub) DeleteTwinIndex(ctx context.Context, path string) error {
	return h.do(ctx, request{method: http.MethodDelete, path: contract.TwinIndexPath.With(path)})
}
