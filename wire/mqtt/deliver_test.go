package mqtt

import (
	"context"
	"slices"
	"testing"
)

// owing owes its client a message of an earlier connection, and sends another one with
// an id that it reserved before.
type owing struct {
	done     chan uint16 // ids of what was acknowledged
	reserved chan uint16
}

func (o *owing) Open(_ context.Context, conn *Conn, _ *Connect) (Session, bool, ConnectCode) {
	const former = 1 // which the connection would give to its first message itself
	if err := conn.Deliver("a", []byte("owed"), former, true, o.settled(former)); err != nil {
		panic(err)
	}
	id, err := conn.Reserve()
	if err == nil {
		err = conn.Publish("b", []byte("other"), 1, false, o.settled(0))
	}
	if err == nil {
		err = conn.Deliver("c", []byte("reserved"), id, false, o.settled(id))
	}
	if err != nil {
		panic(err)
	}
	o.reserved <- id
	return &quietSession{conn}, true, Accepted
}

func (o *owing) settled(id uint16) func(error) {
	return func(err error) {
		if err == nil {
			o.done <- id
		}
	}
}

// A message that is owed goes out again with its id and DUP, ids that are reserved are
// nobody else's, and each is settled by its PUBACK.
func TestDeliver(t *testing.T) {
	o := &owing{done: make(chan uint16, 3), reserved: make(chan uint16, 1)}
	client := dial(t, start(t, &Server{Backend: o}))
	client.send(connectPacket)
	id := <-o.reserved
	if id == 1 {
		t.Fatal("the id of what is owed was given away")
	}
	other := id + 1
	client.expect(string(slices.Concat([]byte{0x20, 2, 1, 0},
		appendPublish(nil, "a", []byte("owed"), 1, false, true, 1),
		appendPublish(nil, "b", []byte("other"), 1, false, false, other),
		appendPublish(nil, "c", []byte("reserved"), 1, false, false, id))))
	for _, c := range []struct{ packet, settles uint16 }{{id, id}, {1, 1}, {other, 0}} {
		client.send(string(appendPuback(nil, c.packet)))
		if got := <-o.done; got != c.settles {
			t.Errorf("PUBACK of %d settles %d, want %d", c.packet, got, c.settles)
		}
	}
}
