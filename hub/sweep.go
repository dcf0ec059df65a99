package hub

import (
	"context"
	"time"

	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/store"
)

const (
	sweepEvery  = 5 * time.Second
	sweepAtOnce = 100 // queues, or records of feedback
)

// startSweeps drops messages and feedback that have expired, also of devices that never
// come. One node of several does it, by a lease; what it commits is compare-and-swap, so
// that one that has lost the lease meanwhile does no harm.
func (h *Hub) startSweeps() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	h.stopSweeps = func() {
		cancel()
		<-ended
	}
	lease := store.NewLease(h.config.Documents, "hub/"+h.config.Name+"/sweep", h.config.Node, h.config.Logger)
	go func() {
		defer close(ended)
		lease.Hold(ctx, func(ctx context.Context, _ store.Term) error {
			ticker := time.NewTicker(sweepEvery)
			defer ticker.Stop()
			for {
				select {
				case <-ctx.Done():
					return nil
				case <-ticker.C:
				}
				err := h.config.Panics.Do(panics.Background, func() error { return h.sweep(ctx) })
				if err != nil && ctx.Err() == nil {
					h.config.Logger.Error("messages to devices that have expired can't be dropped", "hub",
						h.config.Name, "error", err)
				}
			}
		})
	}()
}

// sweep drops what has expired.
func (h *Hub) sweep(ctx context.Context) error {
	for _, expire := range []func(context.Context, int) (int, error){h.messages.Expire, h.messages.ExpireFeedback} {
		for {
			done, err := expire(ctx, sweepAtOnce)
			if err != nil {
				return err
			}
			if done < sweepAtOnce {
				break
			}
		}
	}
	return nil
}
