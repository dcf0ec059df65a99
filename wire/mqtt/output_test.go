package mqtt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"
)

// answering is a backend that answers each message with so many bytes.
type answering struct {
	size    int
	qos     byte
	answers atomic.Int32
	conns   chan *Conn
	ended   chan error
}

type answeringSession struct {
	quietSession
	*answering
}

func newAnswering(size int, qos byte) *answering {
	return &answering{size: size, qos: qos, conns: make(chan *Conn, 1), ended: make(chan error, 1)}
}

func (a *answering) Open(_ context.Context, conn *Conn, _ *Connect) (Session, bool, ConnectCode) {
	a.conns <- conn
	return &answeringSession{quietSession{conn}, a}, false, Accepted
}

func (s *answeringSession) Publish(*Publish) error {
	err := s.conn.Respond("t", make([]byte, s.size), s.qos)
	if err == nil {
		s.answers.Add(1)
	}
	return err
}

func (s *answeringSession) Close(reason error) { s.ended <- reason }

// A client may send many requests at once whose answers are more than may wait for
// it, and reads them as fast as it can. Acknowledgements come behind the requests.
func TestAnswersAllDelivered(t *testing.T) {
	for name, qos := range map[string]byte{"QoS 0": 0, "QoS 1": 1} {
		t.Run(name, func(t *testing.T) {
			const requests, size = 200, 64 << 10
			backend := newAnswering(size, qos)
			client := dial(t, start(t, &Server{Backend: backend, MaxOutbound: 256 << 10, MaxInFlight: 8}))
			client.send(connectPacket)
			client.expect(accepted)
			client.send(string(bytes.Repeat([]byte(publishQoS0), requests)))
			buffer, filled, got := make([]byte, 1<<20), 0, 0
			for got < requests {
				n, err := client.Read(buffer[filled:])
				if err != nil {
					t.Fatalf("after %d answers: %v", got, err)
				}
				filled += n
				for {
					first, body, packet, err := frame(buffer[:filled], len(buffer))
					if err != nil {
						t.Fatal(err)
					}
					if packet == 0 || packet > filled {
						break
					}
					var answer Publish
					if err := answer.decode(first, buffer[body:packet]); err != nil || len(answer.Payload) != size {
						t.Fatalf("answer %d has %d bytes, error %v", got, len(answer.Payload), err)
					}
					if answer.QoS == 1 {
						client.send(string(appendPuback(nil, answer.PacketID)))
					}
					got++
					filled = copy(buffer, buffer[packet:filled])
				}
			}
			client.send(disconnectPacket)
			client.expectEnd()
			if reason := <-backend.ended; reason != nil {
				t.Errorf("the session ended with %v", reason)
			}
		})
	}
}

// Who does not read is not read from either, and is cut off when its time is over,
// with what waits for it bounded. Whoever publishes to it meanwhile never waits.
func TestRequestsWaitForAClientThatDoesNotRead(t *testing.T) {
	const size, most = 64 << 10, 256 << 10
	backend := newAnswering(size, 0)
	client := dial(t, start(t, &Server{Backend: backend, MaxOutbound: most, WriteTimeout: 300 * time.Millisecond}))
	client.send(connectPacket)
	client.expect(accepted)
	client.send(string(bytes.Repeat([]byte(publishQoS0), 2000)))
	conn := <-backend.conns
	// The first news find their room, whatever waits for the client; more find that
	// it does not read. Neither waits.
	if err := conn.Publish("news", make([]byte, most/4), 0, false, nil); err != nil {
		t.Errorf("the first news: %v", err)
	}
	for err := error(nil); err == nil; {
		if err = conn.Publish("news", make([]byte, most/4), 0, false, nil); err != nil &&
			!errors.Is(err, ErrSlowReader) {
			t.Errorf("more news: %v", err)
		}
	}
	if reason := <-backend.ended; !errors.Is(reason, ErrSlowReader) {
		t.Errorf("the session ended with %v, want ErrSlowReader", reason)
	}
	if n := backend.answers.Load(); n == 2000 {
		t.Errorf("all of %d answers were made for a client that reads none", n)
	}
	io.Copy(io.Discard, client)
}

// A client may take longer than WriteTimeout for all that it is sent, as long as it
// keeps reading.
func TestSlowReader(t *testing.T) {
	const size, requests, timeout = 512 << 10, 20, time.Second
	backend := newAnswering(size, 0)
	client := dial(t, start(t, &Server{Backend: backend, WriteTimeout: timeout}))
	client.send(connectPacket)
	client.expect(accepted)
	client.send(string(bytes.Repeat([]byte(publishQoS0), requests)) + disconnectPacket)
	started := time.Now()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	read := 0
	for buffer := make([]byte, 40<<10); ; <-ticker.C {
		n, err := client.Read(buffer)
		if read += n; err != nil {
			break
		}
	}
	if read < requests*size {
		t.Errorf("the client got %d bytes of %d in %v", read, requests*size, time.Since(started))
	}
	if took := time.Since(started); took < timeout {
		t.Fatalf("the client read all in %v, which proves nothing", took)
	}
}
