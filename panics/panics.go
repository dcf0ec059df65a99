// Package panics keeps a panic to what it happened in: it is logged with its stack,
// counted, and nobody else is disturbed.
package panics

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
)

// Door is where a panic happened: the way in of the connection or request that it
// ended, or Background.
type Door string

// The doors.
const (
	MQTT       Door = "mqtt"
	WebSocket  Door = "websocket" // MQTT over WebSocket
	HTTPS      Door = "https"
	Portal     Door = "portal"
	Background Door = "background" // what serves no connection: sweeps, indexes, assignments
)

// Doors are all of them.
var Doors = [...]Door{MQTT, WebSocket, HTTPS, Portal, Background}

// ErrPanic is what the work that panicked ends with.
var ErrPanic = errors.New("the server failed while it did this. Its log has the stack")

// Recorder logs and counts panics. A nil Recorder logs to slog.Default().
type Recorder struct {
	logger *slog.Logger
	counts [len(Doors)]atomic.Uint64
}

// NewRecorder returns a recorder that logs to logger.
func NewRecorder(logger *slog.Logger) *Recorder { return &Recorder{logger: logger} }

// Record logs and counts what recover returned. It is for deferred functions: the
// stack that it logs is that of its caller's goroutine, which still has the panic's.
func (r *Recorder) Record(door Door, value any, attributes ...any) {
	logger := slog.Default()
	if r != nil {
		logger = r.logger
		for i := range Doors {
			if Doors[i] == door {
				r.counts[i].Add(1)
			}
		}
	}
	what := []any{"door", string(door), "panic", fmt.Sprint(value), "stack", string(debug.Stack())}
	logger.Error("panic", append(what, attributes...)...)
}

// Count returns how many panics there were.
func (r *Recorder) Count(door Door) (n uint64) {
	for i := range Doors {
		if Doors[i] == door {
			n = r.counts[i].Load()
		}
	}
	return n
}

// Do returns what f returns, and ErrPanic when f panics.
func (r *Recorder) Do(door Door, f func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			r.Record(door, value)
			err = ErrPanic
		}
	}()
	return f()
}
