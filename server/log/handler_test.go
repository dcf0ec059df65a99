package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"
)

// output is where lines go; Write is called with one at a time.
type output struct {
	mutex sync.Mutex
	bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return o.Buffer.Write(b)
}

// take returns the lines since the last time.
func (o *output) take() []string {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	text := strings.TrimSuffix(o.String(), "\n")
	o.Reset()
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

func newLogger() (*slog.Logger, *Handler, *output) {
	written := new(output)
	handler := NewHandler(slog.NewTextHandler(written, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return slog.New(handler), handler, written
}

type valuer struct{ value string }

func (v valuer) LogValue() slog.Value { return slog.StringValue(v.value) }

type broken struct{}

func (*broken) Error() string { panic("broken") }

// Whatever stands in a line, and wherever, its length is bounded.
func TestLineLimit(t *testing.T) {
	const size = 10_000
	for _, filling := range []string{"x", "\x00", "\x80", "é", "\u2028", "𝄞", `"`} {
		long := strings.Repeat(filling, size)
		for name, write := range map[string]func(*slog.Logger){
			"message":  func(l *slog.Logger) { l.Debug(long) },
			"key":      func(l *slog.Logger) { l.Info("m", long, 1) },
			"string":   func(l *slog.Logger) { l.Warn("m", "a", long) },
			"error":    func(l *slog.Logger) { l.Error("m", "a", errors.New(long)) },
			"joined":   func(l *slog.Logger) { l.Error("m", "a", errors.Join(errors.New(long), errors.New(long))) },
			"any":      func(l *slog.Logger) { l.Info("m", "a", struct{ B []string }{[]string{long}}) },
			"bytes":    func(l *slog.Logger) { l.Info("m", "a", []byte(long)) },
			"valuer":   func(l *slog.Logger) { l.Info("m", "a", valuer{long}) },
			"group":    func(l *slog.Logger) { l.Info("m", slog.Group("g", "a", long, slog.Group("h", "b", long))) },
			"with":     func(l *slog.Logger) { l.With("a", long).Info("m") },
			"in group": func(l *slog.Logger) { l.WithGroup(long).Info("m", "a", long) },
			"stack":    func(l *slog.Logger) { l.Error("m", "stack", long) },
		} {
			logger, _, written := newLogger()
			write(logger)
			lines := written.take()
			most := 6*maxError + 200 // a control character is written as \x00, a separator as \u2028
			if name == "stack" {
				most = 6*maxStack + 200
			}
			if len(lines) != 1 || len(lines[0]) > most || !utf8.ValidString(lines[0]) {
				t.Errorf("%s of %q: %d lines, the first of %d bytes", name, filling, len(lines),
					len(strings.Join(lines, "")))
			}
		}
	}
}

func TestTruncatedValues(t *testing.T) {
	logger, _, written := newLogger()
	logger.Warn("connection refused", "client", strings.Repeat("é", 200), "device", "d1", "n", 7, "pause", time.Second,
		"error", errors.New("no such device"), "bad", new(broken), "stack", strings.Repeat("s", 1000))
	line := written.take()[0]
	for _, want := range []string{
		`client="` + strings.Repeat("é", 128) + `… (400 bytes)"`, " device=d1 ", " n=7 ", " pause=1s ",
		` error="no such device" `, "PANIC", "stack=" + strings.Repeat("s", 1000),
	} {
		if !strings.Contains(line, want) {
			t.Errorf("%s\ndoes not say %s", line, want)
		}
	}
	for size := range 300 { // cut anywhere
		for _, filling := range []string{"é", "𝄞"} {
			if got := cut(strings.Repeat("x", size)+strings.Repeat(filling, 300), maxText); !utf8.ValidString(got) {
				t.Fatalf("%q is cut to %q", filling, got)
			}
		}
	}
}

// Of an error that comes as fast as it can, as one of the storage engine that has no
// file descriptors, ten lines a second are written, and how many there were. Of
// requests that are refused it is a hundred; who debugs gets all.
func TestRepetitionIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, _, written := newLogger()
		const each = 2_400
		for second := range 3 {
			for i := range each {
				logger.Error("documents", "error", fmt.Sprint("attempt ", second*each+i))
				logger.With("hub", "h").Warn("documents", "error", "of another level")
				logger.Info("documents", "error", "no warning")
				logger.Debug("documents", "error", "for debugging")
			}
			lines := written.take()
			if want := 2*repeatsShown + requestLines + each; len(lines) != want {
				t.Fatalf("%d lines, want %d", len(lines), want)
			}
			time.Sleep(repeatsTime) // of the bubble: it takes no time
			synctest.Wait()
			lines = written.take()
			if len(lines) != 3 {
				t.Fatalf("when the second is over: %q, want one line for each level", lines)
			}
			repeated := fmt.Sprint(" repeated=", each-repeatsShown)
			told := strings.Join(lines, "\n") + "\n"
			for _, want := range []string{
				fmt.Sprintf(`level=ERROR msg=documents error="attempt %d"`, (second+1)*each-1) + repeated,
				`level=WARN msg=documents hub=h error="of another level"` + repeated,
				fmt.Sprint(`level=INFO msg=documents error="no warning" repeated=`, each-requestLines),
			} {
				if !strings.Contains(told, want+"\n") {
					t.Errorf("%q\nlacks %s", lines, want)
				}
			}
		}
		logger.Error("documents", "error", "one")
		time.Sleep(2 * repeatsTime)
		synctest.Wait()
		if lines := written.take(); len(lines) != 1 || strings.Contains(lines[0], "repeated") {
			t.Errorf("a single line afterwards is written as %q", lines)
		}
	})
}

// Every line is written or counted, whoever writes when, also at the end.
func TestNoLineIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, handler, written := newLogger()
		const writers, lines = 8, 500
		var all sync.WaitGroup
		for i := range writers {
			all.Go(func() {
				for j := range lines {
					logger.Warn(fmt.Sprint("message ", (i+j)%3))
					time.Sleep(time.Duration(j%7) * time.Millisecond)
				}
			})
		}
		all.Wait()
		handler.Flush()
		handler.Flush()
		total := 0
		for _, line := range written.take() {
			repeated := 0
			if _, after, ok := strings.Cut(line, "repeated="); ok {
				fmt.Sscan(after, &repeated)
				total += repeated
				continue
			}
			total++
		}
		if total != writers*lines {
			t.Errorf("%d lines are told of %d", total, writers*lines)
		}
		time.Sleep(2 * repeatsTime)
		synctest.Wait()
		if rest := written.take(); rest != nil {
			t.Errorf("after the last flush: %q", rest)
		}
	})
}

// Messages that the program did not choose take no memory for ever.
func TestManyMessages(t *testing.T) {
	handler := NewHandler(slog.DiscardHandler)
	for i := range 10 * maxLines {
		handler.Handle(context.Background(), slog.NewRecord(time.Now(), slog.LevelError, fmt.Sprint(i), 0))
	}
	handler.repeats.mutex.Lock()
	if n := len(handler.repeats.lines); n > maxLines+1 {
		t.Errorf("%d messages are told apart", n)
	}
	handler.repeats.mutex.Unlock()
	handler.Flush()
}
