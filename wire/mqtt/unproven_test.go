package mqtt

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// provable is a listener whose connections can be proven.
type provable struct{ net.Listener }

type provableConn struct{ net.Conn }

func (l provable) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return provableConn{conn}, err
}

func (provableConn) Proven() {}

// unproven answers each message after an hour and counts them. A client that is called
// "proven" has proved who it is.
type unproven struct{ requests atomic.Int64 }

type unprovenSession struct {
	quietSession
	*unproven
}

func (u *unproven) Open(_ context.Context, conn *Conn, connect *Connect) (Session, bool, ConnectCode) {
	if connect.ClientID == "proven" {
		conn.Proven()
	}
	return &unprovenSession{quietSession{conn}, u}, false, Accepted
}

func (s *unprovenSession) Publish(message *Publish) error {
	s.requests.Add(1)
	return s.conn.RespondNotBefore(time.Now().Add(time.Hour), "t", message.Payload, 0)
}

// Fewer answers wait for a client that has proved nothing.
func TestAnswersBeforeTheProof(t *testing.T) {
	const requests, size = 16, maxUnproven / 2
	for id, want := range map[string]int64{"proven": requests, "nobody": 2} {
		t.Run(id, func(t *testing.T) {
			backend := new(unproven)
			client := dial(t,
				startOn(t, &Server{Backend: backend}, func(l net.Listener) net.Listener { return provable{l} }))
			client.send("\x10\x12\x00\x04MQTT\x04\x02\x00\x00\x00\x06" + id)
			client.expect(accepted)
			client.send(strings.Repeat(request("t", strings.Repeat("x", size)), requests))
			until(t, "what may be answered is", func() bool { return backend.requests.Load() == want })
			time.Sleep(50 * time.Millisecond)
			if got := backend.requests.Load(); got != want {
				t.Errorf("answers to %d requests wait, want %d", got, want)
			}
		})
	}
}
