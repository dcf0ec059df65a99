package mqtt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Conn is one client's connection. Acknowledge, Publish and Close may be called
// from any goroutine and never block on the network.
type Conn struct {
	server *Server
	net    net.Conn
	peer   Peer
	one    [1]byte // what an idle connection reads into: its buffer is back in the pool

	ended      func()    // called once, after the end
	rests      bool      // may go on in other goroutines than the one that serves it
	resting    bool      // does, since lastPacket
	lastPacket time.Time // when the last packets were handled

	session   Session
	proven    atomic.Bool
	message   Publish // of the packet being handled; a field so that it stays off the heap
	keepAlive time.Duration

	mutex     sync.Mutex
	room      sync.Cond // the ring of acknowledgements got shorter, or the connection is over
	reason    error     // why it ends, once closing
	closing   bool
	closeBy   time.Time // by when a closing client must have taken the rest
	connected bool      // CONNACK has been written to out
	out       []byte    // not yet written, a pooled buffer or nil
	writing   bool      // somebody writes, or will before it returns to reading
	broken    bool      // a write failed; for who writes
	writer    func()    // writes; made once, so that starting it allocates nothing
	acks      ackRing
	delayed   *delayedAnswers
	inFlight  map[uint16]func(error) // our QoS 1 messages, until PUBACK
	nextID    uint16
}

func newConn(server *Server, conn net.Conn, peer Peer) *Conn {
	c := &Conn{server: server, net: conn, peer: peer}
	c.room.L = &c.mutex
	c.writer = func() {
		defer server.active.Done()
		defer c.Recover()
		c.write()
	}
	return c
}

// Recover is for callbacks on behalf of a connection to defer: a panic ends the
// connection.
func (c *Conn) Recover() {
	if value := recover(); value != nil {
		c.server.panicked(c.peer, value)
		c.Close(ErrPanic)
	}
}

// Peer returns what is known of the other end.
func (c *Conn) Peer() Peer { return c.peer }

// Proven tells the listener that the client has proved who it is; see Peer.
func (c *Conn) Proven() {
	c.proven.Store(true)
	if c.peer.Proven != nil {
		c.peer.Proven()
	}
}

// serve runs the connection and tells the session why it ended. It may return before the
// end when the connection rests.
func (c *Conn) serve(ctx context.Context) {
	err := c.server.contain(c.peer, func() error { return c.readConnect(ctx) })
	if err == nil && c.session != nil {
		c.continueReading()
		return
	}
	c.end(err)
}

// continueReading reads until the connection ends, or until it has been silent for so long
// that it rests: then it goes on in a fresh goroutine. The stack of one that has handled
// packets is twice as large as what waiting needs, and does not shrink while it waits below
// TLS.
func (c *Conn) continueReading() {
	err := c.server.contain(c.peer, c.read)
	if err == errSilent {
		go c.continueReading()
		return
	}
	c.end(err)
}

// errSilent is told of a connection that may rest from now on.
var errSilent = errors.New("no packet for a while")

func (c *Conn) end(err error) {
	c.Close(err)
	c.finish()
	c.server.forget(c)
}

// maxConnect bounds a CONNECT in bytes: a will of 64 KiB and long names fit.
const maxConnect = 96 << 10

// readConnect waits for CONNECT and has the backend answer it. A refused client
// has got its CONNACK and has no session.
func (c *Conn) readConnect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.server.ConnectTimeout)
	defer cancel()
	buffer, first, body, err := c.readFirstPacket(time.Now().Add(c.server.ConnectTimeout))
	defer putBuffer(buffer)
	if err != nil {
		c.connectFailed(nil, err)
		return err
	}
	return c.open(ctx, first, body)
}

// readFirstPacket reads a CONNECT, whose body is a part of the buffer, which goes back to
// the pool afterwards.
func (c *Conn) readFirstPacket(deadline time.Time) (buffer []byte, first byte, body []byte, err error) {
	if _, err := c.readUntil(c.one[:], deadline); err != nil {
		return nil, 0, nil, connectError(err)
	}
	buffer = getBuffer()
	buffer[0] = c.one[0]
	filled := 1
	if buffer[0]>>4 != typeConnect {
		return buffer, 0, nil, c.firstBytes(buffer, filled)
	}
	for {
		// What follows CONNECT before its answer waits in the network: only what
		// belongs to the first packet is read here.
		first, start, size, err := frame(buffer[:filled], min(maxConnect, c.server.MaxPacketSize))
		if err != nil {
			return buffer, 0, nil, err
		}
		if size > 0 && filled == size {
			return buffer, first, buffer[start:size], nil
		}
		want := filled + 1 // the fixed header, a byte at a time
		if size > 0 {
			want = size
		}
		buffer = grow(buffer, filled)
		n, err := c.readUntil(buffer[filled:min(want, len(buffer))], deadline)
		if filled += n; err != nil {
			if err = connectError(err); err == io.EOF {
				err = io.ErrUnexpectedEOF // in the middle of CONNECT
			}
			return buffer, 0, nil, err
		}
	}
}

// How many first bytes tell what a client speaks that does not begin with CONNECT, and
// how long they may take to come.
const (
	firstBytesSize = 8
	firstBytesTime = 100 * time.Millisecond
)

func (c *Conn) firstBytes(buffer []byte, filled int) error {
	deadline := time.Now().Add(firstBytesTime)
	for filled < firstBytesSize {
		n, err := c.readUntil(buffer[filled:firstBytesSize], deadline)
		if filled += n; err != nil {
			break
		}
	}
	return &FirstBytesError{bytes.Clone(buffer[:filled])}
}

// connectFailed tells the backend of a client that it was not asked about, unless the
// connection ends for another reason.
func (c *Conn) connectFailed(connect *Connect, err error) {
	c.mutex.Lock()
	closing := c.closing
	c.mutex.Unlock()
	if observer, ok := c.server.Backend.(FailureObserver); ok && !closing {
		observer.ConnectFailed(c.peer, connect, err)
	}
}

func connectError(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ErrConnectTimeout
	}
	return err
}

func (c *Conn) open(ctx context.Context, first byte, body []byte) error {
	connect, code, err := decodeConnect(first, body)
	if err != nil {
		c.connectFailed(connect, err)
		if code == Accepted {
			return err
		}
	}
	present := false
	if code == Accepted {
		c.session, present, code = c.server.Backend.Open(ctx, c, connect)
	}
	if code != Accepted {
		c.server.stats.refuse(code)
	}
	c.keepAlive = c.server.keepAliveTimeout(connect)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	// What the backend has sent meanwhile goes behind CONNACK.
	early := c.out
	c.out = append(appendConnack(getBuffer()[:0], present, code), early...)
	putBuffer(early)
	c.connected = true
	c.server.stats.packetsOut.Add(1)
	c.startWriter()
	return nil
}

// read handles packets until the connection ends. Between packets it holds no
// buffer: an idle connection costs little more than its goroutine.
func (c *Conn) read() error {
	if !c.resting {
		c.lastPacket = time.Now()
	}
	for {
		deadline, rests := c.idleDeadline()
		n, err := c.readUntil(c.one[:], deadline)
		if n == 0 {
			switch {
			case errors.Is(err, os.ErrDeadlineExceeded) && rests:
				c.resting = true
				return errSilent
			case errors.Is(err, os.ErrDeadlineExceeded):
				return ErrKeepAlive
			case err == io.EOF:
				return io.ErrUnexpectedEOF // without DISCONNECT
			}
			return err
		}
		done, err := c.readBurst(c.one[0])
		if done || err != nil {
			return err
		}
		c.resting, c.lastPacket = false, time.Now()
	}
}

// readBurst handles what came with a first byte, until no part of a packet is
// left over. done reports a DISCONNECT.
func (c *Conn) readBurst(first byte) (done bool, err error) {
	buffer := getBuffer()
	defer func() { putBuffer(buffer) }()
	buffer[0] = first
	filled := 1
	deadline := time.Now().Add(c.server.PacketTimeout)
	for {
		n, err := c.readUntil(buffer[filled:], deadline)
		filled += n
		if err != nil && n == 0 {
			switch {
			case errors.Is(err, os.ErrDeadlineExceeded):
				return false, ErrPacketTimeout
			case err == io.EOF:
				return false, io.ErrUnexpectedEOF
			}
			return false, err
		}
		used, done, err := c.handleAll(buffer[:filled])
		if done || err != nil {
			return done, err
		}
		if used > 0 {
			filled = copy(buffer, buffer[used:filled])
			deadline = time.Now().Add(c.server.PacketTimeout)
		}
		if filled == 0 {
			return false, nil
		}
		buffer = grow(buffer, filled)
	}
}

// handleAll handles every whole packet in b and then sends what that gave rise
// to. used is how many bytes they had.
func (c *Conn) handleAll(b []byte) (used int, done bool, err error) {
	if err := c.holdOutput(); err != nil {
		return 0, false, err
	}
	defer c.releaseOutput()
	for packets := uint64(0); ; packets++ {
		first, body, size, err := frame(b[used:], c.server.MaxPacketSize)
		if err == nil && size > 0 && size <= len(b)-used {
			done, err = c.handle(first, b[used+body:used+size])
			used += size
			if err == nil && !done {
				continue
			}
			packets++
		}
		c.server.stats.packetsIn.Add(packets)
		return used, done, err
	}
}

func (c *Conn) handle(first byte, body []byte) (done bool, err error) {
	switch first >> 4 {
	case typePublish:
		if err := c.message.decode(first, body); err != nil {
			return false, err
		}
		if c.message.QoS == 1 {
			if err := c.awaitRoom(c.message.PacketID); err != nil {
				return false, err
			}
		}
		return false, c.session.Publish(&c.message)
	case typePuback:
		id, err := decodePuback(first, body)
		if err == nil {
			c.settle(id)
		}
		return false, err
	case typePingreq:
		err := decodeEmpty(first, body)
		if err == nil {
			c.append(func(b []byte) []byte { return append(b, typePingresp<<4, 0) })
		}
		return false, err
	case typeSubscribe:
		id, subscriptions, err := decodeSubscribe(first, body)
		if err != nil {
			return false, err
		}
		codes, err := c.session.Subscribe(subscriptions)
		if err != nil {
			return false, err
		}
		c.append(func(b []byte) []byte { return appendSuback(b, id, codes) })
		return false, nil
	case typeUnsubscribe:
		id, filters, err := decodeUnsubscribe(first, body)
		if err != nil {
			return false, err
		}
		if err := c.session.Unsubscribe(filters); err != nil {
			return false, err
		}
		c.append(func(b []byte) []byte { return appendUnsuback(b, id) })
		return false, nil
	case typeDisconnect:
		err := decodeEmpty(first, body)
		return err == nil, err
	case typeConnect:
		return false, protocolError("MQTT-3.1.0-2", "a second CONNECT")
	}
	return false, protocolError("MQTT-2.2.1", "a packet of type %d, which no client sends here", first>>4)
}

// idleDeadline is when silence ends the connection, or before that lets it rest; the zero
// time is never.
func (c *Conn) idleDeadline() (deadline time.Time, rests bool) {
	after := c.server.RestAfter
	switch {
	case c.rests && !c.resting && (c.keepAlive == 0 || after < c.keepAlive):
		return c.lastPacket.Add(after), true
	case c.keepAlive == 0:
		return time.Time{}, false
	}
	return c.lastPacket.Add(c.keepAlive), false
}

// readUntil reads with a deadline, unless the connection is closing: Close sets
// a deadline of its own, which must not be overwritten.
func (c *Conn) readUntil(b []byte, deadline time.Time) (int, error) {
	c.mutex.Lock()
	if c.closing {
		c.mutex.Unlock()
		return 0, c.closeReason()
	}
	err := c.net.SetReadDeadline(deadline)
	c.mutex.Unlock()
	if err != nil {
		return 0, err
	}
	n, err := c.net.Read(b)
	c.server.stats.bytesIn.Add(uint64(n))
	if n == 0 && err == nil {
		err = io.ErrNoProgress
	}
	return n, err
}

// Close ends the connection. The first reason is the one that the session gets.
func (c *Conn) Close(reason error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.closing {
		return
	}
	c.closing, c.reason = true, reason
	c.closeBy = time.Now().Add(min(closeGrace, c.server.WriteTimeout))
	c.dropDelayed()
	c.room.Broadcast()
	// The connection's goroutine wakes up and does the rest.
	c.net.SetReadDeadline(longAgo)
	c.net.SetWriteDeadline(c.writeDeadline())
}

// Reset ends the connection abruptly: what is on its way to the client is lost, and TCP
// tells it of a reset. Over a WebSocket it is Close.
func (c *Conn) Reset(reason error) {
	below := c.net
	for {
		outer, ok := below.(interface{ NetConn() net.Conn }) // TLS, and what a listener puts around TCP
		if !ok {
			break
		}
		below = outer.NetConn()
	}
	tcp, ok := below.(*net.TCPConn)
	if ok {
		tcp.SetLinger(0)
	}
	c.Close(reason)
	if ok {
		tcp.Close()
	}
}

// closeReason is what ends the handling of packets once the connection is closing.
func (c *Conn) closeReason() error {
	if c.reason == nil {
		return net.ErrClosed
	}
	return c.reason
}

// writeDeadline is by when what is written now must have been taken. The mutex
// is held.
func (c *Conn) writeDeadline() time.Time {
	if c.server.aborting() {
		return longAgo
	}
	if c.closing && !errors.Is(c.reason, ErrShutdown) {
		return c.closeBy
	}
	return time.Now().Add(c.server.WriteTimeout)
}

var longAgo = time.Unix(1, 0)

// closeGrace is how long what is already on its way out may take once a
// connection is closing.
const closeGrace = 2 * time.Second

// finish gives the client what it is still owed, closes the network connection
// and tells everyone.
func (c *Conn) finish() {
	c.mutex.Lock()
	if errors.Is(c.reason, ErrShutdown) {
		// Messages that were taken are acknowledged before the end, so that the
		// client needn't send them again.
		for c.acks.len() > 0 && !c.server.aborting() {
			c.room.Wait()
		}
	}
	for c.writing {
		c.room.Wait()
	}
	last, reason := c.out, c.reason
	if c.out = nil; !c.connected || c.broken {
		last = nil // nothing may come before CONNACK, or after a part of a packet
	}
	waiting := c.inFlight
	c.inFlight = nil
	c.mutex.Unlock()

	c.server.stats.end(reason)
	if len(last) > 0 {
		c.net.SetWriteDeadline(time.Now().Add(closeGrace))
		c.net.Write(last) // the client may be gone; it learns the same from the close
		putBuffer(last)
	}
	c.net.Close()
	for _, done := range waiting {
		if done != nil {
			c.server.contain(c.peer, func() error { done(net.ErrClosed); return nil })
		}
	}
	if c.session != nil {
		c.server.contain(c.peer, func() error { c.session.Close(reason); return nil })
	}
}
