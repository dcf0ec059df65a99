package hub_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/berth-iot/berth/hub/c2d"
	"github.com/berth-iot/berth/hub/hubtest"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/message"
)

// BenchmarkExpire drops messages to devices that never come: ten in each queue.
func BenchmarkExpire(b *testing.B) {
	h, ctx := hubtest.New(b), context.Background()
	var sending sync.WaitGroup
	turns := make(chan struct{}, 64)
	for i := range b.N {
		turns <- struct{}{}
		sending.Go(func() {
			defer func() { <-turns }()
			id := fmt.Sprint("d", i)
			h.Create(identity.Device{DeviceID: id})
			for range 10 {
				out := c2d.Outgoing{MessageID: "m", Message: message.Message{Payload: make([]byte, 256)}}
				if _, err := h.SendMessage(ctx, id, out); err != nil {
					b.Error(err)
				}
			}
		})
	}
	sending.Wait()
	h.Advance(2 * time.Hour)
	b.ResetTimer()
	for {
		n, err := h.Messages().Expire(ctx, 100)
		if err != nil {
			b.Fatal(err)
		}
		if n < 100 {
			break
		}
	}
	b.ReportMetric(float64(10*b.N)/b.Elapsed().Seconds(), "messages/s")
}
