package admission

import (
	"net"
	"net/netip"
)

// address is what counts as one client's: an IPv4 address, or the 64 bits of an
// IPv6 address that a network gives to one link.
type address = netip.Prefix

func addressOf(remote net.Addr) address {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return address{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	prefix, _ := ip.Prefix(bits) // fails for no address at all only
	return prefix
}

// stage is how far a connection has come.
type stage int

const (
	unknown stage = iota
	silent        // has sent nothing
	ready         // waits for its turn
	begun         // its handshake has begun
	proven
	closed
)

func (s stage) unproven() bool { return s >= silent && s <= begun }

// source is an address with connections that have proved nothing. The gate's mutex
// guards it.
type source struct {
	address address
	lists   [3]connList // of silent, ready and begun
	index   int         // in the gate's heap, -1 outside
	middle  int         // connections in the window
	came    int         // the weight of what came on its connections

	queued bool // in the queue for turns
	next   *source
}

func (s *source) weight() int {
	return s.list(silent).length + s.list(ready).length + servedWeight*s.list(begun).length + s.came
}

// list returns the connections at a stage.
func (s *source) list(at stage) *connList { return &s.lists[at-silent] }

// oldest returns the connection that came first.
func (s *source) oldest() (found *Conn) {
	for i := range s.lists {
		if c := s.lists[i].oldest; c != nil && (found == nil || c.arrival < found.arrival) {
			found = c
		}
	}
	return found
}

// connList holds connections in the order in which they came to their stage.
type connList struct {
	oldest, newest *Conn
	length         int
}

func (l *connList) add(c *Conn) {
	if c.older = l.newest; c.older != nil {
		c.older.newer = c
	} else {
		l.oldest = c
	}
	l.newest = c
	l.length++
}

func (l *connList) take(c *Conn) {
	if c.older != nil {
		c.older.newer = c.newer
	} else {
		l.oldest = c.newer
	}
	if c.newer != nil {
		c.newer.older = c.older
	} else {
		l.newest = c.older
	}
	c.older, c.newer = nil, nil
	l.length--
}

// sourceHeap has the source of the greatest weight first.
type sourceHeap []*source

func (h sourceHeap) Len() int           { return len(h) }
func (h sourceHeap) Less(i, j int) bool { return h[i].weight() > h[j].weight() }
func (h sourceHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *sourceHeap) Push(x any) {
	s := x.(*source)
	s.index = len(*h)
	*h = append(*h, s)
}

// Pop implements heap.Interface.
func (h *sourceHeap) Pop() any {
	last := len(*h) - 1
	s := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	s.index = -1
	return s
}

// sourceQueue has the sources that get turns, one after the other.
type sourceQueue struct{ first, last *source }

func (q *sourceQueue) push(s *source) {
	if s.queued {
		return
	}
	s.queued = true
	if q.last != nil {
		q.last.next = s
	} else {
		q.first = s
	}
	q.last = s
}

func (q *sourceQueue) pop() *source {
	s := q.first
	if s == nil {
		return nil
	}
	if q.first = s.next; q.first == nil {
		q.last = nil
	}
	s.next, s.queued = nil, false
	return s
}
