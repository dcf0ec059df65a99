package hub

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/store"
)

func TestRecentTelemetry(t *testing.T) {
	h := newHouse(t)
	one, _ := h.connect(h.create(Device{DeviceID: "one"}), false)
	two, _ := h.connect(h.create(Device{DeviceID: "two"}), false)
	for i := range 6 {
		h.send(one, message.Message{Payload: fmt.Appendf(nil, "one %d", i)})
		h.advance(time.Second)
		h.send(two, message.Message{Payload: fmt.Appendf(nil, "two %d", i)})
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
	h.send(rare, message.Message{Payload: []byte("here")})
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
		if err := session.Send(&message.Message{Payload: []byte("x")}, done, 0); err != nil {
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
			h.send(session, message.Message{Payload: []byte("x")})
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

// countedLog counts what is read of a log.
type countedLog struct {
	store.Log
	records, places int
}

func (l *countedLog) Read(ctx context.Context, partition int, from int64, maxRecords, maxBytes int) ([]store.Record, error) {
	records, err := l.Log.Read(ctx, partition, from, maxRecords, maxBytes)
	l.records += len(records)
	return records, err
}

func (l *countedLog) SequenceAt(ctx context.Context, partition int, unixNano int64) (int64, error) {
	l.places++
	return l.Log.SequenceAt(ctx, partition, unixNano)
}

// A search that is repeated finds what a new one finds, and reads only what is new.
func TestRecentSearchReadsOnlyWhatIsNew(t *testing.T) {
	h := newHouse(t)
	one, _ := h.connect(h.create(Device{DeviceID: "one"}), false)
	two, _ := h.connect(h.create(Device{DeviceID: "two"}), false)
	for range 300 {
		h.send(two, message.Message{Payload: []byte("early")})
	}
	log := &countedLog{Log: h.config.Telemetry}
	ids := []string{"one", "two", "", "nobody"}
	searches := make(map[string]*RecentSearch)
	for _, id := range ids {
		searches[id] = h.SearchRecent(id, 3)
	}
	for round := range 10 {
		h.send(two, message.Message{Payload: fmt.Appendf(nil, "two %d", round)})
		h.advance(time.Second)
		if round%3 == 0 {
			h.send(one, message.Message{Payload: fmt.Appendf(nil, "one %d", round)})
			h.advance(time.Second)
		}
		for _, id := range ids {
			want, err := h.RecentTelemetry(ctx, id, 3)
			if err != nil {
				t.Fatal(err)
			}
			plain := h.config.Telemetry
			log.records, h.config.Telemetry = 0, log
			got, err := searches[id].Look(ctx)
			h.config.Telemetry = plain
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("round %d, the newest of %q, error %v:\n%s", round, id, err, diff)
			}
			if round > 0 && log.records > 2 {
				t.Errorf("round %d, the newest of %q: %d records were read for at most 2 new ones", round, id, log.records)
			}
		}
	}
}

// What a chart asks for again is not looked up again, but for what still changes.
func TestTrafficIsLookedUpOnce(t *testing.T) {
	h := newHouse(t)
	session, _ := h.connect(h.create(Device{DeviceID: "d"}), false)
	log := &countedLog{Log: h.config.Telemetry}
	h.config.Telemetry = log
	var want []int64
	for minute := range 10 {
		h.advance(30 * time.Second)
		h.send(session, message.Message{Payload: []byte("x")})
		want = append(want, 1)
		log.places = 0
		got, err := h.Traffic(ctx, noon, time.Minute)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("in minute %d, error %v:\n%s", minute, err, diff)
		}
		if log.places > 1 {
			t.Errorf("in minute %d the log was asked for %d times, one of them new", minute, log.places)
		}
		h.advance(30 * time.Second)
	}
}

// TestRecentTelemetryOfAClockAhead sends while the clock is a day ahead: what comes
// when it is right again is newer all the same.
func TestRecentTelemetryOfAClockAhead(t *testing.T) {
	h := newHouse(t)
	var sessions []*Session
	for _, id := range []string{"a", "b", "c"} { // in several partitions
		s, _ := h.connect(h.create(Device{DeviceID: id}), false)
		sessions = append(sessions, s)
	}
	i := 0
	for _, by := range []time.Duration{time.Second, 24 * time.Hour, -24*time.Hour + time.Second} {
		h.advance(by)
		for _, s := range sessions {
			h.send(s, message.Message{Payload: []byte(fmt.Sprint(i))})
			i++
			h.advance(time.Millisecond)
		}
	}
	for _, id := range []string{"", "b"} {
		messages, err := h.RecentTelemetry(ctx, id, 100)
		if err != nil {
			t.Fatal(err)
		}
		last := map[string]string{}
		for _, m := range messages {
			if body := fmt.Sprint(m.Body); body <= last[m.DeviceID] {
				t.Errorf("of %q: message %s of %s comes after %s", id, body, m.DeviceID, last[m.DeviceID])
			} else {
				last[m.DeviceID] = body
			}
		}
		if newest := messages[len(messages)-1]; id == "" && fmt.Sprint(newest.Body) != "8" {
			t.Errorf("the newest message is %v, want 8", newest.Body)
		}
	}
}
