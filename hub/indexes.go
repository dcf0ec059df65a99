package hub

import (
	"context"
	"time"

	"github.com/berth-iot/berth/hub/twin"
)

// indexRetry is how soon an index that could not be built is tried again.
const indexRetry = 10 * time.Second

// TwinIndexes returns the indexes by which queries find twins.
func (h *Hub) TwinIndexes() *twin.Indexes { return h.indexes }

// buildTask builds indexes when there are new ones, and deletes what is left of others.
func (h *Hub) buildTask(ctx context.Context) task {
	changed := make(chan struct{}, 1)
	changed <- struct{}{} // an index may have been left half built
	h.indexes.Watch(ctx, func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	return task{lease: "indexes", every: indexRetry, wake: changed, do: h.indexes.Build,
		failed: "an index of twins can't be built"}
}
