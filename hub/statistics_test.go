package hub_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/store"
)

// listed counts the devices by reading them.
func (h *fixture) listed() (counted identity.Statistics) {
	h.T.Helper()
	for after := ""; ; {
		devices, next, err := h.Devices(ctx, "", after, 10)
		if err != nil {
			h.T.Fatal(err)
		}
		for _, device := range devices {
			counted.TotalDeviceCount++
			if device.Status == "disabled" {
				counted.DisabledDeviceCount++
			} else {
				counted.EnabledDeviceCount++
			}
		}
		if next == "" {
			return counted
		}
		after = next
	}
}

// statistics are those of so many devices.
func statistics(enabled, disabled int) identity.Statistics {
	return identity.Statistics{TotalDeviceCount: enabled + disabled, EnabledDeviceCount: enabled,
		DisabledDeviceCount: disabled}
}

func (h *fixture) wantStatistics(want identity.Statistics) {
	h.T.Helper()
	if got, err := h.Registry().Statistics(ctx); err != nil || got != want {
		h.T.Errorf("counted %+v (%v), want %+v", got, err, want)
	}
}

// TestRegistryStatistics changes few devices from many sides at once in all ways that
// there are, also such that are refused. What is counted is what is listed, and at no
// moment anything that can't be.
func TestRegistryStatistics(t *testing.T) {
	h := newFixture(t)
	const workers, rounds, ids = 6, 60, 10
	done := make(chan struct{})
	var counting, all sync.WaitGroup
	counting.Go(func() {
		for {
			s, err := h.Registry().Statistics(ctx)
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
					_, err = h.CreateDevice(ctx, identity.Device{DeviceID: id, Status: status})
				case 1:
					_, err = h.UpdateDevice(ctx, identity.Device{DeviceID: id, Status: status}, "")
				case 2:
					err = h.DeleteDevice(ctx, id, "")
				case 3:
					_, err = h.EnsureDevice(ctx,
						hub.Admission{DeviceID: id,
							PrimaryThumbprint: strings.Repeat(fmt.Sprintf("A%d", random.IntN(9)), 32)})
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
	h.Reopen()
	h.wantStatistics(h.listed())
	t.Logf("in the end there are %+v", h.listed())
}

// TestStatisticsOfUnreadable counts a device whose identity can't be read until it is
// replaced or deleted.
func TestStatisticsOfUnreadable(t *testing.T) {
	h := newFixture(t)
	for _, id := range []string{"deleted", "replaced", "disabled"} {
		h.Create(identity.Device{DeviceID: id, Status: "disabled"})
		damaged := store.Change{Collection: h.Registry().Collection(), Key: id, Value: []byte("{")}
		if _, err := h.Documents.Commit(ctx, damaged); err != nil {
			t.Fatal(err)
		}
	}
	h.wantStatistics(statistics(0, 3))
	if err := h.DeleteDevice(ctx, "deleted", ""); err != nil {
		t.Fatal(err)
	}
	h.Create(identity.Device{DeviceID: "replaced"})
	h.Create(identity.Device{DeviceID: "disabled", Status: "disabled"})
	h.wantStatistics(statistics(1, 1))
	h.wantStatistics(h.listed())
}
