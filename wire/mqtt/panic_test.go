package mqtt

import (
	"context"
	"errors"
	"net"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"
)

// panicking is a backend that panics where its clients' names say.
type panicking struct {
	mutex sync.Mutex
	ended map[string]chan error
}

type panickingSession struct {
	quietSession
	where string
	ended chan error
}

func (p *panicking) Open(_ context.Context, conn *Conn, connect *Connect) (Session, bool, ConnectCode) {
	s := &panickingSession{quietSession{conn}, connect.ClientID, make(chan error, 1)}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.ended[connect.ClientID] = s.ended
	if s.where == "open" {
		conn.Publish("early", nil, 0, false, nil) // must not reach a client that got no CONNACK
		panic("open")
	}
	return s, false, Accepted
}

func (s *panickingSession) Publish(message *Publish) error {
	switch s.where {
	case "publish":
		panic("publish")
	case "answer":
		return s.conn.Publish("t", nil, 1, false, func(error) { panic("answer") })
	case "callback":
		go func() {
			defer s.conn.Recover()
			panic("callback")
		}()
		return nil
	}
	return s.quietSession.Publish(message)
}

func (s *panickingSession) Subscribe(subscriptions []Subscription) ([]byte, error) {
	if s.where == "subscribe" {
		panic("subscribe")
	}
	return make([]byte, len(subscriptions)), nil
}

func (s *panickingSession) Unsubscribe([]string) error {
	if s.where == "unsubscribe" {
		panic("unsubscribe")
	}
	return nil
}

func (s *panickingSession) Close(reason error) {
	s.ended <- reason
	if s.where == "close" {
		panic("close")
	}
}

// faulty is a connection whose nth Write panics.
type faulty struct {
	net.Conn
	writes int
}

func (f *faulty) Write(b []byte) (int, error) {
	if f.writes--; f.writes < 0 {
		panic("write")
	}
	return f.Conn.Write(b)
}

// panicLog collects what a server says of its panics.
type panicLog struct {
	mutex  sync.Mutex
	values []any
	stacks []string
}

func (p *panicLog) add(_ Peer, value any) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.values, p.stacks = append(p.values, value), append(p.stacks, string(debug.Stack()))
}

// take waits for a panic and returns what it said, with its stack.
func (p *panicLog) take(t *testing.T) (value any, stack string) {
	t.Helper()
	until(t, "a panic is told", func() bool {
		p.mutex.Lock()
		defer p.mutex.Unlock()
		return len(p.values) > 0
	})
	p.mutex.Lock()
	defer p.mutex.Unlock()
	value, stack = p.values[0], p.stacks[0]
	p.values, p.stacks = p.values[1:], p.stacks[1:]
	return value, stack
}

func connectAs(clientID string) string {
	return string(appendConnect(nil, &Connect{ClientID: clientID, CleanSession: true}))
}

// A panic anywhere in the handling of a connection ends that connection, in order,
// and is told with its stack. Others go on.
func TestPanicEndsConnection(t *testing.T) {
	backend, panics := &panicking{ended: make(map[string]chan error)}, new(panicLog)
	server := &Server{Backend: backend, Panicked: panics.add}
	address := start(t, server)
	other := dial(t, address)
	other.send(connectAs("other"))
	other.expect(accepted)
	for _, c := range []struct {
		where, send, answer string
		in                  string // the stack
		reason              error
	}{
		{"open", "", "", "(*panicking).Open", nil},
		{"publish", publishQoS0, accepted, "(*panickingSession).Publish", ErrPanic},
		{"publish", publishQoS0 + publishQoS0, accepted, "(*panickingSession).Publish", ErrPanic},
		{"subscribe", subscribePacket, accepted, "(*panickingSession).Subscribe", ErrPanic},
		{"unsubscribe", "\xa2\x07\x00\x05\x00\x03a/b", accepted, "(*panickingSession).Unsubscribe", ErrPanic},
		{"answer", publishQoS0 + "\x40\x02\x00\x01", accepted + "\x32\x05\x00\x01t\x00\x01", "(*Conn).settle",
			ErrPanic},
		{"answer", publishQoS0 + disconnectPacket, accepted + "\x32\x05\x00\x01t\x00\x01", "(*Conn).finish", nil},
		{"callback", publishQoS0, accepted, "Publish.func", ErrPanic},
		{"close", disconnectPacket, accepted, "(*panickingSession).Close", nil},
	} {
		t.Run(c.where, func(t *testing.T) {
			client := dial(t, address)
			client.send(connectAs(c.where) + c.send)
			client.expect(c.answer)
			client.expectEnd()
			if value, stack := panics.take(t); value != c.where || !strings.Contains(stack, c.in) {
				t.Errorf("told of the panic %v, want %s in %s:\n%s", value, c.where, c.in, stack)
			}
			if c.where != "open" {
				if reason := <-backend.ended[c.where]; !errors.Is(reason, c.reason) || c.reason == nil &&
					reason != nil {
					t.Errorf("the session ended with %v, want %v", reason, c.reason)
				}
			}
			until(t, "the connection is gone", func() bool { return server.Stats().Connections == 1 })
			other.send(pingPacket)
			other.expect("\xd0\x00")
		})
	}
	panics.mutex.Lock()
	defer panics.mutex.Unlock()
	if len(panics.values) > 0 {
		t.Errorf("told of more panics: %v", panics.values)
	}
}

// So does a panic of the network connection, on the goroutine that reads or on the
// one that writes.
func TestPanicWhileWriting(t *testing.T) {
	for name, writes := range map[string]int{"CONNACK": 0, "later": 1} {
		t.Run(name, func(t *testing.T) {
			backend, panics := &echo{ended: make(chan error, 1)}, new(panicLog)
			server := &Server{Backend: backend, Panicked: panics.add}
			defer server.Shutdown(context.Background())
			here, there := net.Pipe()
			defer here.Close()
			here.SetDeadline(time.Now().Add(20 * time.Second))
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				server.ServeConn(&faulty{there, writes}, Peer{RemoteAddr: there.RemoteAddr()})
			}()
			client := raw{t, here}
			client.send(connectPacket)
			if writes > 0 {
				client.expect(accepted)
				client.send(pingPacket)
			}
			<-ended
			if value, stack := panics.take(t); value != "write" || !strings.Contains(stack, "(*Conn).send") {
				t.Errorf("told of the panic %v:\n%s", value, stack)
			}
			if reason := <-backend.ended; !errors.Is(reason, ErrPanic) {
				t.Errorf("the session ended with %v", reason)
			}
		})
	}
}
