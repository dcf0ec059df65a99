package segment

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-iot/berth/store"
)

// clock is a clock that tests set.
type clock struct{ now atomic.Int64 }

func (c *clock) Now() time.Time { return time.Unix(0, c.now.Load()) }

// TestRetentionByClock lets the clock step back by less than a minute: time stands
// still in the log until the clock has caught up.
func TestRetentionByClock(t *testing.T) {
	dir := t.TempDir()
	c := &clock{}
	options := tiny
	options.Now = c.Now
	var before store.Position
	for i, now := range []int64{1000, 500, 2000, 0, -5, 1999, 3000} {
		c.now.Store(now)
		logs, log := openOne(t, dir, options, 2)
		for range 3 {
			c.now.Add(-10)
			at := appendEach(t, log, 0, "x")[0]
			if at.Time < before.Time {
				t.Fatalf("step %d: time goes from %d back to %d", i, before.Time, at.Time)
			}
			before = at
		}
		closeAll(t, logs)
	}
	if before.Time != 2990 {
		t.Fatalf("time stands at %d, want the latest that the clock said, 2990", before.Time)
	}
}

// TestRetentionByAge lets records grow old: those that are old enough go, even when the
// log is quiet, and no others.
func TestRetentionByAge(t *testing.T) {
	c := &clock{}
	c.now.Store(int64(time.Hour))
	logs, err := Open(t.TempDir(), Options{SegmentSize: 8 << 10, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, logs)
	opened, err := logs.Open("log",
		store.LogOptions{Partitions: 1, Retention: store.Retention{Age: int64(time.Minute)}})
	if err != nil {
		t.Fatal(err)
	}
	log := opened.(*Log)
	record := string(make([]byte, 1000))
	for range 20 {
		appendEach(t, log, 0, record)
	}
	c.now.Add(int64(59 * time.Second))
	young := appendEach(t, log, 0, record)[0]
	log.wakeRetention()
	if got := log.Bounds(0); got.First != 0 {
		t.Fatalf("records went before their time: %+v", got)
	}
	// The older ones go with the segments that hold nothing else.
	c.now.Add(int64(2 * time.Second))
	awaitRetention(t, log, func(b store.Bounds) bool { return b.First > 0 })
	if got := log.Bounds(0); got.First > young.Sequence || got.Next != 21 {
		t.Fatalf("bounds %+v, and record %d is young", got, young.Sequence)
	}
	// A quiet log ends up empty, and goes on where it was.
	c.now.Add(int64(time.Hour))
	awaitRetention(t, log, func(b store.Bounds) bool { return b.First == 21 })
	if got, want := log.Bounds(0), (store.Bounds{First: 21, Next: 21, Last: young}); got != want {
		t.Fatalf("bounds %+v, want %+v", got, want)
	}
	if at := appendEach(t, log, 0, "x")[0]; at.Sequence != 21 {
		t.Fatalf("an emptied log goes on at %+v", at)
	}
}

// awaitRetention lets runRetention work until its work shows.
func awaitRetention(t testing.TB, log *Log, done func(store.Bounds) bool) {
	t.Helper()
	for !done(log.Bounds(0)) {
		select {
		case log.retentionWake <- struct{}{}: // taken only when it begins a round
		case <-log.retentionDone:
			t.Fatal("runRetention has ended")
		case <-t.Context().Done():
			t.Fatal("nothing was dropped")
		}
	}
}

// TestClockAhead lets the clock be 400 days ahead for a while: the records
// afterwards have their own time, the order and what is read stay, and nothing is
// dropped but what is old by the time that is right.
func TestClockAhead(t *testing.T) {
	const day = int64(24 * time.Hour)
	start := 1000 * day
	for _, test := range []struct {
		name string
		jump int64
	}{{"ahead", 400 * day}, {"behind", -900 * day}} {
		t.Run(test.name, func(t *testing.T) {
			c := &clock{}
			var trusted atomic.Bool
			options := Options{SegmentSize: 8 << 10, Now: c.Now, Trusted: trusted.Load}
			dir := t.TempDir()
			logs, err := Open(dir, options)
			if err != nil {
				t.Fatal(err)
			}
			retention := store.LogOptions{Partitions: 1, Retention: store.Retention{Age: 7 * day}}
			opened, err := logs.Open("log", retention)
			if err != nil {
				t.Fatal(err)
			}
			log := opened.(*Log)
			record := string(make([]byte, 1000))
			c.now.Store(start)
			appendN := func(n int) (at store.Position) {
				for range n {
					c.now.Add(int64(time.Second))
					at = appendEach(t, log, 0, record)[0]
				}
				return at
			}
			appendN(10)
			c.now.Add(test.jump)
			wrong := appendN(10)
			log.wakeRetention()
			c.now.Add(-test.jump)
			right := appendN(10)
			if right.Time != c.now.Load() || wrong.Time != start+test.jump+20*int64(time.Second) {
				t.Fatalf("records have the times %d and %d", wrong.Time, right.Time)
			}
			check := func(log *Log) {
				t.Helper()
				if got := contents(t, log, 0); len(got) != 30 {
					t.Fatalf("%d records of 30 are there", len(got))
				}
				for i := range 10 {
					want := start + int64(21+i)*int64(time.Second)
					sequence, err := log.SequenceAt(t.Context(), 0, want)
					if err != nil || sequence > int64(20+i) {
						t.Fatalf("from time %d on: record %d, %v; record %d would be missed", want, sequence, err, 20+i)
					}
				}
			}
			check(log)
			// Opened again from its indexes, and without them.
			closeAll(t, logs)
			if logs, err = Open(dir, options); err != nil {
				t.Fatal(err)
			}
			if opened, err = logs.Open("log", retention); err != nil {
				t.Fatal(err)
			}
			log = opened.(*Log)
			check(log)
			// With the right time, trusted, all of it is young.
			trusted.Store(true)
			rounds := 0
			awaitRetention(t, log, func(store.Bounds) bool { rounds++; return rounds > 3 })
			check(log)
			// And a week later it is old, whatever time the clock showed meanwhile.
			c.now.Add(8 * day)
			last := appendN(1)
			awaitRetention(t, log, func(b store.Bounds) bool { return b.First >= 20 })
			if got := log.Bounds(0); got.Last != last {
				t.Fatalf("bounds %+v", got)
			}
			closeAll(t, logs)
		})
	}
}
