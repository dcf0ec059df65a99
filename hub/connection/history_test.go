package connection_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/connection"
	"github.com/berth-iot/berth/hub/hubtest"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/message"
)

// summarize writes a history as the tests write it: + for an arrival, - for a departure
// with its reason, newest first.
func summarize(t *testing.T, h *fixture, id string) (lines []string) {
	t.Helper()
	connections, err := h.Connections().History(ctx, id)
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

func TestHistory(t *testing.T) {
	h := newFixture(t)
	device := h.Create(identity.Device{DeviceID: "d"})
	if _, err := h.Connections().History(ctx, "nobody"); !errors.Is(err, fault.DeviceNotFound) {
		t.Errorf("connections of a device that is not there: %v", err)
	}
	if got := summarize(t, h, "d"); got != nil {
		t.Errorf("before the first connection: %q", got)
	}
	first, _ := h.Connect(device, false)
	h.Advance(time.Minute)
	first.Close(nil)
	first.Close(errors.New("twice"))
	h.Advance(time.Minute)
	second, _ := h.Connect(device, false)
	h.Advance(time.Minute)
	third, _ := h.Connect(device, false) // takes over from the second
	second.Close(connection.ErrReplaced)
	want := []string{"+12:03", "-12:03 another connection of the device took over", "+12:02", "-12:01", "+12:00"}
	if diff := cmp.Diff(want, summarize(t, h, "d")); diff != "" {
		t.Error(diff)
	}

	// It outlives the server, which ends what is connected.
	h.Reopen()
	third.Close(nil)
	want = append([]string{"-12:03 the hub is shutting down"}, want...)
	if diff := cmp.Diff(want, summarize(t, h, "d")); diff != "" {
		t.Errorf("after the restart:\n%s", diff)
	}

	// A device that is made anew has no past.
	if err := h.DeleteDevice(ctx, "d", ""); err != nil {
		t.Fatal(err)
	}
	h.Advance(time.Minute)
	device = h.Create(identity.Device{DeviceID: "d"})
	if got := summarize(t, h, "d"); got != nil {
		t.Errorf("of the device's namesake: %q", got)
	}
	again, _ := h.Connect(device, false)
	again.Close(errors.New(strings.Repeat("x", 1000)))
	if got := summarize(t, h, "d"); len(got) != 2 || len(got[0]) > connection.MaxReason+10 {
		t.Errorf("a long reason is kept as %d bytes, of %d connections", len(got[0]), len(got))
	}
}

func TestHistoryIsShort(t *testing.T) {
	h := newFixture(t)
	device := h.Create(identity.Device{DeviceID: "d"})
	for i := range 30 {
		session, _ := h.Connect(device, false)
		session.Close(fmt.Errorf("reason %d", i))
		if i%7 == 0 { // some are in the store, some not yet
			if err := h.Connections().WriteActivity(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := summarize(t, h, "d")
	if len(got) != connection.HistoryLength || !strings.HasSuffix(got[0], "reason 29") ||
		!strings.HasSuffix(got[18], "reason 20") {
		t.Errorf("%d are kept: %q", len(got), got)
	}
	if len(h.Connections().Unwritten("d")) > connection.HistoryLength {
		t.Errorf("%d wait in memory", len(h.Connections().Unwritten("d")))
	}
}

func TestActivity(t *testing.T) {
	h := newFixture(t)
	device := h.Create(identity.Device{DeviceID: "d"})
	session, _ := h.Connect(device, false)
	h.Advance(time.Minute)
	h.Send(session, message.Message{Payload: []byte("x")})
	if seen, _ := h.Device(ctx, "d"); seen.ConnectionState != "Connected" ||
		!seen.LastActivityTime.Equal(hubtest.Noon.Add(time.Minute)) ||
		!seen.ConnectionStateUpdatedTime.Equal(hubtest.Noon) {
		t.Errorf("while connected it is %+v", seen)
	}
	if statistics, _ := h.Connections().Statistics(ctx); statistics.ConnectedDeviceCount != 1 {
		t.Errorf("%d devices are connected", statistics.ConnectedDeviceCount)
	}
	h.Advance(time.Minute)
	session.Close(nil)
	h.Reopen()
	if seen, _ := h.Device(ctx, "d"); seen.ConnectionState != "Disconnected" ||
		!seen.LastActivityTime.Equal(hubtest.Noon.Add(time.Minute)) ||
		!seen.ConnectionStateUpdatedTime.Equal(hubtest.Noon.Add(2*time.Minute)) {
		t.Errorf("afterwards it is %+v", seen)
	}
}
