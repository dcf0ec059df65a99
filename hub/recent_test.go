package hub

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRecentTelemetry(t *testing.T) {
	h := newHouse(t)
	one, _ := h.connect(h.create(Device{DeviceID: "one"}), false)
	two, _ := h.connect(h.create(Device{DeviceID: "two"}), false)
	for i := range 6 {
		h.send(one, Message{Payload: fmt.Appendf(nil, "one %d", i)})
		h.advance(time.Second)
		h.send(two, Message{Payload: fmt.Appendf(nil, "two %d", i)})
		h.advance(time.Second)
	}
	for _, test := range []struct {
		device string
		most   int
		want   []string
	}{
		{"one", 3, []string{"one 3", "one 4", "one 5"}},
		{"two", 100, []string{"two 0", "two 1", "two 2", "two 3", "two 4", "two 5"}},
		{"", 3, []string{"two 4", "one 5", "two 5"}},
		{"nobody", 3, nil},
	} {
		messages, err := h.RecentTelemetry(ctx, test.device, test.most)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, message := range messages {
			got = append(got, fmt.Sprint(message.Body))
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("the newest %d of %q:\n%s", test.most, test.device, diff)
		}
	}
}

func TestRecentTelemetryLooksPastOthers(t *testing.T) {
	h := newHouse(t)
	rare, _ := h.connect(h.create(Device{DeviceID: "rare"}), false)
	h.send(rare, Message{Payload: []byte("here")})
	// One of the same partition that sends more than is read at once.
	busy := ""
	for i := 0; busy == ""; i++ {
		if id := fmt.Sprintf("busy-%d", i); partitionOf(id, 4) == partitionOf("rare", 4) {
			busy = id
		}
	}
	session, _ := h.connect(h.create(Device{DeviceID: busy}), false)
	done := make(settled, 1000)
	for range 1000 {
		if err := session.Send(&Message{Payload: []byte("x")}, done, 0); err != nil {
			t.Fatal(err)
		}
	}
	for range 1000 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	messages, err := h.RecentTelemetry(ctx, "rare", 5)
	if err != nil || len(messages) != 1 || messages[0].Body != "here" {
		t.Errorf("found %+v (%v)", messages, err)
	}
}

func TestTraffic(t *testing.T) {
	h := newHouse(t)
	session, _ := h.connect(h.create(Device{DeviceID: "d"}), false)
	for minute, count := range []int{2, 0, 3, 1} {
		h.mutex.Lock()
		h.now = noon.Add(time.Duration(minute)*time.Minute + 30*time.Second)
		h.mutex.Unlock()
		for range count {
			h.send(session, Message{Payload: []byte("x")})
		}
	}
	h.reopen() // it is counted from the log, not in memory
	for _, test := range []struct {
		since time.Time
		step  time.Duration
		want  []int64
	}{
		{noon, time.Minute, []int64{2, 0, 3, 1}},
		{noon, 2 * time.Minute, []int64{2, 4}},
		{noon.Add(2 * time.Minute), time.Minute, []int64{3, 1}},
		{noon.Add(-time.Minute), time.Minute, []int64{0, 2, 0, 3, 1}},
		{noon.Add(time.Hour), time.Minute, nil},
	} {
		got, err := h.Traffic(ctx, test.since, test.step)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("since %s in steps of %s:\n%s", test.since.Format("15:04"), test.step, diff)
		}
	}
}
