package log

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	repeatsShown = 10          // warnings, and errors, with one message that are written one by one
	requestLines = 100         // the same for other lines, as of requests
	repeatsTime  = time.Second // within so long, from the first
	maxLines     = 1000        // that are told apart; the program has far fewer
)

// repeats counts lines by level and message. Of those that come more often within a
// second than are shown, the last is written when the second is over, for all that
// were not, with their number as the attribute "repeated".
type repeats struct {
	mutex sync.Mutex
	lines map[line]*window
}

type line struct {
	level   slog.Level
	message string
}

// window is a second of a line's.
type window struct {
	began time.Time
	seen  int

	repeated int         // of seen, not written
	last     slog.Record // of them
	next     slog.Handler
	over     *time.Timer // writes it
}

// count reports whether a line is only counted. If not, it is the caller's to write.
func (r *repeats) count(next slog.Handler, record slog.Record) bool {
	key, now := line{record.Level, record.Message}, time.Now()
	r.mutex.Lock()
	defer r.mutex.Unlock()
	w := r.lines[key]
	if w == nil && len(r.lines) >= maxLines {
		r.purge(now)
		if len(r.lines) >= maxLines {
			key = line{level: record.Level} // they share one
			w = r.lines[key]
		}
	}
	if w == nil || w.repeated == 0 && now.Sub(w.began) >= repeatsTime {
		r.lines[key] = &window{began: now, seen: 1}
		return false
	}
	if w.seen++; w.seen <= shown(record.Level) {
		return false
	}
	w.repeated++
	w.last, w.next = record, next
	if w.over == nil {
		w.over = time.AfterFunc(w.began.Add(repeatsTime).Sub(now), func() { r.end(key, w) })
	}
	return true
}

// shown is how many lines of a level and message are written within a second. What
// somebody is refused is no warning, and refusals can be had as fast as requests.
func shown(level slog.Level) int {
	if level >= slog.LevelWarn {
		return repeatsShown
	}
	return requestLines
}

// end writes what a window has counted, and forgets it.
func (r *repeats) end(key line, w *window) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.lines[key] != w {
		return // flushed
	}
	delete(r.lines, key)
	w.write()
}

func (w *window) write() {
	if w.repeated > 0 {
		w.last.AddAttrs(slog.Int("repeated", w.repeated))
		w.next.Handle(context.Background(), w.last) // nobody is left to be told of an error
	}
}

func (r *repeats) purge(now time.Time) {
	for key, w := range r.lines {
		if w.repeated == 0 && now.Sub(w.began) >= repeatsTime {
			delete(r.lines, key)
		}
	}
}

func (r *repeats) flush() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for key, w := range r.lines {
		if w.over != nil {
			w.over.Stop()
		}
		delete(r.lines, key)
		w.write()
	}
}
