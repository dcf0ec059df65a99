// Package log is what each line of the server's log goes through before it is
// written: others choose much of what a line says, and how often it is said.
package log

import (
	"context"
	"fmt"
	"log/slog"
	"unicode/utf8"
)

const (
	maxText  = 256      // bytes of a message, a key, and a value
	maxError = 1 << 10  // of an error, which ends with its cause
	maxStack = 16 << 10 // of the value of stackKey
	stackKey = "stack"  // of what only the program chooses
)

// Handler hands lines on to another handler, with every part of them cut to a
// bounded length. Lines that repeat are counted instead of being written one by one,
// but for those of debugging; see repeats.
type Handler struct {
	next    slog.Handler
	repeats *repeats
}

var _ slog.Handler = (*Handler)(nil)

// NewHandler returns a handler before next, which escapes control characters, as
// those of package slog do. Flush must be called before the process ends.
func NewHandler(next slog.Handler) *Handler {
	return &Handler{next, &repeats{lines: make(map[line]*window)}}
}

// Flush writes what has been counted and not been written yet.
func (h *Handler) Flush() { h.repeats.flush() }

// Enabled implements slog.Handler.
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	bounded := slog.NewRecord(r.Time, r.Level, cut(r.Message, maxText), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		bounded.AddAttrs(bound(a))
		return true
	})
	if r.Level >= slog.LevelInfo && h.repeats.count(h.next, bounded) {
		return nil
	}
	return h.next.Handle(ctx, bounded)
}

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	bounded := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		bounded[i] = bound(a)
	}
	return &Handler{h.next.WithAttrs(bounded), h.repeats}
}

// WithGroup implements slog.Handler.
func (h *Handler) WithGroup(name string) slog.Handler {
	return &Handler{h.next.WithGroup(cut(name, maxText)), h.repeats}
}

// bound cuts what an attribute says.
func bound(a slog.Attr) slog.Attr {
	a.Key = cut(a.Key, maxText)
	switch a.Value = a.Value.Resolve(); a.Value.Kind() {
	case slog.KindString:
		most := maxText
		if a.Key == stackKey {
			most = maxStack
		}
		a.Value = slog.StringValue(cut(a.Value.String(), most))
	case slog.KindGroup:
		members := make([]slog.Attr, len(a.Value.Group()))
		for i, member := range a.Value.Group() {
			members[i] = bound(member)
		}
		a.Value = slog.GroupValue(members...)
	case slog.KindAny:
		most := maxText
		if _, isError := a.Value.Any().(error); isError {
			most = maxError
		}
		// As a slog.TextHandler says it, which a panic of the value does not hurt.
		a.Value = slog.StringValue(cut(fmt.Sprintf("%+v", a.Value.Any()), most))
	}
	return a
}

// cut shortens a text to about most bytes, between two characters, and then says
// how long it was.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	end := most
	for end > most-utf8.UTFMax && !utf8.RuneStart(text[end]) {
		end--
	}
	return fmt.Sprintf("%s… (%d bytes)", text[:end], len(text))
}
