// Package clocktest is a clock for tests, which stands until it is moved.
package clocktest

import (
	"sync"
	"time"
)

// Clock is a clock that a test moves while what it tests reads it. The zero value shows
// the zero time.
type Clock struct {
	mutex sync.Mutex
	now   time.Time
}

// Now is the time that the clock shows.
func (c *Clock) Now() time.Time {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.now
}

// Set has the clock show another time.
func (c *Clock) Set(now time.Time) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.now = now
}

// Advance moves the clock, back if d is negative.
func (c *Clock) Advance(d time.Duration) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.now = c.now.Add(d)
}
