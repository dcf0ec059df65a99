package hub

import (
	"context"
	"time"

	"github.com/berth-iot/berth/hub/twin"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/store"
)

// indexRetry is how soon an index that could not be built is tried again.
const indexRetry = 10 * time.Second

// TwinIndexes returns the indexes by which queries find twins.
func (h *Hub) TwinIndexes() *twin.Indexes { return h.indexes }

// startBuilds builds indexes when there are new ones, and deletes what is left of others.
// One node of several does it, by a lease.
func (h *Hub) startBuilds() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	h.stopBuilds = func() {
		cancel()
		<-ended
	}
	changed := make(chan struct{}, 1)
	changed <- struct{}{} // an index may have been left half built
	h.indexes.Watch(ctx, func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	lease := store.NewLease(h.config.Documents, "hub/"+h.config.Name+"/indexes", h.config.Node, h.config.Logger)
	go func() {
		defer close(ended)
		lease.Hold(ctx, func(ctx context.Context, _ store.Term) error {
			ticker := time.NewTicker(indexRetry)
			defer ticker.Stop()
			for {
				select {
				case <-ctx.Done():
					return nil
				case <-ticker.C:
				case <-changed:
				}
				err := h.config.Panics.Do(panics.Background, func() error { return h.indexes.Build(ctx) })
				if err != nil && ctx.Err() == nil {
					h.config.Logger.Error("an index of twins can't be built", "hub", h.config.Name, "error", err)
				}
			}
		})
	}()
}
