package clocktest

import (
	"sync"
	"testing"
	"time"
)

// TestClock stands until it is moved, either way, and may be read meanwhile.
func TestClock(t *testing.T) {
	var c Clock
	if !c.Now().IsZero() {
		t.Errorf("a new clock shows %s", c.Now())
	}
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	c.Set(noon)
	for _, step := range []time.Duration{time.Hour, -2 * time.Hour, 0} {
		before := c.Now()
		if c.Advance(step); c.Now().Sub(before) != step {
			t.Errorf("it was moved by %s from %s, and shows %s", step, before, c.Now())
		}
	}
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for last := noon.Add(-time.Hour); last.Before(noon); {
				now := c.Now()
				if now.Before(last) {
					t.Errorf("it showed %s, and then %s", last, now)
				}
				last = now
			}
		})
	}
	for c.Now().Before(noon) {
		c.Advance(time.Minute)
	}
	readers.Wait()
}
