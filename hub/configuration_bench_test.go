package hub_test

import (
	"testing"
	"time"
)

// BenchmarkConfigurations measures how long it takes until a configuration is applied to all
// devices, and an evaluation that finds nothing to do. -devices says of how many devices.
func BenchmarkConfigurations(b *testing.B) {
	f := newFixture(b)
	f.fill(*benchDevices)
	rate := func(b *testing.B, devices int, took time.Duration) {
		b.ReportMetric(float64(devices)/took.Seconds(), "devices/s")
	}
	b.Run("apply", func(b *testing.B) {
		for b.Loop() {
			began := time.Now()
			f.configure(b, "all", "*", 0, `{"deviceContent":{"properties.desired.interval":30}}`)
			f.settle(b)
			rate(b, *benchDevices, time.Since(began))
			if err := f.Configurations().Delete(ctx, "all", ""); err != nil {
				b.Fatal(err)
			}
			if err := f.Configurations().Evaluate(ctx); err != nil {
				b.Fatal(err)
			}
			if _, err := f.PatchTwin(ctx, "device-0000000", []byte(`{"tags":{"a":1}}`), ""); err != nil {
				b.Fatal(err)
			}
		}
	})
	f.configure(b, "some", "tags.floor = 3 AND NOT properties.reported.a = 1", 0,
		`{"deviceContent":{"properties.desired.interval":20}}`)
	f.settle(b)
	b.Run("evaluate", func(b *testing.B) {
		for b.Loop() {
			if err := f.Configurations().EvaluateAll(ctx); err != nil {
				b.Fatal(err)
			}
		}
		rate(b, *benchDevices, b.Elapsed()/time.Duration(b.N))
	})
}
