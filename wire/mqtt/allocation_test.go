//go:build !race

package mqtt

import "testing"

// The race detector makes pools forget, so this runs without it. The client is
// in the same process and allocates nothing either.
func TestPublishAllocatesNothing(t *testing.T) {
	p := newPublisher(t, 16)
	if n := testing.AllocsPerRun(500, func() { p.send(t) }); n >= 1 {
		t.Errorf("%v allocations in 16 messages", n)
	}
}
