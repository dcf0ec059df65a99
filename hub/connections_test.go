package hub

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
)

// told is a history as the tests write it: + for an arrival, - for a departure
// with its reason, newest first.
func told(t *testing.T, h *house, id string) (lines []string) {
	t.Helper()
	connections, err := h.Connections(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range connections {
		mark := "-"
		if c.Connected {
			mark = "+"
		}
		lines = append(lines, strings.TrimSpace(mark+c.Time.Format("15:04 ")+c.Reason))
	}
	return lines
}

func TestConnections(t *testing.T) {
	h := newHouse(t)
	device := h.create(identity.Device{DeviceID: "d"})
	if _, err := h.Connections(ctx, "nobody"); !errors.Is(err, fault.DeviceNotFound) {
		t.Errorf("connections of a device that is not there: %v", err)
	}
	if got := told(t, h, "d"); got != nil {
		t.Errorf("before the first connection: %q", got)
	}
	first, _ := h.connect(device, false)
	h.advance(time.Minute)
	first.Close(nil)
	first.Close(errors.New("twice"))
	h.advance(time.Minute)
	second, _ := h.connect(device, false)
	h.advance(time.Minute)
	third, _ := h.connect(device, false) // takes over from the second
	second.Close(ErrReplaced)
	want := []string{"+12:03", "-12:03 another connection of the device took over", "+12:02", "-12:01", "+12:00"}
	if diff := cmp.Diff(want, told(t, h, "d")); diff != "" {
		t.Error(diff)
	}

	// It outlives the server, which ends what is connected.
	h.reopen()
	third.Close(nil)
	want = append([]string{"-12:03 the hub is shutting down"}, want...)
	if diff := cmp.Diff(want, told(t, h, "d")); diff != "" {
		t.Errorf("after the restart:\n%s", diff)
	}

	// A device that is made anew has no past.
	if err := h.DeleteDevice(ctx, "d", ""); err != nil {
		t.Fatal(err)
	}
	h.advance(time.Minute)
	device = h.create(identity.Device{DeviceID: "d"})
	if got := told(t, h, "d"); got != nil {
		t.Errorf("of the device's namesake: %q", got)
	}
	again, _ := h.connect(device, false)
	again.Close(errors.New(strings.Repeat("x", 1000)))
	if got := told(t, h, "d"); len(got) != 2 || len(got[0]) > maxReason+10 {
		t.Errorf("a long reason is kept as %d bytes, of %d connections", len(got[0]), len(got))
	}
}

func TestConnectionsAreFew(t *testing.T) {
	h := newHouse(t)
	device := h.create(identity.Device{DeviceID: "d"})
	for i := range 30 {
		session, _ := h.connect(device, false)
		session.Close(fmt.Errorf("reason %d", i))
		if i%7 == 0 { // some are in the store, some not yet
			if err := h.activity.write(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := told(t, h, "d")
	if len(got) != connectionsKept || !strings.HasSuffix(got[0], "reason 29") || !strings.HasSuffix(got[18], "reason 20") {
		t.Errorf("%d are kept: %q", len(got), got)
	}
	if len(h.activity.events["d"].Connections) > connectionsKept {
		t.Errorf("%d wait in memory", len(h.activity.events["d"].Connections))
	}
}
