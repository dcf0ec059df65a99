package admission

import "testing"

// A client that gives up before its turn gets none, and frees its place at once: no
// handshake is done for nobody.
func TestClientLeavesQueue(t *testing.T) {
	d := occupied(t, &Gate{})
	for range 100 {
		conn, done := d.hello("")
		conn.Close()
		<-done
		until(t, "it is gone", func() bool { return d.Stats().Connections == 0 })
	}
	conn, done := d.hello("")
	d.release()
	if err := <-done; err != nil || d.next().RemoteAddr().String() != conn.LocalAddr().String() {
		t.Errorf("the client that stayed: %v", err)
	}
	if got := d.Stats().Refused[Gone]; got != 100 || d.HandshakeFailures() != 0 {
		t.Errorf("%d have gone before and %d in their handshake, want 100 and 0", got, d.HandshakeFailures())
	}
}
