package hub

import (
	"context"
	"time"
)

const (
	sweepEvery  = 5 * time.Second
	sweepAtOnce = 100 // queues, or records of feedback
)

// sweepTask drops messages and feedback that have expired, also of devices that never come.
func (h *Hub) sweepTask() task {
	return task{lease: "sweep", every: sweepEvery, do: h.sweep,
		failed: "messages to devices that have expired can't be dropped"}
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
