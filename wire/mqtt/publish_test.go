package mqtt

import (
	"context"
	"net"
	"testing"
)

// quietBackend acknowledges everything at once, as a log does that is never
// slow.
type quietBackend struct{}

type quietSession struct{ conn *Conn }

func (quietBackend) Open(_ context.Context, conn *Conn, _ *Connect) (Session, bool, ConnectCode) {
	return &quietSession{conn}, false, Accepted
}

func (s *quietSession) Publish(message *Publish) error {
	s.conn.Acknowledge(message.PacketID)
	return nil
}
func (s *quietSession) Subscribe([]Subscription) ([]byte, error) { return nil, nil }
func (s *quietSession) Unsubscribe([]string) error               { return nil }
func (s *quietSession) Close(error)                              {}

// publisher is a client with a burst of messages that it sends again and again.
type publisher struct {
	net.Conn
	burst   []byte
	answers []byte
}

func newPublisher(t testing.TB, messages int) publisher {
	t.Helper()
	client := dial(t, start(t, &Server{Backend: quietBackend{}}))
	client.send(connectPacket)
	client.expect(accepted)
	p := publisher{Conn: client.Conn, answers: make([]byte, 4*messages)}
	payload := make([]byte, 256)
	for i := range messages {
		p.burst = appendPublish(p.burst, "devices/device-01/messages/events/%24.mid=7", payload, 1, false, false,
			uint16(i+1))
	}
	return p
}

// send sends the burst and waits for its acknowledgements.
func (p publisher) send(t testing.TB) {
	if _, err := p.Write(p.burst); err != nil {
		t.Fatal(err)
	}
	for read := 0; read < len(p.answers); {
		n, err := p.Read(p.answers[read:])
		if err != nil {
			t.Fatal(err)
		}
		read += n
	}
}

func BenchmarkPublish(b *testing.B) {
	for _, c := range []struct {
		name     string
		messages int
	}{{"1 in flight", 1}, {"16 in flight", 16}} {
		b.Run(c.name, func(b *testing.B) {
			p := newPublisher(b, c.messages)
			b.ReportAllocs()
			for b.Loop() {
				p.send(b)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*c.messages), "ns/message")
		})
	}
}

func BenchmarkDecodePublish(b *testing.B) {
	packet := appendPublish(nil, "devices/device-01/messages/events/%24.mid=7", make([]byte, 256), 1, false, false, 7)
	var message Publish
	b.ReportAllocs()
	for b.Loop() {
		first, body, size, err := frame(packet, 1<<20)
		if err == nil {
			err = message.decode(first, packet[body:size])
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
