package server

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/panics"
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
	panics       *panics.Recorder
	failed       func(*tls.Conn, error)

	begin   sync.Once
	end     sync.Once
	ready   chan accepted
	pending chan struct{} // holds one for each handshake
	over    chan struct{} // closed by Close
}

// accepted is what Accept returns.
type accepted struct {
	conn net.Conn
	err  error
}

func newHandshakes(listener net.Listener, logger *slog.Logger, recorder *panics.Recorder,
	failed func(*tls.Conn, error)) *handshakes {
	return &handshakes{Listener: listener, logger: logger, panics: recorder, failed: failed,
		ready: make(chan accepted), pending: make(chan struct{}, maxHandshakes), over: make(chan struct{})}
}

// Accept implements net.Listener.
func (h *handshakes) Accept() (net.Conn, error) {
	h.begin.Do(func() { go h.accept() })
	select {
	case next := <-h.ready:
		return next.conn, next.err
	case <-h.over:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *handshakes) Close() error {
	h.end.Do(func() { close(h.over) })
	return h.Listener.Close()
}

// hand gives somebody who accepts a connection, or an error, after which it is for
// them to go on or not. It reports false when nobody accepts any more.
func (h *handshakes) hand(next accepted) bool {
	select {
	case h.ready <- next:
		return true
	case <-h.over:
		return false
	}
}

func (h *handshakes) accept() {
	for {
		h.pending <- struct{}{}
		conn, err := h.Listener.Accept()
		if err == nil {
			go h.greet(conn.(*tls.Conn))
			continue
		}
		<-h.pending
		if !h.hand(accepted{err: err}) {
			return
		}
	}
}

func (h *handshakes) greet(conn *tls.Conn) {
	defer func() { <-h.pending }()
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTime)
	defer cancel()
	if err := h.panics.Do(panics.HTTPS, func() error { return conn.HandshakeContext(ctx) }); err != nil {
		h.logger.Debug("TLS handshake", "remote", conn.RemoteAddr(), "error", err)
		h.panics.Do(panics.HTTPS, func() error { h.failed(conn, err); return nil })
		conn.Close()
		return
	}
	if !h.hand(accepted{conn: conn}) {
		conn.Close()
	}
}
