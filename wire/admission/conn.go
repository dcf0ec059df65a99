package admission

import (
	"container/list"
	"context"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// Conn is a connection that its gate counts until it is closed.
type Conn struct {
	net.Conn
	gate     *Gate
	listener *Listener
	source   *source
	arrival  uint64
	cause    atomic.Pointer[Reason] // why the gate closed it
	came     atomic.Int64           // bytes, until settled
	settled  atomic.Bool            // is proven, or closed

	// Guarded by the gate's mutex.
	stage        stage
	weight       int // of what came
	older, newer *Conn
	turn         chan struct{} // closed when the turn has come, or never will
	granted      bool          // the turn has come
	timer        *time.Timer   // for the proof
	handedOut    bool
	entered      time.Time     // into the gate's window
	middle       *list.Element // in the window, nil when it is not there

	// Used by the goroutine of the handshake only.
	handshaking bool
	peeked      bool          // what is read next has come already
	back        chan struct{} // closed when it may go on
	wrote       bool
	serverName  string
	offersHTTP  bool
}

// Of returns the Conn below a connection that a Listener handed out, also below what was put
// around that and tells of it by NetConn, or nil for any other.
func Of(conn net.Conn) *Conn {
	for {
		switch outer := conn.(type) {
		case *Conn:
			return outer
		case interface{ NetConn() net.Conn }: // such as *tls.Conn
			conn = outer.NetConn()
		default:
			return nil
		}
	}
}

type contextKey struct{}

// Context keeps a connection in the context of its requests. It is the ConnContext
// of an http.Server.
func Context(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, contextKey{}, Of(conn))
}

// Proven says that the client of a request, whose context this is, has proved who
// it is.
func Proven(ctx context.Context) {
	if c, _ := ctx.Value(contextKey{}).(*Conn); c != nil {
		c.Proven()
	}
}

// Proven says that the client has proved who it is: the connection may stay, and
// makes room for nobody.
func (c *Conn) Proven() {
	c.gate.mutex.Lock()
	defer c.gate.mutex.Unlock()
	if c.stage != begun {
		return
	}
	c.gate.window.countProof(time.Now())
	c.gate.moveTo(c, proven)
	if c.timer != nil {
		c.timer.Stop()
	}
}

// ServerName is by which name the client asked for the server in its TLS handshake;
// "" is none.
func (c *Conn) ServerName() string { return c.serverName }

// OffersHTTP reports whether the client offered in its TLS handshake to speak HTTP
// (ALPN), as browsers and most web clients do.
func (c *Conn) OffersHTTP() bool { return c.offersHTTP }

// Read implements net.Conn. When the gate has closed the connection, the error is its
// Reason.
func (c *Conn) Read(b []byte) (n int, err error) {
	switch {
	case !c.handshaking:
		n, err = c.Conn.Read(b)
	case c.peeked:
		c.peeked = false
		n, err = c.Conn.Read(b)
	default:
		c.gate.release()
		n, err = c.Conn.Read(b)
		c.gate.resume(c)
	}
	c.count(n)
	if err != nil {
		if reason := c.cause.Load(); reason != nil {
			err = *reason
		}
	}
	return n, err
}

// count says that so many bytes more have come.
func (c *Conn) count(bytes int) {
	if bytes <= 0 || c.settled.Load() {
		return
	}
	came := c.came.Add(int64(bytes))
	if weightOf(came) == weightOf(came-int64(bytes)) {
		return
	}
	g := c.gate
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if c.stage.unproven() {
		g.weigh(c, weightOf(c.came.Load()))
		g.reweigh(c.source)
		g.makeRoom(0) // c may have to go itself
	}
}

// weightOf is the weight of so many bytes.
func weightOf(came int64) int { return int(max(0, came-cameFree) / cameWeight) }

// Write implements net.Conn. With the first write of a handshake the server has done
// most of its work for it.
func (c *Conn) Write(b []byte) (int, error) {
	if c.handshaking && !c.wrote {
		c.wrote = true
		c.gate.enterWindow(c)
	}
	return c.Conn.Write(b)
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	err := c.Conn.Close()
	c.gate.mutex.Lock()
	defer c.gate.mutex.Unlock()
	c.gate.forget(c)
	return err
}

// NetConn returns the network connection below.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// SyscallConn implements syscall.Conn, where the network connection does.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	if conn, ok := c.Conn.(syscall.Conn); ok {
		return conn.SyscallConn()
	}
	return nil, errNoSyscallConn
}

// wake ends the wait for a turn. The gate's mutex is held.
func (c *Conn) wake() {
	if c.turn == nil {
		return
	}
	select {
	case <-c.turn:
	default:
		close(c.turn)
		c.Conn.SetReadDeadline(longAgo)
	}
}

// awaitTurn returns nil once the handshake may begin.
func (c *Conn) awaitTurn() error {
	g := c.gate
	c.Conn.SetReadDeadline(time.Now().Add(g.FirstByteTimeout))
	if err := c.awaitByte(); err != nil {
		return g.waitError(c, err, Silent)
	}
	// Before others can set it: it would undo what wakes the connection.
	c.Conn.SetReadDeadline(time.Now().Add(g.TurnTimeout))
	if g.requestTurn(c) {
		return nil
	}
	return g.waitError(c, c.awaitWake(g.TurnTimeout), NoTurn)
}

// waitError returns why a connection does not wait any longer, which is nil when its
// turn has come.
func (g *Gate) waitError(c *Conn, err error, overdue Reason) error {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if c.granted {
		return nil
	}
	reason := overdue
	switch cause := c.cause.Load(); {
	case cause != nil:
		return *cause // is counted
	case c.listener.isClosed():
		return errListenerClosed
	case !isTimeout(err):
		reason = Gone
	}
	g.refuse(reason, c.RemoteAddr())
	g.forget(c)
	return reason
}

// closeUnproven closes a connection that had time enough to prove something.
func (c *Conn) closeUnproven() {
	c.gate.mutex.Lock()
	defer c.gate.mutex.Unlock()
	if c.stage == begun {
		c.gate.end(c, Unproven)
	}
}

var longAgo = time.Unix(1, 0)
