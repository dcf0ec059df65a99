// Package clock judges the clock of the system: whether what it says can be
// trusted to tell what is old enough to be deleted. Everything else follows the
// clock, right or wrong.
package clock

import (
	"sync"
	"time"
)

const (
	// step is how much a clock may be set within a moment, or have gone back
	// since the last run, and still be plausible: more than those that are kept
	// right by the network do.
	step = time.Minute

	// absence is how long the process may not have run without being a surprise.
	absence = time.Hour

	// settling is how long a clock must run evenly to be trusted again.
	settling = time.Hour
)

// Config is what a clock is made of.
type Config struct {
	Now     func() time.Time     // the clock of the system
	Elapsed func() time.Duration // time that passes whatever the clock is set to; the process's own when nil
	Last    time.Time            // the last time that the run before is known to have had; zero if there was none
	Lost    bool                 // there was a run before, and nobody knows what time it had

	// Jumped is told by how much the clock was set, when that is implausible. It
	// may not call the clock.
	Jumped func(by time.Duration)
}

// Clock watches the clock of the system. Its methods may be called at once from
// many goroutines.
type Clock struct {
	config Config

	mutex   sync.Mutex
	wall    time.Time     // at the last look
	elapsed time.Duration // likewise
	trusted time.Duration // by elapsed: from when on
	jumped  bool          // it was set, and is not trusted since
	known   time.Time     // what it said when it was trusted last
	since   time.Duration // by elapsed: when that was
}

// New returns a clock that has just been looked at.
func New(config Config) *Clock {
	if config.Elapsed == nil {
		begun := time.Now()
		config.Elapsed = func() time.Duration { return time.Since(begun) }
	}
	c := &Clock{config: config, wall: config.Now().Round(0), elapsed: config.Elapsed()}
	c.trusted, c.known, c.since = c.elapsed, c.wall, c.elapsed
	if gap := c.wall.Sub(config.Last); !config.Last.IsZero() && (gap > absence || gap < -step) {
		c.trusted += settling
		c.known = config.Last
	}
	if config.Lost {
		c.trusted += settling
	}
	return c
}

// Look looks at the clock, and should be called every few seconds.
func (c *Clock) Look() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.look()
}

func (c *Clock) look() {
	wall, elapsed := c.config.Now().Round(0), c.config.Elapsed()
	by := wall.Sub(c.wall) - (elapsed - c.elapsed)
	c.wall, c.elapsed = wall, elapsed
	if by.Abs() > step {
		c.trusted, c.jumped = elapsed+settling, true
		if c.config.Jumped != nil {
			c.config.Jumped(by)
		}
	}
	if elapsed >= c.trusted {
		c.jumped, c.known, c.since = false, wall, elapsed
	}
}

// Earliest returns the earliest time that it may be, which is what the clock says
// while it is trusted: what is to be good from now on must be good from then on, or
// it is not good yet when a clock that was ahead is put right.
func (c *Clock) Earliest() time.Time {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.look()
	if passed := c.known.Add(c.elapsed - c.since); passed.Before(c.wall) {
		return passed
	}
	return c.wall
}

// Trusted reports whether the clock can be trusted to delete by what it says. It
// looks first.
func (c *Clock) Trusted() bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.look()
	return c.elapsed >= c.trusted
}

// Jumped reports whether the clock was set by an implausible amount and is not
// trusted since.
func (c *Clock) Jumped() bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.jumped
}
