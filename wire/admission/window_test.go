//go:build unix

package admission

import (
	"testing"
	"time"
)

func TestWindow(t *testing.T) {
	var w window
	now := time.Unix(1000, 0)
	fill := func(n int) (entered []*Conn) {
		t.Helper()
		for len(entered) < n {
			if d := w.delay(now); d != 0 {
				t.Fatalf("connection %d of %d has to wait %v", len(entered), n, d)
			}
			c := new(Conn)
			w.enter(c, now)
			entered = append(entered, c)
		}
		return entered
	}
	expectDelay := func(want time.Duration) {
		t.Helper()
		if got := w.delay(now); got != want {
			t.Errorf("at %v a new handshake waits %v, want %v", now.Sub(time.Unix(1000, 0)), got, want)
		}
	}

	first := fill(windowMin)
	expectDelay(windowTime)
	if !w.leave(first[7]) || w.leave(first[7]) {
		t.Error("a connection does not leave exactly once")
	}
	fill(1)
	expectDelay(windowTime)
	now = now.Add(windowTime / 4)
	expectDelay(windowTime * 3 / 4)

	// Those that stay are not counted for ever.
	now = now.Add(windowTime * 3 / 4)
	fill(windowMin)
	expectDelay(windowTime)

	// As many may be in the middle as have left it lately, with a proof.
	for range 3 * windowMin {
		w.countProof(now)
	}
	fill(2 * windowMin)
	expectDelay(windowTime)
	now = now.Add(windowPeriod)
	w.countProof(now)
	fill(1)
	expectDelay(windowPeriod)

	// What was long ago does not count.
	now = now.Add(10 * windowTime)
	fill(windowMin)
	expectDelay(windowTime)
	for c := w.middle.Front(); c != nil; c = w.middle.Front() {
		w.leave(c.Value.(*Conn))
	}
	expectDelay(0)
}

// TestWindowOfStrangers: clients that stay in the middle of their handshake take
// their places for a short time, and share them with the other addresses.
func TestWindowOfStrangers(t *testing.T) {
	d := open(t, &Gate{HandshakeTimeout: time.Minute, TurnTimeout: time.Minute}, true)
	const strangers = windowMin + 200
	for range strangers {
		// All of a ClientHello but its end.
		if _, err := d.dial("127.0.0.2").Write([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the window is full", func() bool { return d.Stats().Unproven >= windowMin })
	d.handshake("127.0.0.1")
	until(t, "all have begun", func() bool { return d.Stats().Unproven > strangers })
}
