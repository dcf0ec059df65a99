package server

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/berth-iot/berth/credential"
)

// greeted is a connection that knows by which name the other end asked for the
// server, also when the handshake then fails.
type greeted struct {
	net.Conn
	serverName string // "" for none
}

// greeter makes them.
type greeter struct{ net.Listener }

func (g greeter) Accept() (net.Conn, error) {
	conn, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &greeted{Conn: conn}, nil
}

// noteName is a tls.Config's GetConfigForClient.
func noteName(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if conn, ok := hello.Conn.(*greeted); ok {
		conn.serverName = hello.ServerName
	}
	return nil, nil
}

// handshakeFailed tells the provisioning service of devices that can't even connect.
func (s *Server) handshakeFailed(protocol string) func(*tls.Conn, error) {
	return func(conn *tls.Conn, failure error) {
		name := ""
		if conn, ok := conn.NetConn().(*greeted); ok {
			name = conn.serverName
		}
		s.provisioning.HandshakeFailed(context.Background(), name, credential.Evidence{
			Certificates: conn.ConnectionState().PeerCertificates, Protocol: protocol, RemoteAddr: conn.RemoteAddr().String()}, failure)
	}
}

const (
	handshakeTime = 10 * time.Second
	maxHandshakes = 4096 // under way at once; others wait in the listen queue
)

// handshakes is a listener that hands out TLS connections once their handshake is
// over, and tells of those whose handshake failed, which package http does not.
type handshakes struct {
	net.Listener // of *tls.Conn
	logger       *slog.Logger
	failed       func(*tls.Conn, error)

	begin   sync.Once
	ready   chan net.Conn
	pending chan struct{} // holds one for each handshake
	over    chan struct{} // closed when the listener has ended
	err     error         // why, once it is over
}

func newHandshakes(listener net.Listener, logger *slog.Logger, failed func(*tls.Conn, error)) *handshakes {
	return &handshakes{Listener: listener, logger: logger, failed: failed,
		ready: make(chan net.Conn), pending: make(chan struct{}, maxHandshakes), over: make(chan struct{})}
}

// Accept implements net.Listener.
func (h *handshakes) Accept() (net.Conn, error) {
	h.begin.Do(func() { go h.accept() })
	select {
	case conn := <-h.ready:
		return conn, nil
	case <-h.over:
		return nil, h.err
	}
}

func (h *handshakes) accept() {
	defer close(h.over)
	for pause := time.Millisecond; ; {
		h.pending <- struct{}{}
		conn, err := h.Listener.Accept()
		switch {
		case err == nil:
			pause = time.Millisecond
			go h.greet(conn.(*tls.Conn))
			continue
		case errors.Is(err, net.ErrClosed):
			h.err = err
			return
		}
		// Out of file descriptors, say: the next one may work.
		<-h.pending
		h.logger.Error("accept", "error", err)
		time.Sleep(pause)
		pause = min(2*pause, time.Second)
	}
}

func (h *handshakes) greet(conn *tls.Conn) {
	defer func() { <-h.pending }()
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTime)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		h.logger.Debug("TLS handshake", "remote", conn.RemoteAddr(), "error", err)
		h.failed(conn, err)
		conn.Close()
		return
	}
	select {
	case h.ready <- conn:
	case <-h.over:
		conn.Close()
	}
}
