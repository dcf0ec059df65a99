//go:build unix

package admission

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"
)

func TestWindow(t *testing.T) {
	w := window{span: windowTime, least: windowMin}
	now := time.Unix(1000, 0)
	storm := new(source)
	fill := func(n int) (entered []*Conn) {
		t.Helper()
		for len(entered) < n {
			if d := w.delay(storm, now); d != 0 {
				t.Fatalf("connection %d of %d has to wait %v", len(entered), n, d)
			}
			c := &Conn{source: storm}
			w.enter(c, now)
			entered = append(entered, c)
		}
		return entered
	}
	expectDelay := func(want time.Duration) {
		t.Helper()
		if got := w.delay(storm, now); got != want {
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
	now = now.Add(windowTime / 2)
	w.countProof(now)
	fill(1)
	expectDelay(windowTime / 2)

	// Who has nothing in the middle may come in addition, up to a limit.
	limit := windowExtra * w.middle.Len()
	for w.delay(new(source), now) == 0 && w.middle.Len() < 2*limit {
		w.enter(&Conn{source: new(source)}, now)
	}
	if got := w.middle.Len(); got != limit {
		t.Errorf("with newcomers %d are in the middle, want %d", got, limit)
	}

	// What was long ago does not count.
	now = now.Add(10 * windowTime)
	fill(windowMin)
	expectDelay(windowTime)
	for c := w.middle.Front(); c != nil; c = w.middle.Front() {
		w.leave(c.Value.(*Conn))
	}
	expectDelay(0)
}

// TestWindowOfStrangers: clients that stay in the middle of their handshake keep those
// of their own address waiting, and nobody else.
func TestWindowOfStrangers(t *testing.T) {
	gate := &Gate{HandshakeTimeout: time.Minute, TurnTimeout: time.Minute}
	const most = 8
	gate.window.span, gate.window.least = time.Hour, most // else they are many, and not counted for long
	d := open(t, gate, true)
	hello := clientHello(t, d.client)
	var conns []net.Conn
	for range 2 * most {
		conn := d.dial("127.0.0.2")
		if _, err := conn.Write(hello); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	// One or two more may have begun before the last ones were counted.
	until(t, "the window is full", func() bool { return d.middle() >= most && d.middle()+d.Stats().Waiting == 2*most })
	waiting := d.Stats().Waiting
	_, other := d.handshake("127.0.0.1")
	other.Proven()
	if got := d.Stats().Waiting; got != waiting || waiting == 0 {
		t.Errorf("%d wait when another address has come in, and %d before", got, waiting)
	}
	for _, conn := range conns {
		conn.Close()
	}
	until(t, "all have gone", func() bool { return d.Stats().Waiting == 0 && d.middle() == 0 })
}

// TestHandshakeWindow: what costs the server nothing takes no place.
func TestHandshakeWindow(t *testing.T) {
	gate := &Gate{HandshakeTimeout: time.Minute, TurnTimeout: time.Minute}
	gate.window.span, gate.window.least = time.Hour, 8
	d := open(t, gate, true)
	hello := clientHello(t, d.client)
	const strangers = 50
	for range strangers {
		if _, err := d.dial("127.0.0.2").Write(hello[:len(hello)-1]); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all have begun", func() bool { return d.Stats().Unproven == strangers })
	if n := d.middle(); n != 0 {
		t.Errorf("%d are in the middle", n)
	}
}

func (d *door) middle() int {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return d.window.middle.Len()
}

// clientHello is what a client begins its handshake with.
func clientHello(t *testing.T, config *tls.Config) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		tls.Client(client, config).Handshake() // fails when the pipe is closed
		client.Close()
	}()
	header := make([]byte, 5)
	if _, err := io.ReadFull(server, header); err != nil {
		t.Fatal(err)
	}
	record := make([]byte, int(header[3])<<8|int(header[4]))
	if _, err := io.ReadFull(server, record); err != nil {
		t.Fatal(err)
	}
	return append(header, record...)
}
