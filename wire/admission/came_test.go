//go:build unix

package admission

import (
	"io"
	"net"
	"testing"
)

// What comes from those who have proved nothing takes room as connections do: the address
// that has most makes room, and nobody else. With the proof it counts no more.
func TestReceivedBytesWeigh(t *testing.T) {
	d := open(t, &Gate{MaxUnproven: 100}, false)
	clients := make(map[*Conn]net.Conn)
	connect := func(from string) *Conn {
		client := d.dial(from)
		server := d.next()
		clients[server] = client
		return server
	}
	comes := func(server *Conn, bytes int) {
		t.Helper()
		if _, err := clients[server].Write(make([]byte, bytes)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(server, make([]byte, bytes)); err != nil {
			t.Fatal(err)
		}
	}
	honest, proven := connect("127.0.0.1"), connect("127.0.0.2")
	comes(proven, cameFree+50*cameWeight)
	proven.Proven()
	comes(proven, 1000*cameWeight)
	first, second, third := connect("127.0.0.2"), connect("127.0.0.2"), connect("127.0.0.3")

	// Four connections of servedWeight leave 84.
	comes(honest, cameFree)
	comes(second, cameFree+41*cameWeight)
	comes(third, cameFree+43*cameWeight)
	for name, conn := range map[string]*Conn{"honest": honest, "proven": proven, "first": first, "second": second,
		"third": third} {
		if !isOpen(t, clients[conn]) {
			t.Errorf("the connection %q is closed", name)
		}
	}
	comes(third, 2*cameWeight)
	expectEnd(t, clients[first]) // the oldest of the address with most, which is room enough
	comes(third, 3*cameWeight)
	expectEnd(t, clients[third])
	comes(honest, 1000*cameWeight) // of which no more than half of the room counts
	for name, conn := range map[string]*Conn{"honest": honest, "proven": proven, "second": second} {
		if !isOpen(t, clients[conn]) {
			t.Errorf("the connection %q is closed", name)
		}
	}
	if stats := d.Stats(); stats.Refused[Displaced] != 2 || stats.Unproven != 2 {
		t.Errorf("the figures are %+v", stats)
	}
}
