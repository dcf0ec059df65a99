package hub

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// listed counts the devices by reading them.
func (h *house) listed() (statistics RegistryStatistics) {
	h.t.Helper()
	for after := ""; ; {
		devices, next, err := h.Devices(ctx, "", after, 10)
		if err != nil {
			h.t.Fatal(err)
		}
		for _, device := range devices {
			statistics.TotalDeviceCount++
			if device.Status == "disabled" {
				statistics.DisabledDeviceCount++
			} else {
				statistics.EnabledDeviceCount++
			}
		}
		if next == "" {
			return statistics
		}
		after = next
	}
}

func (h *house) wantStatistics(want RegistryStatistics) {
	h.t.Helper()
	if got, err := h.RegistryStatistics(ctx); err != nil || got != want {
		h.t.Errorf("counted %+v (%v), want %+v", got, err, want)
	}
}

// TestRegistryStatistics changes few devices from many sides at once in all ways that
// there are, also such that are refused. What is counted is what is listed, and at no
// moment anything that can't be.
func TestRegistryStatistics(t *testing.T) {
	h := newHouse(t)
	const workers, rounds, ids = 6, 60, 10
	done := make(chan struct{})
	var counting, all sync.WaitGroup
	counting.Go(func() {
		for {
			s, err := h.RegistryStatistics(ctx)
			if err != nil || s.EnabledDeviceCount < 0 || s.DisabledDeviceCount < 0 || s.TotalDeviceCount > ids {
				t.Errorf("counted %+v, error %v", s, err)
				return
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	for worker := range workers {
		random := rand.New(rand.NewPCG(uint64(worker), 1))
		all.Go(func() {
			for range rounds {
				id, status := fmt.Sprint("d", random.IntN(ids)), []string{"enabled", "disabled"}[random.IntN(2)]
				var err error
				switch random.IntN(4) {
				case 0:
					_, err = h.CreateDevice(ctx, Device{DeviceID: id, Status: status})
				case 1:
					_, err = h.UpdateDevice(ctx, Device{DeviceID: id, Status: status}, "")
				case 2:
					err = h.DeleteDevice(ctx, id, "")
				case 3:
					_, err = h.Admit(ctx, Admission{DeviceID: id, PrimaryThumbprint: strings.Repeat(fmt.Sprintf("A%d", random.IntN(9)), 32)})
				}
				if err != nil && !errors.Is(err, fault.DeviceNotFound) && !errors.Is(err, fault.DeviceAlreadyExists) {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	close(done)
	counting.Wait()
	h.wantStatistics(h.listed())
	h.reopen()
	h.wantStatistics(h.listed())
	t.Logf("in the end there are %+v", h.listed())
}

// TestStatisticsOfAnEarlierVersion opens a hub whose disabled devices are in no index.
func TestStatisticsOfAnEarlierVersion(t *testing.T) {
	h := newHouse(t)
	for i := range 25 {
		h.create(Device{DeviceID: fmt.Sprint("d", i), Status: []string{"enabled", "disabled"}[i%2]})
	}
	var changes []store.Change
	for i := range 25 {
		changes = append(changes, h.disabled.Delete(fmt.Sprint("d", i), store.Always))
	}
	changes = append(changes, store.Change{Collection: "hub/test/indexes", Key: disabledIndex, Delete: true})
	if _, err := h.config.Documents.Commit(ctx, changes...); err != nil {
		t.Fatal(err)
	}
	h.reopen()
	h.wantStatistics(RegistryStatistics{25, 13, 12})
	h.wantStatistics(h.listed())

	// Such a version deletes one, disables one, and enables one, and the index stays.
	enabledNow, err := h.device(ctx, "d1")
	if err != nil {
		t.Fatal(err)
	}
	disabledNow, err := h.device(ctx, "d2")
	if err != nil {
		t.Fatal(err)
	}
	enabledNow.Status, disabledNow.Status = enabled, disabled
	if _, err := h.config.Documents.Commit(ctx, h.devices.Put("d1", store.Present, enabledNow),
		h.devices.Put("d2", store.Present, disabledNow), h.devices.Delete("d3", store.Present)); err != nil {
		t.Fatal(err)
	}
	config := h.config
	config.Reindex = true
	again, err := Open(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	h.wantStatistics(RegistryStatistics{24, 13, 11})
	h.wantStatistics(h.listed())
	if err := again.Close(ctx); err != nil {
		t.Error(err)
	}
}

// TestStatisticsOfUnreadable counts a device whose identity can't be read until it is
// replaced or deleted.
func TestStatisticsOfUnreadable(t *testing.T) {
	h := newHouse(t)
	for _, id := range []string{"deleted", "replaced", "disabled"} {
		h.create(Device{DeviceID: id, Status: "disabled"})
		damaged := store.Change{Collection: h.DeviceRecords(), Key: id, Value: []byte("{")}
		if _, err := h.config.Documents.Commit(ctx, damaged); err != nil {
			t.Fatal(err)
		}
	}
	h.wantStatistics(RegistryStatistics{3, 0, 3})
	if err := h.DeleteDevice(ctx, "deleted", ""); err != nil {
		t.Fatal(err)
	}
	h.create(Device{DeviceID: "replaced"})
	h.create(Device{DeviceID: "disabled", Status: "disabled"})
	h.wantStatistics(RegistryStatistics{2, 1, 1})
	h.wantStatistics(h.listed())
}

// BenchmarkRegistryStatistics counts the devices of a large hub.
func BenchmarkRegistryStatistics(b *testing.B) {
	h := newHouse(b)
	const devices = 20_000
	var changes []store.Change
	for i := range devices {
		device := Device{DeviceID: fmt.Sprintf("device-%06d", i), Status: []string{"enabled", "disabled"}[i%2]}
		if err := device.complete(nil); err != nil {
			b.Fatal(err)
		}
		changes = append(changes, h.creation(&device, newTwin(noon))...)
		if len(changes) >= 900 || i == devices-1 {
			if _, err := h.config.Documents.Commit(ctx, changes...); err != nil {
				b.Fatal(err)
			}
			changes = nil
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if s, err := h.RegistryStatistics(ctx); err != nil || s.TotalDeviceCount != devices || s.DisabledDeviceCount != devices/2 {
			b.Fatal(s, err)
		}
	}
}
