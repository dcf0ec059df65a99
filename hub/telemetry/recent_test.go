package telemetry

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/store"
)

func TestRecent(t *testing.T) {
	f := newFixture(t)
	one := f.sender("one")
	two := f.sender("two")
	for i := range 6 {
		f.send(one, message.Message{Payload: fmt.Appendf(nil, "one %d", i)})
		f.clock.Advance(time.Second)
		f.send(two, message.Message{Payload: fmt.Appendf(nil, "two %d", i)})
		f.clock.Advance(time.Second)
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
		messages, err := f.Recent(ctx, test.device, test.most)
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

func TestRecentLooksPastOthers(t *testing.T) {
	f := newFixture(t)
	rare := f.sender("rare")
	f.send(rare, message.Message{Payload: []byte("here")})
	// One of the same partition that sends more than is read at once.
	busy := ""
	for i := 0; busy == ""; i++ {
		if id := fmt.Sprintf("busy-%d", i); partitionOf(id, 4) == partitionOf("rare", 4) {
			busy = id
		}
	}
	sender := f.sender(busy)
	done := make(settled, 1000)
	for range 1000 {
		if err := sender.Send(&message.Message{Payload: []byte("x")}, done, 0); err != nil {
			t.Fatal(err)
		}
	}
	for range 1000 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	messages, err := f.Recent(ctx, "rare", 5)
	if err != nil || len(messages) != 1 || messages[0].Body != "here" {
		t.Errorf("found %+v (%v)", messages, err)
	}
}

func TestTraffic(t *testing.T) {
	f := newFixture(t)
	sender := f.sender("d")
	for minute, count := range []int{2, 0, 3, 1} {
		f.clock.Set(noon.Add(time.Duration(minute)*time.Minute + 30*time.Second))
		for range count {
			f.send(sender, message.Message{Payload: []byte("x")})
		}
	}
	f.reopen() // it is counted from the log, not in memory
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
		got, err := f.Traffic(ctx, test.since, test.step)
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

func (l *countedLog) Read(ctx context.Context, partition int, from int64, maxRecords,
	maxBytes int) ([]store.Record, error) {
	records, err := l.Log.Read(ctx, partition, from, maxRecords, maxBytes)
	l.records += len(records)
	return records, err
}

func (l *countedLog) SequenceAt(ctx context.Context, partition int, unixNano int64) (int64, error) {
	l.places++
	return l.Log.SequenceAt(ctx, partition, unixNano)
}

// A search that is repeated finds what a new one finds, and reads only what is new.
func TestSearchReadsOnlyWhatIsNew(t *testing.T) {
	f := newFixture(t)
	one := f.sender("one")
	two := f.sender("two")
	for range 300 {
		f.send(two, message.Message{Payload: []byte("early")})
	}
	log := &countedLog{Log: f.config.Log}
	ids := []string{"one", "two", "", "nobody"}
	searches := make(map[string]*Search)
	for _, id := range ids {
		searches[id] = f.Search(id, 3)
	}
	for round := range 10 {
		f.send(two, message.Message{Payload: fmt.Appendf(nil, "two %d", round)})
		f.clock.Advance(time.Second)
		if round%3 == 0 {
			f.send(one, message.Message{Payload: fmt.Appendf(nil, "one %d", round)})
			f.clock.Advance(time.Second)
		}
		for _, id := range ids {
			want, err := f.Recent(ctx, id, 3)
			if err != nil {
				t.Fatal(err)
			}
			plain := f.config.Log
			log.records, f.config.Log = 0, log
			got, err := searches[id].Look(ctx)
			f.config.Log = plain
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("round %d, the newest of %q, error %v:\n%s", round, id, err, diff)
			}
			if round > 0 && log.records > 2 {
				t.Errorf("round %d, the newest of %q: %d records were read for at most 2 new ones", round, id,
					log.records)
			}
		}
	}
}

// What a chart asks for again is not looked up again, but for what still changes.
func TestTrafficIsLookedUpOnce(t *testing.T) {
	f := newFixture(t)
	sender := f.sender("d")
	log := &countedLog{Log: f.config.Log}
	f.config.Log = log
	var want []int64
	for minute := range 10 {
		f.clock.Advance(30 * time.Second)
		f.send(sender, message.Message{Payload: []byte("x")})
		want = append(want, 1)
		log.places = 0
		got, err := f.Traffic(ctx, noon, time.Minute)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("in minute %d, error %v:\n%s", minute, err, diff)
		}
		if log.places > 1 {
			t.Errorf("in minute %d the log was asked for %d times, one of them new", minute, log.places)
		}
		f.clock.Advance(30 * time.Second)
	}
}

// TestRecentOfAClockAhead sends while the clock is a day ahead: what comes
// when it is right again is newer all the same.
func TestRecentOfAClockAhead(t *testing.T) {
	f := newFixture(t)
	var senders []*Sender
	for _, id := range []string{"a", "b", "c"} { // in several partitions
		s := f.sender(id)
		senders = append(senders, s)
	}
	i := 0
	for _, by := range []time.Duration{time.Second, 24 * time.Hour, -24*time.Hour + time.Second} {
		f.clock.Advance(by)
		for _, s := range senders {
			f.send(s, message.Message{Payload: []byte(fmt.Sprint(i))})
			i++
			f.clock.Advance(time.Millisecond)
		}
	}
	for _, id := range []string{"", "b"} {
		messages, err := f.Recent(ctx, id, 100)
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
