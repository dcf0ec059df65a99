package admission

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"
)

// Reason is why a connection was not served, or not any longer. It is the error that
// reading from it returns.
type Reason int

// The reasons.
const (
	ByLimit   Reason = iota // all places are taken by those who have proved who they are
	Displaced               // made room for another
	Silent                  // FirstByteTimeout
	Gone                    // the client closed it before its handshake began
	NoTurn                  // TurnTimeout
	Unproven                // ProofTimeout
	reasons
)

var reasonNames = [reasons]struct{ name, text string }{
	ByLimit:   {"limit", "the server has as many connections as it may"},
	Displaced: {"displaced", "made room for another: its address had most of the connections that had proved nothing"},
	Silent:    {"silent", "sent nothing in time"},
	Gone:      {"gone", "went away before its TLS handshake"},
	NoTurn:    {"overload", "waited too long for its TLS handshake"},
	Unproven:  {"unproven", "did not prove in time who it is"},
}

// String is a word, for metrics.
func (r Reason) String() string { return reasonNames[r].name }

// Error implements error.
func (r Reason) Error() string { return reasonNames[r].text }

// Reasons returns all reasons.
func Reasons() (all []Reason) {
	for r := range reasons {
		all = append(all, r)
	}
	return all
}

// Stats are a gate's figures.
type Stats struct {
	Connections int // open now
	Waiting     int // of these, for their first byte or their turn
	Unproven    int // of these, with a handshake begun and nothing proved
	Limit       int // of Connections; 0 means unlimited

	Accepted uint64 // connections that came since the gate was made, refused ones included
	Refused  [reasons]uint64
}

type counters struct {
	accepted atomic.Uint64
	refused  [reasons]atomic.Uint64
}

// Stats returns the present figures.
func (g *Gate) Stats() Stats {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	stats := Stats{
		Connections: g.total,
		Waiting:     g.waiting,
		Unproven:    g.unproven,
		Limit:       int(g.limit.Load()),
		Accepted:    g.accepted.Load(),
	}
	for r := range stats.Refused {
		stats.Refused[r] = g.refused[r].Load()
	}
	return stats
}

// logPause is the least time between two lines of a refusalLog.
const logPause = 10 * time.Second

// refusalLog logs what may happen ten thousand times a second: the first time at once,
// then how often it was since, every ten seconds. The gate's mutex guards it.
type refusalLog struct {
	last  time.Time
	count int
}

func (l *refusalLog) add(g *Gate, level slog.Level, message string, about ...any) {
	l.count++
	now := time.Now()
	if now.Sub(l.last) < logPause {
		return
	}
	g.Logger.Log(context.Background(), level, message, append([]any{"count", l.count}, about...)...)
	l.last, l.count = now, 0
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}
