// Package health keeps what is wrong with a running server, as conditions that
// have a name. Each is said once in the log when it begins and when it is over,
// and shown where those who run the server look: /readyz, the metrics, the portal.
package health

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Grade says how bad a condition is.
type Grade int

const (
	Warning Grade = iota // worth an operator's look; the server does all it should
	Failure              // the server does not do all it should, and is not ready
)

// Condition is something that is wrong now.
type Condition struct {
	Name  string // such as disk-low; small letters and dashes
	Grade Grade
	Since time.Time

	format string
	args   []any
}

// Text says in a sentence, without a final stop, what is wrong and what to do.
func (c Condition) Text() string { return fmt.Sprintf(c.format, c.args...) }

// In returns the text in another language. translate is given its format, with its
// verbs, and returns what it does not know as it is.
func (c Condition) In(translate func(text string) string) string {
	return fmt.Sprintf(translate(c.format), c.args...)
}

// Set is what is wrong with a server. A nil Set is of one with which nothing is.
type Set struct {
	logger *slog.Logger
	now    func() time.Time

	mutex sync.Mutex
	all   map[string]Condition
	seen  map[string]bool // the names that there have been
}

// New returns a set in which nothing is wrong.
func New(logger *slog.Logger, now func() time.Time) *Set {
	return &Set{logger: logger, now: now, all: make(map[string]Condition), seen: make(map[string]bool)}
}

// Raise notes that something is wrong, or what is wrong now if it was already. It
// reports whether the log was told, which hears of the beginning only.
func (s *Set) Raise(name string, grade Grade, format string, args ...any) (logged bool) {
	if s == nil {
		return false
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	was, known := s.all[name]
	now := Condition{Name: name, Grade: grade, Since: was.Since, format: format, args: args}
	if !known {
		now.Since = s.now()
	}
	s.all[name], s.seen[name] = now, true
	if known && was.Grade == grade {
		return false
	}
	level := slog.LevelWarn
	if grade == Failure {
		level = slog.LevelError
	}
	s.logger.Log(context.Background(), level, now.Text(), "condition", name)
	return true
}

// Clear notes that something is no longer wrong.
func (s *Set) Clear(name string) {
	if s == nil {
		return
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	was, known := s.all[name]
	if !known {
		return
	}
	delete(s.all, name)
	s.logger.Warn("over: "+was.Text(), "condition", name, "lasted", s.now().Sub(was.Since).Round(time.Millisecond))
}

// Conditions returns what is wrong, the worst first.
func (s *Set) Conditions() []Condition {
	if s == nil {
		return nil
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	all := make([]Condition, 0, len(s.all))
	for _, condition := range s.all {
		all = append(all, condition)
	}
	slices.SortFunc(all, func(a, b Condition) int {
		if a.Grade != b.Grade {
			return int(b.Grade) - int(a.Grade)
		}
		return strings.Compare(a.Name, b.Name)
	})
	return all
}

// Names returns the names of all conditions that there have been.
func (s *Set) Names() []string {
	if s == nil {
		return nil
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	names := make([]string, 0, len(s.seen))
	for name := range s.seen {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Ready reports whether the server does all that it should.
func (s *Set) Ready() bool {
	return !slices.ContainsFunc(s.Conditions(), func(c Condition) bool { return c.Grade == Failure })
}
