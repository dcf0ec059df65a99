package identity

import (
	"fmt"
	"testing"

	"github.com/berth-iot/berth/store"
)

// listed counts the devices by reading them.
func listed(t testing.TB, r *Registry) (statistics Statistics) {
	t.Helper()
	devices, next, err := r.List(ctx, "", "", 1000)
	if err != nil || next != "" {
		t.Fatal(next, err)
	}
	for _, device := range devices {
		statistics.TotalDeviceCount++
		if device.Status == Disabled {
			statistics.DisabledDeviceCount++
		} else {
			statistics.EnabledDeviceCount++
		}
	}
	return statistics
}

// TestStatisticsOfAnEarlierVersion opens a registry whose disabled devices are in no index.
func TestStatisticsOfAnEarlierVersion(t *testing.T) {
	documents := newDocuments(t)
	r := openRegistry(t, documents, false)
	for i := range 25 {
		create(t, r, Device{DeviceID: fmt.Sprint("d", i), Status: []string{Enabled, Disabled}[i%2]})
	}
	var changes []store.Change
	for i := range 25 {
		changes = append(changes, r.disabled.Delete(fmt.Sprint("d", i), store.Always))
	}
	changes = append(changes, store.Change{Collection: "hub/test/indexes", Key: disabledIndex, Delete: true})
	commit(t, documents, changes...)
	r = openRegistry(t, documents, false)
	wantStatistics(t, r, Statistics{25, 13, 12})
	wantStatistics(t, r, listed(t, r))

	// Such a version deletes one, disables one, and enables one, and the index stays.
	enabledNow, err := r.Get(ctx, "d1")
	if err != nil {
		t.Fatal(err)
	}
	disabledNow, err := r.Get(ctx, "d2")
	if err != nil {
		t.Fatal(err)
	}
	enabledNow.Status, disabledNow.Status = Enabled, Disabled
	commit(t, documents, r.devices.Put("d1", store.Present, enabledNow),
		r.devices.Put("d2", store.Present, disabledNow), r.devices.Delete("d3", store.Present))
	r = openRegistry(t, documents, true)
	wantStatistics(t, r, Statistics{24, 13, 11})
	wantStatistics(t, r, listed(t, r))
}

// BenchmarkStatistics counts the devices of a large hub.
func BenchmarkStatistics(b *testing.B) {
	documents := newDocuments(b)
	r := openRegistry(b, documents, false)
	const devices = 20_000
	var changes []store.Change
	for i := range devices {
		device := Device{DeviceID: fmt.Sprintf("device-%06d", i), Status: []string{Enabled, Disabled}[i%2]}
		if err := device.Complete(nil); err != nil {
			b.Fatal(err)
		}
		changes = append(changes, r.PrepareCreate(&device)...)
		if len(changes) >= 900 || i == devices-1 {
			commit(b, documents, changes...)
			changes = nil
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		s, err := r.Statistics(ctx)
		if err != nil || s.TotalDeviceCount != devices || s.DisabledDeviceCount != devices/2 {
			b.Fatal(s, err)
		}
	}
}
