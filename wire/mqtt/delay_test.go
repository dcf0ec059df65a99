package mqtt

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// delaying is a backend that answers each message with its payload, and those to
// "later" not before a time.
type delaying struct {
	delay time.Duration
	ended chan error
}

type delayingSession struct {
	quietSession
	*delaying
}

func (d *delaying) Open(_ context.Context, conn *Conn, _ *Connect) (Session, bool, ConnectCode) {
	return &delayingSession{quietSession{conn}, d}, false, Accepted
}

func (s *delayingSession) Publish(message *Publish) error {
	var due time.Time
	if string(message.Topic) == "later" {
		due = time.Now().Add(s.delay)
	}
	return s.conn.RespondNotBefore(due, "t", message.Payload, 0)
}

func (s *delayingSession) Close(reason error) { s.ended <- reason }

func startDelaying(t *testing.T, delay time.Duration, server *Server) (*delaying, raw) {
	t.Helper()
	backend := &delaying{delay, make(chan error, 1)}
	server.Backend = backend
	client := dial(t, start(t, server))
	client.send(connectPacket)
	client.expect(accepted)
	return backend, client
}

func request(topic, payload string) string {
	return string(appendPublish(nil, topic, []byte(payload), 0, false, false, 0))
}

// An answer that must not leave before its time does not, keeps its place among its
// like, and holds up nothing else.
func TestDelayedAnswers(t *testing.T) {
	const delay = 200 * time.Millisecond
	_, client := startDelaying(t, delay, &Server{})
	began := time.Now()
	client.send(request("later", "1"), request("later", "2"), pingPacket, request("now", "3"))
	client.expect("\xd0\x00" + request("t", "3"))
	if took := time.Since(began); took >= delay {
		t.Errorf("what has no delay came after %v", took)
	}
	client.expect(request("t", "1") + request("t", "2"))
	if took := time.Since(began); took < delay {
		t.Errorf("the answers came after %v, want %v at least", took, delay)
	}
	// The timer is good for more than once.
	began = time.Now()
	client.send(request("later", "4"))
	client.expect(request("t", "4"))
	if took := time.Since(began); took < delay {
		t.Errorf("a further answer came after %v, want %v at least", took, delay)
	}
}

// However many requests come at once, their answers take no more memory than they may
// and all arrive, none too early.
func TestDelayedAnswersAreBounded(t *testing.T) {
	const delay, requests, size = 50 * time.Millisecond, 16, 8 << 10
	_, client := startDelaying(t, delay, &Server{MaxOutbound: 4 * size})
	began := time.Now()
	payload := strings.Repeat("x", size)
	go client.Write(bytes.Repeat([]byte(request("later", payload)), requests))
	for range requests {
		client.expect(request("t", payload))
	}
	// Of four that MaxOutbound allows for, two may wait at once, and with what they take
	// besides it is one.
	if took := time.Since(began); took < requests/2*delay {
		t.Errorf("%d answers came within %v: more waited than may", requests, took)
	}
}

// What waits when the connection ends goes with it.
func TestDelayedAnswersEndWithTheConnection(t *testing.T) {
	backend, client := startDelaying(t, time.Hour, &Server{MaxOutbound: 1000})
	client.send(request("later", "1"), disconnectPacket)
	client.expectEnd()
	if reason := <-backend.ended; reason != nil {
		t.Errorf("the session ended with %v", reason)
	}
	// Also for a client that is held up, because too much waits.
	server := &Server{MaxOutbound: 1000}
	backend, client = startDelaying(t, time.Hour, server)
	large := request("later", strings.Repeat("x", 300))
	client.send(large, large, pingPacket)
	sent := uint64(len(connectPacket) + 2*len(large))
	until(t, "both requests are there", func() bool { return server.Stats().BytesIn >= sent })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if reason := <-backend.ended; !errors.Is(reason, ErrShutdown) {
		t.Errorf("the session ended with %v", reason)
	}
}
