package hub

import (
	"context"
	"time"

	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/store"
)

// A task is what one node of several does from time to time, by a lease. What it commits is
// compare-and-swap, so that one that has lost the lease meanwhile does no harm.
type task struct {
	lease  string          // its name, without that of the hub
	every  time.Duration   // how often it is done
	wake   <-chan struct{} // has it done at once; nil for never
	do     func(ctx context.Context) error
	failed string // what the log says when it can't be done
}

// lead does a task until the context ends, as long as this node has the lease.
func (h *Hub) lead(ctx context.Context, t task) {
	lease := store.NewLease(h.config.Documents, "hub/"+h.config.Name+"/"+t.lease, h.config.Node, h.config.Logger)
	lease.Hold(ctx, func(ctx context.Context, _ store.Term) error {
		ticker := time.NewTicker(t.every)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-ticker.C:
			case <-t.wake:
			}
			err := h.config.Panics.Do(panics.Background, func() error { return t.do(ctx) })
			if err != nil && ctx.Err() == nil {
				h.config.Logger.Error(t.failed, "hub", h.config.Name, "error", err)
			}
		}
	})
}
