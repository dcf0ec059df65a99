// Package admission decides which network connections a server takes, for all of
// its listeners together.
//
// A connection is silent until its first byte comes, then it waits for its turn
// to do the TLS handshake, then it is served but has proved nothing until
// Conn.Proven is called. As long as there is room, everybody gets in. When there
// is none, the address with most of what has proved nothing makes room, with its
// oldest connection; those that have proved who they are stay. What a client sends
// before its proof counts too: it may be held, as half a packet or a form is.
//
// Addresses get their turns one after the other, and within an address the newest
// connection comes first: when more come than can be served, those that have waited
// longest are the next to give up, and work done for them would be done for nobody.
// For the same reason no more handshakes are begun than are finished in a short time.
package admission

import (
	"container/heap"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Gate counts connections and hands out turns. Zero limits take the defaults that
// they name. Fields may not change once a listener of it accepts.
type Gate struct {
	Logger *slog.Logger // slog.Default() when nil

	// MaxConnections is how many connections may be open at once, those that wait
	// included. 0 means unlimited.
	MaxConnections int

	// MaxUnproven bounds what those who have proved nothing may take. A connection
	// that waits counts as one; from its handshake on, when it has buffers and keys,
	// it counts as servedWeight, and for each cameWeight bytes that come beyond the
	// first cameFree as one more. 32,768.
	MaxUnproven int

	// Handshakes is how many TLS handshakes may be computed at once. One that waits
	// for its client does not count. One less than GOMAXPROCS, but at least one: the
	// rest is for connections that are in.
	Handshakes int

	FirstByteTimeout time.Duration // from the connection to its first byte; 5 s
	TurnTimeout      time.Duration // from then until the handshake may begin; 10 s
	HandshakeTimeout time.Duration // from then until it is done; 10 s
	ProofTimeout     time.Duration // from then until Conn.Proven; 1 min, none when negative

	once  sync.Once
	limit atomic.Int64 // MaxConnections, or what SetMaxConnections said since

	mutex     sync.Mutex
	arrivals  uint64 // numbers connections in the order in which they came
	total     int    // connections open now
	waiting   int    // of these, silent or ready
	unproven  int    // of these, begun
	came      int    // the weight of what came on these
	sources   map[address]*source
	heaviest  sourceHeap // of all sources
	turns     sourceQueue
	free      int // turns that nobody has
	window    window
	retry     *time.Timer // for free turns, when the window is full
	returning []*Conn     // in the middle of their handshake: the next turn is for the first of them

	counters
	refusals [reasons]refusalLog
	failures refusalLog // of accepting
}

// servedWeight is how much more a connection takes once its handshake has begun:
// some 20 KiB, and some 5 KiB before.
const servedWeight = 4

// What comes weighs more than its bytes, as what is made of it takes more: the fields
// of an HTTP header twenty times as much.
const (
	cameFree   = 8 << 10
	cameWeight = 512
)

func (g *Gate) init() {
	g.once.Do(func() {
		if g.Logger == nil {
			g.Logger = slog.Default()
		}
		for _, d := range []struct {
			field *time.Duration
			value time.Duration
		}{
			{&g.FirstByteTimeout, 5 * time.Second}, {&g.TurnTimeout, 10 * time.Second},
			{&g.HandshakeTimeout, 10 * time.Second}, {&g.ProofTimeout, time.Minute},
		} {
			if *d.field == 0 {
				*d.field = d.value
			}
		}
		if g.MaxUnproven == 0 {
			g.MaxUnproven = 32768
		}
		if g.Handshakes == 0 {
			g.Handshakes = max(1, runtime.GOMAXPROCS(0)-1)
		}
		if g.window.span == 0 {
			g.window.span, g.window.least = windowTime, windowMin
		}
		if g.limit.Load() == 0 {
			g.limit.Store(int64(g.MaxConnections))
		}
		g.free = g.Handshakes
		g.sources = make(map[address]*source)
	})
}

// SetMaxConnections changes MaxConnections while listeners accept. Connections
// beyond a lower limit stay until they end.
func (g *Gate) SetMaxConnections(limit int) { g.limit.Store(int64(limit)) }

// enter takes a connection, or closes it and returns nil.
func (g *Gate) enter(inner net.Conn, listener *Listener) *Conn {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.accepted.Add(1)
	if limit := int(g.limit.Load()); limit > 0 {
		for g.total >= limit {
			if !g.displace() {
				g.refuse(ByLimit, inner.RemoteAddr())
				inner.Close()
				return nil
			}
		}
	}
	g.makeRoom(1)
	g.arrivals++
	c := &Conn{Conn: inner, listener: listener, gate: g, arrival: g.arrivals}
	c.source = g.sourceOf(inner.RemoteAddr())
	g.total++
	g.moveTo(c, silent)
	return c
}

// makeRoom displaces connections until there is room for what weighs so much. The
// mutex is held.
func (g *Gate) makeRoom(weight int) {
	for g.waiting+servedWeight*g.unproven+g.came+weight > g.MaxUnproven && g.displace() {
	}
}

// displace closes the oldest connection of the address with most of what has proved
// nothing. It reports false when there is none. The mutex is held.
func (g *Gate) displace() bool {
	if len(g.heaviest) == 0 {
		return false
	}
	g.end(g.heaviest[0].oldest(), Displaced)
	return true
}

// end closes a connection for a reason of the gate's own. The mutex is held.
func (g *Gate) end(c *Conn, reason Reason) {
	c.cause.Store(&reason)
	g.refuse(reason, c.RemoteAddr())
	g.forget(c)
	c.wake()
	c.Conn.Close()
}

// forget stops counting a connection. The mutex is held.
func (g *Gate) forget(c *Conn) {
	if c.stage == closed {
		return
	}
	g.moveTo(c, closed)
	g.total--
	if c.timer != nil {
		c.timer.Stop()
	}
}

// moveTo moves a connection to another stage. The mutex is held.
func (g *Gate) moveTo(c *Conn, to stage) {
	g.count(c.stage, -1)
	g.count(to, 1)
	if c.stage.unproven() {
		c.source.list(c.stage).take(c)
	}
	if !to.unproven() {
		g.weigh(c, 0)
		c.settled.Store(true)
	}
	c.stage = to
	if to.unproven() {
		c.source.list(to).add(c)
	}
	g.reweigh(c.source)
	if to > begun && g.window.leave(c) {
		g.useFreeTurns()
	}
}

// weigh says how much what came on a connection weighs, of which one has half of all
// there is at most. The mutex is held, and the source must be reweighed.
func (g *Gate) weigh(c *Conn, weight int) {
	weight = min(weight, g.MaxUnproven/2)
	change := weight - c.weight
	c.weight = weight
	c.source.came += change
	g.came += change
}

func (g *Gate) count(at stage, change int) {
	switch at {
	case silent, ready:
		g.waiting += change
	case begun:
		g.unproven += change
	}
}

// reweigh puts a source where it belongs after its weight has changed. One that has
// nothing any more is forgotten. The mutex is held.
func (g *Gate) reweigh(s *source) {
	switch weight := s.weight(); {
	case weight > 0 && s.index >= 0:
		heap.Fix(&g.heaviest, s.index)
	case weight > 0:
		g.sources[s.address] = s
		heap.Push(&g.heaviest, s)
	case s.index >= 0:
		heap.Remove(&g.heaviest, s.index)
		delete(g.sources, s.address)
	}
}

// sourceOf returns where a connection comes from. The mutex is held.
func (g *Gate) sourceOf(remote net.Addr) *source {
	from := addressOf(remote)
	if s := g.sources[from]; s != nil {
		return s
	}
	return &source{address: from, index: -1}
}

// requestTurn puts a connection whose first byte has come in line for its turn, which it may
// have at once.
func (g *Gate) requestTurn(c *Conn) (granted bool) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if c.stage != silent {
		return false
	}
	c.turn = make(chan struct{})
	g.moveTo(c, ready)
	g.turns.push(c.source)
	if g.free > 0 {
		g.free--
		g.passTurn()
	}
	return c.granted
}

// passTurn gives a turn that somebody is done with to the next. It reports false when
// nobody takes it, so that it is free. The mutex is held.
func (g *Gate) passTurn() bool {
	if len(g.returning) > 0 {
		c := g.returning[0]
		g.returning[0] = nil // or the array holds it
		g.returning = g.returning[1:]
		close(c.back)
		return true
	}
	now := time.Now()
	full := 0 // how many could not begin because the window is full
	for s := g.turns.pop(); s != nil; s = g.turns.pop() {
		c := s.list(ready).newest
		if c == nil {
			continue // they have gone
		}
		if delay := g.window.delay(s, now); delay > 0 {
			g.turns.push(s)
			if full++; full == maxFull || s == g.turns.first {
				g.retryAfter(delay)
				break
			}
			continue
		}
		if s.list(ready).length > 1 {
			g.turns.push(s)
		}
		c.granted = true
		g.moveTo(c, begun)
		c.wake()
		g.makeRoom(0) // c may have to go itself: its handshake then fails at once
		return true
	}
	g.free++
	return false
}

// maxFull bounds how many addresses are looked at for one that may begin.
const maxFull = 16

// enterWindow counts a connection whose handshake goes on. It may have been closed
// meanwhile.
func (g *Gate) enterWindow(c *Conn) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if c.stage == begun {
		g.window.enter(c, time.Now())
	}
}

// retryAfter uses free turns after a while. The mutex is held.
func (g *Gate) retryAfter(pause time.Duration) {
	if g.retry != nil {
		g.retry.Reset(pause)
		return
	}
	g.retry = time.AfterFunc(pause, func() {
		g.mutex.Lock()
		defer g.mutex.Unlock()
		g.useFreeTurns()
	})
}

// useFreeTurns gives the turns that nobody has to those who wait. The mutex is held.
func (g *Gate) useFreeTurns() {
	for g.free > 0 {
		g.free--
		if !g.passTurn() {
			return
		}
	}
}

// begin lets a connection that needs no handshake in.
func (g *Gate) begin(c *Conn) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if c.stage == silent {
		g.moveTo(c, begun)
		g.makeRoom(0)
	}
}

// startProofTimeout begins the time in which a connection must prove who it is.
func (g *Gate) startProofTimeout(c *Conn) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	c.handedOut = true
	if c.stage == begun && g.ProofTimeout > 0 {
		c.timer = time.AfterFunc(g.ProofTimeout, c.closeUnproven)
	}
}

// release gives back the turn of a connection.
func (g *Gate) release() {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.passTurn()
}

// resume waits for a turn to go on with a handshake. It is given before any new
// handshake begins, and soon: nobody who has a turn waits for anything.
func (g *Gate) resume(c *Conn) {
	g.mutex.Lock()
	if g.free > 0 {
		g.free--
		g.mutex.Unlock()
		return
	}
	c.back = make(chan struct{})
	g.returning = append(g.returning, c)
	g.mutex.Unlock()
	<-c.back
}

// acceptFailed logs that a listener could not accept. Out of file descriptors, a
// connection that has proved nothing makes room for what needs one more.
func (g *Gate) acceptFailed(err error) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.failures.add(g, slog.LevelError, "connections could not be accepted", "error", err)
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		g.displace()
	}
}

// refuse counts a connection that is not served, and logs what an operator may have
// to act on. The mutex is held.
func (g *Gate) refuse(reason Reason, remote net.Addr) {
	g.refused[reason].Add(1)
	if reason == ByLimit || reason == Displaced {
		g.refusals[reason].add(g, slog.LevelWarn, "connections refused",
			"reason", reason.Error(), "remote", remote.String(), "limit", g.limit.Load())
	}
}

// abandon closes what a listener accepted and has not handed out.
func (g *Gate) abandon(l *Listener) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	for _, s := range g.sources {
		for i := range s.lists {
			for c := s.lists[i].oldest; c != nil; c = c.newer {
				if c.listener == l && !c.handedOut {
					c.wake()
					c.Conn.Close() // its goroutine does the rest
				}
			}
		}
	}
}

var errListenerClosed = errors.New("the server is shutting down")
