package pebble

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/cockroachdb/pebble/v2"
)

// logger passes on the errors of the database and keeps its running commentary
// quiet.
type logger struct{ slog *slog.Logger }

var _ pebble.LoggerAndTracer = logger{}

func (l logger) Infof(string, ...any) {}

func (l logger) Errorf(format string, args ...any) {
	l.slog.Error("documents", "error", fmt.Sprintf(format, args...))
}

// Fatalf must not return: Pebble calls it when it no longer knows what its
// files hold. A panic would not do, since it may be recovered further up.
func (l logger) Fatalf(format string, args ...any) {
	l.slog.Error("documents: the database can't go on", "error", fmt.Sprintf(format, args...))
	os.Exit(1)
}

func (l logger) Eventf(context.Context, string, ...any) {}

func (l logger) IsTracingEnabled(context.Context) bool { return false }
