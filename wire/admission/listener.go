package admission

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Listener hands out the connections of a network listener that its gate lets in:
// a *tls.Conn whose handshake is done, or without TLS a *Conn.
type Listener struct {
	// HandshakeFailed is told of each TLS handshake that failed, before the connection is
	// closed, from many goroutines at once; nil tells nobody. It may not change once the
	// listener accepts.
	HandshakeFailed func(conn *tls.Conn, err error)

	// Panicked is told of each panic in a handshake or in HandshakeFailed, by the
	// goroutine that panicked; nil writes it to the gate's Logger. It may not change
	// either.
	Panicked func(remote net.Addr, value any)

	inner    net.Listener
	gate     *Gate
	config   *tls.Config
	failures atomic.Uint64

	begin  sync.Once
	end    sync.Once
	ready  chan net.Conn
	closed chan struct{}  // closed by Close
	active sync.WaitGroup // every goroutine of the listener
}

// Listen returns a listener that accepts for the gate. config is for TLS; without
// one, connections are handed out as they come. A gate may have many listeners.
func (g *Gate) Listen(inner net.Listener, config *tls.Config) *Listener {
	g.init()
	l := &Listener{inner: inner, gate: g, ready: make(chan net.Conn), closed: make(chan struct{})}
	if config != nil {
		l.config = config.Clone()
		l.config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			c := hello.Conn.(*Conn)
			c.serverName = hello.ServerName
			c.offersHTTP = slices.Contains(hello.SupportedProtos, "http/1.1") ||
				slices.Contains(hello.SupportedProtos, "h2")
			if config.GetConfigForClient != nil {
				return config.GetConfigForClient(hello)
			}
			return nil, nil
		}
	}
	return l
}

// Accept implements net.Listener. It returns an error once the listener is closed,
// and only then: what goes wrong before is logged and tried again.
func (l *Listener) Accept() (net.Conn, error) {
	l.begin.Do(func() { l.active.Go(l.accept) })
	select {
	case conn := <-l.ready:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// HandshakeFailures is how many TLS handshakes have failed.
func (l *Listener) HandshakeFailures() uint64 { return l.failures.Load() }

// Close implements net.Listener. Connections that were not handed out are closed.
func (l *Listener) Close() error {
	l.begin.Do(func() {}) // nobody begins any more
	l.end.Do(func() { close(l.closed) })
	err := l.inner.Close()
	l.gate.abandon(l)
	l.active.Wait()
	return err
}

func (l *Listener) isClosed() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

// The pause after an accept that failed grows from the first to the second.
const minPause, maxPause = time.Millisecond, time.Second

func (l *Listener) accept() {
	for pause := minPause; ; {
		conn, err := l.inner.Accept()
		switch {
		case err == nil:
			pause = minPause
			if c := l.gate.enter(conn, l); c != nil {
				l.active.Go(func() { l.prepare(c) })
			}
			continue
		case l.isClosed() || errors.Is(err, net.ErrClosed):
			l.gate.abandon(l) // what came while Close did so
			return
		}
		l.gate.acceptFailed(err)
		select {
		case <-time.After(pause):
		case <-l.closed:
		}
		pause = min(2*pause, maxPause)
	}
}

// prepare takes a connection from its arrival to the one who accepts: through its
// handshake, if there is TLS.
func (l *Listener) prepare(c *Conn) {
	conn, err := net.Conn(c), error(nil)
	if l.config == nil {
		l.gate.begin(c)
	} else {
		conn, err = l.handshake(c)
	}
	if err != nil || !l.deliver(conn, c) {
		c.Close()
	}
}

func (l *Listener) handshake(c *Conn) (net.Conn, error) {
	if err := c.awaitTurn(); err != nil {
		return nil, err
	}
	c.Conn.SetDeadline(time.Now().Add(l.gate.HandshakeTimeout))
	secure := tls.Server(c, l.config)
	c.handshaking = true
	err := l.contain(c, secure.Handshake)
	c.handshaking = false
	l.gate.release()
	if err == nil {
		err = c.Conn.SetDeadline(time.Time{})
	}
	if err != nil && c.cause.Load() == nil && !l.isClosed() {
		l.failures.Add(1)
		l.gate.Logger.Debug("TLS handshake", "remote", c.RemoteAddr(), "error", err)
		if l.HandshakeFailed != nil {
			l.contain(c, func() error { l.HandshakeFailed(secure, err); return nil })
		}
	}
	return secure, err
}

var errPanic = errors.New("the server panicked")

// contain ends a panic of f, which is then an error: it is for this connection to end,
// and nothing else.
func (l *Listener) contain(c *Conn, f func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = errPanic
			if l.Panicked != nil {
				l.Panicked(c.RemoteAddr(), value)
			} else {
				l.gate.Logger.Error("panic", "remote", c.RemoteAddr(),
					"panic", fmt.Sprint(value), "stack", string(debug.Stack()))
			}
		}
	}()
	return f()
}

// deliver gives a connection to the one who accepts. It reports false when nobody does
// any more.
func (l *Listener) deliver(conn net.Conn, c *Conn) bool {
	l.gate.startProofTimeout(c)
	select {
	case l.ready <- conn:
		return true
	case <-l.closed:
		return false
	}
}
