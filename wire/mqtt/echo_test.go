package mqtt

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is the smallest backend: who is called "stranger" is refused, everyone
// else gets back what it publishes, on the topic below "echo/", at the QoS it
// subscribed with.
type echo struct {
	mutex sync.Mutex
	conns map[string]*Conn
	ended chan error // of each session, with room for many
	hold  bool       // acknowledgements wait for release
	held  []uint16
}

type echoSession struct {
	*echo
	conn *Conn
	qos  byte
}

func (e *echo) Open(_ context.Context, conn *Conn, connect *Connect) (Session, bool, ConnectCode) {
	if connect.ClientID == "stranger" {
		return nil, false, NotAuthorized
	}
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if e.conns == nil {
		e.conns = make(map[string]*Conn)
	}
	if former := e.conns[connect.ClientID]; former != nil {
		former.Close(ErrReplaced)
	}
	e.conns[connect.ClientID] = conn
	return &echoSession{echo: e, conn: conn}, false, Accepted
}

// conn returns the connection of a client that has got its CONNACK.
func (e *echo) conn(clientID string) *Conn {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return e.conns[clientID]
}

func (s *echoSession) Publish(message *Publish) error {
	s.mutex.Lock()
	hold := s.hold
	if hold && message.QoS == 1 {
		s.held = append(s.held, message.PacketID)
	}
	s.mutex.Unlock()
	if message.QoS == 1 && !hold {
		s.conn.Acknowledge(message.PacketID)
	}
	if string(message.Topic) == "quiet" {
		return nil
	}
	return s.conn.Publish("echo/"+string(message.Topic), message.Payload, s.qos, false, nil)
}

func (s *echoSession) Subscribe(subscriptions []Subscription) ([]byte, error) {
	codes := make([]byte, len(subscriptions))
	for i, subscription := range subscriptions {
		if codes[i] = min(subscription.QoS, 1); subscription.Filter == "#" {
			codes[i] = Refused
		}
		s.qos = codes[i] & 1
	}
	return codes, nil
}

func (s *echoSession) Unsubscribe([]string) error { return nil }

func (s *echoSession) Close(reason error) {
	if s.ended != nil {
		s.ended <- reason
	}
}

// start serves a backend on a free port of loopback until the test ends.
func start(t testing.TB, server *Server) string {
	t.Helper()
	return startOn(t, server, func(l net.Listener) net.Listener { return l })
}

// startOn does so behind what wrap makes of the listener.
func startOn(t testing.TB, server *Server, wrap func(net.Listener) net.Listener) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if server.Logger == nil {
		server.Logger = slog.New(slog.DiscardHandler)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(wrap(listener)) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		switch err := <-served; {
		case errors.Is(err, ErrShutdown): // the test was over before it was served
			listener.Close()
		case err != nil:
			t.Errorf("serve: %v", err)
		}
	})
	return listener.Addr().String()
}

// raw is a client that sends what a test says, byte for byte.
type raw struct {
	t testing.TB
	net.Conn
}

func dial(t testing.TB, address string) raw {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	return raw{t, conn}
}

func (r raw) send(packets ...string) {
	r.t.Helper()
	for _, packet := range packets {
		if _, err := r.Write([]byte(packet)); err != nil {
			r.t.Fatal(err)
		}
	}
}
