package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Server serves MQTT 3.1.1 on connections that it accepts or is handed. Zero
// limits take the defaults that they name. Fields may not change once it
// serves.
type Server struct {
	Backend Backend
	Logger  *slog.Logger // slog.Default() when nil

	// Panicked is told of each panic of the backend, its sessions and their callbacks,
	// by the goroutine that panicked and before its connection is closed, so that
	// debug.Stack shows where it was. nil writes it to Logger.
	Panicked func(peer Peer, value any)

	ConnectTimeout time.Duration // from a connection until its CONNECT is answered; 10 s
	PacketTimeout  time.Duration // from a packet's first byte to its last; 30 s
	WriteTimeout   time.Duration // for the client to take what it is sent; 30 s
	MaxKeepAlive   time.Duration // bounds the client's; without a keep-alive none is allowed; 1,767 s
	RestAfter      time.Duration // silence after which a connection that was accepted waits in less memory; 5 s
	MaxPacketSize  int           // bytes; 320 KiB
	MaxInFlight    int           // unacknowledged messages in each direction; 1,024
	MaxOutbound    int           // bytes waiting for a client to read; 1 MiB

	once      sync.Once
	stats     counters
	active    sync.WaitGroup // every goroutine of the server
	mutex     sync.Mutex
	conns     map[*Conn]struct{}
	listeners map[net.Listener]struct{}
	closed    bool
	aborted   atomic.Bool
	work      context.Context
	stop      context.CancelFunc
}

func (s *Server) init() {
	s.once.Do(func() {
		if s.Logger == nil {
			s.Logger = slog.Default()
		}
		for _, d := range []struct {
			field *time.Duration
			value time.Duration
		}{
			{&s.ConnectTimeout, 10 * time.Second}, {&s.PacketTimeout, 30 * time.Second},
			{&s.WriteTimeout, 30 * time.Second}, {&s.MaxKeepAlive, 1767 * time.Second},
			{&s.RestAfter, 5 * time.Second},
		} {
			if *d.field == 0 {
				*d.field = d.value
			}
		}
		for _, d := range []struct {
			field *int
			value int
		}{{&s.MaxPacketSize, 320 << 10}, {&s.MaxInFlight, 1024}, {&s.MaxOutbound, 1 << 20}} {
			if *d.field == 0 {
				*d.field = d.value
			}
		}
		s.conns, s.listeners = make(map[*Conn]struct{}), make(map[net.Listener]struct{})
		s.work, s.stop = context.WithCancel(context.Background())
	})
}

// keepAliveTimeout is how long a client may be silent: one and a half times its
// keep-alive [MQTT-3.1.2-24], or 0 for ever.
func (s *Server) keepAliveTimeout(connect *Connect) time.Duration {
	if connect == nil || connect.KeepAlive == 0 {
		return 0
	}
	return min(time.Duration(connect.KeepAlive)*time.Second*3/2, s.MaxKeepAlive)
}

// Serve accepts connections until the listener fails or Shutdown is called; then
// it returns nil. How many there may be at once, and that they prove something, is
// the listener's business, and so is the TLS handshake of a *tls.Conn: what is left
// of it is done here. See Peer.Proven.
func (s *Server) Serve(listener net.Listener) error {
	s.init()
	s.mutex.Lock()
	if s.closed {
		s.mutex.Unlock()
		return ErrShutdown
	}
	s.listeners[listener] = struct{}{}
	s.mutex.Unlock()
	pause := time.Millisecond
	for {
		conn, err := listener.Accept()
		if err != nil {
			if s.shuttingDown() || errors.Is(err, net.ErrClosed) {
				return nil
			}
			// Out of file descriptors, say: the next one may work.
			s.Logger.Error("accept", "error", err)
			select {
			case <-time.After(pause):
			case <-s.work.Done():
			}
			pause = min(2*pause, time.Second)
			continue
		}
		pause = time.Millisecond
		if !s.enter() {
			conn.Close()
			return nil
		}
		go func() {
			s.stats.accepted.Add(1)
			s.stats.connections.Add(1)
			peer := Peer{RemoteAddr: conn.RemoteAddr()}
			if err := s.contain(peer, func() error { return s.identify(&peer, conn) }); err != nil {
				s.stats.connections.Add(-1)
				s.Logger.Debug("TLS handshake", "remote", peer.RemoteAddr, "error", err)
				conn.Close()
				s.active.Done()
				return
			}
			c := newConn(s, conn, peer)
			c.ended = s.active.Done
			c.rests = true
			s.serveConn(c)
		}()
	}
}

// identify completes what is known of a connection that Serve accepted.
func (s *Server) identify(peer *Peer, conn net.Conn) error {
	if secure, ok := conn.(*tls.Conn); ok {
		ctx, cancel := context.WithTimeout(s.work, s.ConnectTimeout)
		defer cancel()
		if err := secure.HandshakeContext(ctx); err != nil {
			return err
		}
		state := secure.ConnectionState()
		peer.TLS, conn = &state, secure.NetConn()
	}
	if provable, ok := conn.(interface{ Proven() }); ok {
		peer.Proven = provable.Proven
	}
	return nil
}

// enter counts a goroutine that is about to serve, unless the server is shutting
// down: from then on only those who are counted may count others.
func (s *Server) enter() bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.closed {
		return false
	}
	s.active.Add(1)
	return true
}

// contain ends a panic of f, which is then told as ErrPanic: it is for the connection
// of this peer to end, and nothing else.
func (s *Server) contain(peer Peer, f func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			s.panicked(peer, value)
			err = ErrPanic
		}
	}()
	return f()
}

// panicked tells of a panic. Deferred functions call it.
func (s *Server) panicked(peer Peer, value any) {
	if s.Panicked != nil {
		s.Panicked(peer, value)
		return
	}
	s.Logger.Error("panic", "remote", peer.RemoteAddr, "panic", fmt.Sprint(value), "stack", string(debug.Stack()))
}

// ServeConn serves one connection to its end. It is for connections that were
// accepted elsewhere, such as WebSockets.
func (s *Server) ServeConn(conn net.Conn, peer Peer) {
	s.init()
	if !s.enter() {
		conn.Close()
		return
	}
	s.stats.accepted.Add(1)
	s.stats.connections.Add(1)
	c := newConn(s, conn, peer)
	c.ended = s.active.Done
	s.serveConn(c)
}

func (s *Server) serveConn(c *Conn) {
	s.mutex.Lock()
	closed := s.closed
	if !closed {
		s.conns[c] = struct{}{}
	}
	s.mutex.Unlock()
	if closed {
		c.net.Close()
		s.forget(c)
		return
	}
	c.serve(s.work)
}

// forget is told of the end of a connection.
func (s *Server) forget(c *Conn) {
	s.mutex.Lock()
	delete(s.conns, c)
	s.mutex.Unlock()
	s.stats.connections.Add(-1)
	c.ended()
}

// Shutdown stops accepting, lets every connection have the acknowledgements it
// is owed, closes it, and waits for all of that. When ctx ends first, what is
// left is cut off and ctx's error returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.init()
	s.mutex.Lock()
	s.closed = true
	for listener := range s.listeners {
		listener.Close()
	}
	for c := range s.conns {
		c.Close(ErrShutdown)
	}
	s.mutex.Unlock()
	s.stop()
	done := make(chan struct{})
	go func() {
		s.active.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.aborted.Store(true)
	s.mutex.Lock()
	for c := range s.conns {
		c.mutex.Lock()
		c.room.Broadcast()
		c.mutex.Unlock()
		c.net.SetDeadline(longAgo)
	}
	s.mutex.Unlock()
	<-done
	return ctx.Err()
}

func (s *Server) shuttingDown() bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.closed
}

func (s *Server) aborting() bool { return s.aborted.Load() }
