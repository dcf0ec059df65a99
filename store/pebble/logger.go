package pebble

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// logger passes on the errors of the database, one a second, and keeps its running
// commentary quiet. What the database does in the background and can't do, it
// tries again at once.
type logger struct {
	slog *slog.Logger

	mutex   sync.Mutex
	said    time.Time // when an error was passed on
	swallow int       // how many were not since then

	abandoned atomic.Bool // nobody waits any more for the database to open
}

const logInterval = time.Second

var _ pebble.LoggerAndTracer = (*logger)(nil)

// Infof implements pebble.Logger.
func (l *logger) Infof(string, ...any) {}

// Errorf implements pebble.Logger.
func (l *logger) Errorf(format string, args ...any) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	now := time.Now()
	if now.Sub(l.said) < logInterval {
		l.swallow++
		return
	}
	attributes := []any{"error", fmt.Sprintf(format, args...)}
	if l.swallow > 0 {
		attributes = append(attributes, "moreSinceTheLast", l.swallow)
	}
	l.said, l.swallow = now, 0
	l.slog.Error("documents", attributes...)
}

// Fatalf must not return: Pebble calls it when it no longer knows what its
// files hold. A panic would not do, since it may be recovered further up.
func (l *logger) Fatalf(format string, args ...any) {
	if l.abandoned.Load() {
		runtime.Goexit()
	}
	l.slog.Error("documents: the database can't go on", "error", fmt.Sprintf(format, args...))
	os.Exit(1)
}

func (l *logger) Eventf(context.Context, string, ...any) {}

func (l *logger) IsTracingEnabled(context.Context) bool { return false }
