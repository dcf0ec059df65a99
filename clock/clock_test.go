package clock

import (
	"slices"
	"testing"
	"time"
)

const day = 24 * time.Hour

// world is time as it passes and what the clock on the wall says of it.
type world struct {
	elapsed time.Duration
	wall    time.Time
	jumps   []time.Duration
}

func newWorld() *world { return &world{wall: time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)} }

func (w *world) config(last time.Time) Config {
	return Config{Now: func() time.Time { return w.wall }, Elapsed: func() time.Duration { return w.elapsed },
		Last: last, Jumped: func(by time.Duration) { w.jumps = append(w.jumps, by) }}
}

func (w *world) pass(d time.Duration) { w.elapsed, w.wall = w.elapsed+d, w.wall.Add(d) }

// TestJump sets the clock ahead for seventeen seconds: it is not trusted then, nor
// for an hour after it is right again.
func TestJump(t *testing.T) {
	w := newWorld()
	c := New(w.config(time.Time{}))
	expect := func(when string, trusted, jumped bool) {
		t.Helper()
		if got := c.Trusted(); got != trusted || c.Jumped() != jumped {
			t.Fatalf("%s: trusted %v, jumped %v", when, got, c.Jumped())
		}
	}
	expect("at first", true, false)
	w.pass(10 * time.Hour)
	expect("after ten hours", true, false)
	w.wall = w.wall.Add(59 * time.Second)
	expect("after a small correction", true, false)
	w.wall = w.wall.Add(400 * day)
	expect("400 days ahead", false, true)
	w.pass(17 * time.Second)
	c.Look()
	if early := c.Earliest(); !early.Equal(w.wall.Add(-400 * day)) {
		t.Errorf("the earliest that it may be is %v", early)
	}
	w.wall = w.wall.Add(-400 * day)
	expect("right again", false, true)
	w.pass(time.Hour - time.Second)
	expect("an hour later, nearly", false, true)
	w.pass(time.Second)
	expect("an hour later", true, false)
	if !slices.Equal(w.jumps, []time.Duration{400 * day, -400 * day}) {
		t.Fatalf("told of %v", w.jumps)
	}
	// A clock that is set for good is believed after an hour.
	w.wall = w.wall.Add(-day)
	expect("a day behind", false, true)
	w.pass(time.Hour)
	expect("and an hour later", true, false)
	if early := c.Earliest(); !early.Equal(w.wall) {
		t.Errorf("the earliest that it may be is %v", early)
	}
}

// TestLost has a clock of which nobody knows whether it goes on from the run before.
func TestLost(t *testing.T) {
	w := newWorld()
	config := w.config(time.Time{})
	config.Lost = true
	c := New(config)
	if c.Trusted() || c.Jumped() {
		t.Errorf("trusted %v, jumped %v", c.Trusted(), c.Jumped())
	}
	w.pass(time.Hour)
	if !c.Trusted() {
		t.Error("after an hour: not trusted")
	}
}

// TestRestart is not trusted at once when the time between two runs is a surprise.
func TestRestart(t *testing.T) {
	for _, test := range []struct {
		gap     time.Duration
		trusted bool
	}{{0, true}, {time.Minute, true}, {59 * time.Minute, true}, {-30 * time.Second, true}, {2 * time.Hour, false},
		{400 * day, false}, {-2 * time.Minute, false}} {
		w := newWorld()
		c := New(w.config(w.wall.Add(-test.gap)))
		if got := c.Trusted(); got != test.trusted || c.Jumped() {
			t.Errorf("after %v: trusted %v, jumped %v", test.gap, got, c.Jumped())
		}
		w.pass(time.Hour)
		if !c.Trusted() {
			t.Errorf("after %v and an hour: not trusted", test.gap)
		}
	}
}
