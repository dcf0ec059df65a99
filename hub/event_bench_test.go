//go:build unix

package hub_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/berth-iot/berth/hub/connection"
	"github.com/berth-iot/berth/hub/hubtest"
	"github.com/berth-iot/berth/hub/identity"
)

// BenchmarkReports has 256 devices report at once, each when its last report is durable, with
// the events that this makes and without. CPU time says more than the rate where others work
// on the same machine; with the events it has their way to the log in it.
func BenchmarkReports(b *testing.B) {
	for _, events := range []bool{false, true} {
		b.Run(map[bool]string{false: "without events", true: "with events"}[events], func(b *testing.B) {
			h := hubtest.New(b)
			h.NoEvents = !events
			h.Reopen()
			const devices = 256
			sessions := make([]*connection.Session, devices)
			for i := range sessions {
				sessions[i], _ = h.Connect(h.Create(identity.Device{DeviceID: fmt.Sprint("d", i)}), false)
			}
			var next atomic.Int64
			ctx, before := context.Background(), cpuTime(b)
			b.ReportAllocs()
			b.SetParallelism(devices)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				session := sessions[(next.Add(1)-1)%devices]
				for n := 0; pb.Next(); n++ {
					if _, err := session.Report(ctx, fmt.Appendf(nil, `{"temperature":%d}`, n)); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "CPU-µs/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reports/s")
		})
	}
}

func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
