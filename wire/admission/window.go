package admission

import (
	"container/list"
	"time"
)

// window bounds how many connections are in the middle: the server has done its part
// of their handshake, and they have neither proved who they are nor gone. New
// handshakes begin as fast as old ones are finished, so nobody waits in the middle for
// much longer than windowTime because of those who came later. A connection that takes
// longer by itself is not counted any more: a stranger who stays in the middle takes a
// place for that long at most. An address with nothing in the middle may begin when the
// window is full, as long as there are not windowExtra times as many.
//
// Without it, a server that begins handshakes faster than its clients go on with
// them has thousands in the middle; each takes so long that its client gives up, and
// all that was done for it was for nothing.
type window struct {
	span   time.Duration // windowTime
	least  int           // windowMin
	middle list.List     // of *Conn, in the order in which they began

	// How many proved who they are in the period that began at start, and in the
	// period before.
	start             time.Time
	current, previous int
}

const (
	windowTime = 2 * time.Second

	// windowMin is how many may be in the middle of a server to which nobody has
	// come for a while.
	windowMin = 512

	windowExtra = 4
)

// delay is how long a new handshake of a source has to wait unless somebody leaves
// before. Zero means not at all.
func (w *window) delay(s *source, now time.Time) time.Duration {
	w.advance(now)
	for first := w.middle.Front(); first != nil; first = w.middle.Front() {
		c := first.Value.(*Conn)
		if left := w.span - now.Sub(c.entered); left > 0 {
			limit := max(w.least, w.previous+w.current)
			if s.middle == 0 {
				limit *= windowExtra
			}
			if w.middle.Len() < limit {
				return 0
			}
			return left
		}
		w.leave(c)
	}
	return 0
}

func (w *window) enter(c *Conn, now time.Time) {
	c.entered = now
	c.middle = w.middle.PushBack(c)
	c.source.middle++
}

// leave reports whether the connection was counted until now.
func (w *window) leave(c *Conn) bool {
	if c.middle == nil {
		return false
	}
	w.middle.Remove(c.middle)
	c.middle = nil
	c.source.middle--
	return true
}

// countProof counts a connection that has proved who it is.
func (w *window) countProof(now time.Time) {
	w.advance(now)
	w.current++
}

// advance starts a new period when the present one is over.
func (w *window) advance(now time.Time) {
	age, period := now.Sub(w.start), w.span/2
	if age < period {
		return
	}
	w.previous = 0
	if age < 2*period {
		w.previous = w.current
	}
	w.current, w.start = 0, now
}
