package mqtt

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// until waits for a condition that another goroutine brings about.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain: " + what)
		}
	}
}

// A packet gets memory as it comes, not as it says: otherwise five bytes a
// connection would cost the server 320 KiB each.
func TestAPacketThatOnlyClaimsToBeLargeCostsLittle(t *testing.T) {
	const connections = 200
	for _, c := range []struct{ name, before, claim string }{
		{"PUBLISH", connectPacket, "\x30\x80\x80\x13"},
		{"CONNECT", "", "\x10\x80\x80\x05"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := &Server{Backend: quietBackend{}}
			address := start(t, server)
			var clients []raw
			for range connections {
				client := dial(t, address)
				if client.send(c.before); c.before != "" {
					client.expect(accepted)
				}
				clients = append(clients, client)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			// The second part is read after what the first gave rise to.
			for _, part := range []string{c.claim + "\x00", "\x04"} {
				want := server.Stats().BytesIn + uint64(connections*len(part))
				for _, client := range clients {
					client.send(part)
				}
				until(t, "the server reads", func() bool { return server.Stats().BytesIn >= want })
			}
			runtime.ReadMemStats(&after)
			if each := (after.TotalAlloc - before.TotalAlloc) / connections; each > 2*bufferSize {
				t.Errorf("%d bytes were allocated for each of %d packets that did not come", each, connections)
			}
		})
	}
}

// refusing is a backend that ends the connection at whatever it is asked.
type refusing struct{ quietSession }

var errRefusing = errors.New("not this")

func (r *refusing) Open(_ context.Context, conn *Conn, _ *Connect) (Session, bool, ConnectCode) {
	return &refusing{quietSession{conn}}, false, Accepted
}
func (r *refusing) Publish(*Publish) error                   { return errRefusing }
func (r *refusing) Subscribe([]Subscription) ([]byte, error) { return nil, errRefusing }
func (r *refusing) Unsubscribe([]string) error               { return errRefusing }

// An error of the session, or a packet that breaks the protocol, ends the
// connection without an answer.
func TestAnErrorIsNotAnswered(t *testing.T) {
	address := start(t, &Server{Backend: &refusing{}})
	for name, packet := range map[string]string{
		"subscribe":        subscribePacket,
		"unsubscribe":      "\xa2\x07\x00\x05\x00\x03a/b",
		"publish":          publishQoS1,
		"ping with a body": "\xc0\x01\x00",
	} {
		t.Run(name, func(t *testing.T) {
			client := dial(t, address)
			client.send(connectPacket)
			client.expect(accepted)
			client.send(packet)
			client.expectEnd()
		})
	}
}

// A message that is refused at once is not in flight: nobody is told of it twice.
func TestAMessageBeyondMaxOutboundIsNotInFlight(t *testing.T) {
	backend := &echo{}
	client := dial(t, start(t, &Server{Backend: backend, MaxOutbound: 1000}))
	client.send(connectPacket)
	client.expect(accepted)
	conn := backend.conn("dev")
	done := func(err error) { t.Errorf("done is called with %v for a message that Publish refused", err) }
	if err := conn.Publish("t", make([]byte, 2000), 1, false, done); !errors.Is(err, ErrSlowReader) {
		t.Fatalf("publishing more than may wait returns %v, want ErrSlowReader", err)
	}
	client.send(disconnectPacket)
	client.expectEnd()
}

// closing is a backend that has had enough after one message, and says no more.
type closing struct {
	quietSession
	ended chan error
}

func (c *closing) Open(_ context.Context, conn *Conn, _ *Connect) (Session, bool, ConnectCode) {
	return &closing{quietSession{conn}, c.ended}, false, Accepted
}
func (c *closing) Publish(*Publish) error { c.conn.Close(nil); return nil }
func (c *closing) Close(reason error)     { c.ended <- reason }

// A backend may close without a reason, also while the client is in the middle of
// a packet.
func TestCloseWithoutAReason(t *testing.T) {
	backend := &closing{ended: make(chan error, 1)}
	client := dial(t, start(t, &Server{Backend: backend}))
	client.send(connectPacket)
	client.expect(accepted)
	client.send(publishQoS0 + publishQoS1[:5])
	client.expectEnd()
	if reason := <-backend.ended; reason != nil {
		t.Errorf("the session ended with %v", reason)
	}
}

// While a client is held back for its unacknowledged messages, it still gets
// what is published to it.
func TestBackpressureStillDelivers(t *testing.T) {
	backend := &echo{hold: true}
	server := &Server{Backend: backend, MaxInFlight: 1}
	client := dial(t, start(t, server))
	client.send(connectPacket)
	client.expect(accepted)
	client.send(string(appendPublish(nil, "quiet", nil, 1, false, false, 1)) + string(appendPublish(nil, "quiet", nil,
		1, false, false, 2)))
	conn := backend.conn("dev")
	until(t, "the first message is with the backend", func() bool {
		backend.mutex.Lock()
		defer backend.mutex.Unlock()
		return len(backend.held) == 1
	})
	message := strings.Repeat("x", 100)
	if err := conn.Publish("news", []byte(message), 0, false, nil); err != nil {
		t.Fatal(err)
	}
	client.expect(string(appendPublish(nil, "news", []byte(message), 0, false, false, 0)))
	conn.Acknowledge(1)
	client.expect("\x40\x02\x00\x01")
	until(t, "the second message is with the backend", func() bool {
		backend.mutex.Lock()
		defer backend.mutex.Unlock()
		return len(backend.held) == 2
	})
	conn.Acknowledge(2)
	client.expect("\x40\x02\x00\x02")
}

// A client whose server falls silent notices.
func TestClientNoticesASilentServer(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	go func() {
		buffer := make([]byte, 1000)
		there.Read(buffer)
		there.Write([]byte(accepted))
		for {
			if _, err := there.Read(buffer); err != nil { // pings, never answered
				return
			}
		}
	}()
	client, _, err := NewClient(t.Context(), here, &Connect{ClientID: "dev", CleanSession: true, KeepAlive: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Err(); !errors.Is(err, ErrKeepAlive) {
		t.Errorf("the connection ended with %v", err)
	}
}

// There are as many messages in flight as there are packet ids, and no more.
// Each is told its end, once.
func TestClientRunsOutOfPacketIDs(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	go func() {
		there.Read(make([]byte, 1000))
		there.Write([]byte(accepted))
		io.Copy(io.Discard, there) // no message is ever acknowledged
	}()
	client, _, err := NewClient(t.Context(), here, &Connect{ClientID: "dev", CleanSession: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	done := func(err error) {
		if told++; !errors.Is(err, net.ErrClosed) {
			t.Errorf("a message ended with %v", err)
		}
	}
	for range 0xffff {
		if err := client.Publish("t", nil, 1, done); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.Publish("t", nil, 1, done); !errors.Is(err, ErrTooManyInFlight) {
		t.Errorf("with every id in use: %v", err)
	}
	client.Abort()
	if told != 0xffff {
		t.Errorf("%d messages were told their end, want %d", told, 0xffff)
	}
}
