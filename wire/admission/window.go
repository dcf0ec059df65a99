package admission

import (
	"container/list"
	"time"
)

// window bounds how many connections are in the middle: their handshake has begun,
// and they have neither proved who they are nor gone. New handshakes begin as fast
// as old ones are finished, so nobody waits in the middle for much longer than
// windowTime because of those who came later. A connection that takes longer by
// itself is not counted any more: a stranger who stays in the middle takes a place
// for that long at most.
//
// Without it, a server that begins handshakes faster than its clients go on with
// them has thousands in the middle; each takes so long that its client gives up, and
// all that was done for it was for nothing.
type window struct {
	middle list.List // of *Conn, in the order in which they began

	// How many proved who they are in the period that began at start, and in the
	// period before.
	start             time.Time
	current, previous int
}

const (
	windowTime   = 2 * time.Second
	windowPeriod = windowTime / 2

	// windowMin is how many may be in the middle of a server to which nobody has
	// come for a while.
	windowMin = 512
)

// delay is how long a new handshake has to wait unless somebody leaves before. Zero
// means not at all.
func (w *window) delay(now time.Time) time.Duration {
	w.advance(now)
	for first := w.middle.Front(); first != nil; first = w.middle.Front() {
		c := first.Value.(*Conn)
		if left := windowTime - now.Sub(c.began); left > 0 {
			if w.middle.Len() < max(windowMin, w.previous+w.current) {
				return 0
			}
			return left
		}
		w.leave(c)
	}
	return 0
}

func (w *window) enter(c *Conn, now time.Time) {
	c.began = now
	c.middle = w.middle.PushBack(c)
}

// leave reports whether the connection was counted until now.
func (w *window) leave(c *Conn) bool {
	if c.middle == nil {
		return false
	}
	w.middle.Remove(c.middle)
	c.middle = nil
	return true
}

// countProof counts a connection that has proved who it is.
func (w *window) countProof(now time.Time) {
	w.advance(now)
	w.current++
}

// advance starts a new period when the present one is over.
func (w *window) advance(now time.Time) {
	age := now.Sub(w.start)
	if age < windowPeriod {
		return
	}
	w.previous = 0
	if age < 2*windowPeriod {
		w.previous = w.current
	}
	w.current, w.start = 0, now
}
