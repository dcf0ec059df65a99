//go:build torture && unix

package main

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-iot/berth/wire/mqtt"
)

// TestReconnectStorm: devices that all come at once, give up after 4 s and come again
// within a second, are all in within a minute. BERTH_STORM is how many there are; the
// time is that of a machine of two cores, shared by both ends, that does nothing else.
// wire/admission has the same in small, for any machine.
func TestReconnectStorm(t *testing.T) {
	size := 10000
	if text := os.Getenv("BERTH_STORM"); text != "" {
		var err error
		if size, err = strconv.Atoi(text); err != nil {
			t.Fatalf("BERTH_STORM: %v", err)
		}
	}
	requireDescriptors(t, size+200)
	server := startProcess(t, buildBinary(t), t.TempDir())
	c := newCrowd(t, server, size)
	const timeout, limit = 4 * time.Second, time.Minute
	ctx := within(t, limit)
	began := time.Now()
	var in, attempts atomic.Int64
	var devices sync.WaitGroup
	clients := make([]*mqtt.Client, size)
	for i := range size {
		devices.Go(func() {
			for ctx.Err() == nil {
				attempts.Add(1)
				trying, cancel := context.WithTimeout(ctx, timeout)
				client, err := c.connect(trying, i)
				cancel()
				if err == nil {
					clients[i] = client
					in.Add(1)
					return
				}
				select {
				case <-time.After(rand.N(time.Second)):
				case <-ctx.Done():
				}
			}
		})
	}
	devices.Wait()
	t.Logf("%d of %d devices were in after %v, with %d attempts\n%s", in.Load(), size, time.Since(began),
		attempts.Load(), server.figures(t, "berth_connections", "berth_mqtt", "process_cpu", "process_open_fds"))
	if int(in.Load()) < size {
		t.Errorf("%d of %d devices are not back after %v", size-int(in.Load()), size, limit)
	}
	for _, client := range clients {
		if client != nil {
			select {
			case <-client.Ended():
				t.Errorf("a device that was in was sent away: %v", client.Err())
			default:
			}
			client.Abort()
		}
	}
}
