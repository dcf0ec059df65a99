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

func TestTimeNeverGoesBack(t *testing.T) {
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

// TestAge lets records grow old: those that are old enough go, even when the
// log is quiet, and no others.
func TestAge(t *testing.T) {
	c := &clock{}
	c.now.Store(int64(time.Hour))
	logs, err := Open(t.TempDir(), Options{SegmentSize: 8 << 10, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, logs)
	opened, err := logs.Open("log", store.LogOptions{Partitions: 1, Retention: store.Retention{Age: int64(time.Minute)}})
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
	log.tidy()
	if got := log.Bounds(0); got.First != 0 {
		t.Fatalf("records went before their time: %+v", got)
	}
	// The older ones go with the segments that hold nothing else.
	c.now.Add(int64(2 * time.Second))
	awaitHousekeeping(t, log, func(b store.Bounds) bool { return b.First > 0 })
	if got := log.Bounds(0); got.First > young.Sequence || got.Next != 21 {
		t.Fatalf("bounds %+v, and record %d is young", got, young.Sequence)
	}
	// A quiet log ends up empty, and goes on where it was.
	c.now.Add(int64(time.Hour))
	awaitHousekeeping(t, log, func(b store.Bounds) bool { return b.First == 21 })
	if got, want := log.Bounds(0), (store.Bounds{First: 21, Next: 21, Last: young}); got != want {
		t.Fatalf("bounds %+v, want %+v", got, want)
	}
	if at := appendEach(t, log, 0, "x")[0]; at.Sequence != 21 {
		t.Fatalf("an emptied log goes on at %+v", at)
	}
}

// awaitHousekeeping lets the housekeeper work until its work shows.
func awaitHousekeeping(t testing.TB, log *Log, done func(store.Bounds) bool) {
	t.Helper()
	for !done(log.Bounds(0)) {
		select {
		case log.untidy <- struct{}{}: // taken only when it begins a round
		case <-log.housekeeping:
			t.Fatal("the housekeeper is gone")
		case <-t.Context().Done():
			t.Fatal("nothing was dropped")
		}
	}
}
