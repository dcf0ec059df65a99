package health

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestConditions begin, change and end, and the log hears of the beginning and the
// end.
func TestConditions(t *testing.T) {
	var log bytes.Buffer
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	s := New(slog.New(slog.NewTextHandler(&log, nil)), func() time.Time { return now })
	names := func() (names string) {
		for _, condition := range s.Conditions() {
			names += condition.Name + " "
		}
		return names
	}
	if !s.Ready() || names() != "" {
		t.Fatal("something is wrong from the beginning")
	}
	s.Raise("b-warning", Warning, "%d is odd", 1)
	if !s.Ready() {
		t.Error("a warning makes it not ready")
	}
	if !s.Raise("z-failure", Failure, "%s failed", "it") || s.Raise("z-failure", Failure, "%s failed more", "it") {
		t.Error("the log is told of the beginning, and only of that")
	}
	if s.Ready() || names() != "z-failure b-warning " {
		t.Errorf("ready %v with %s", s.Ready(), names())
	}
	now = now.Add(time.Minute)
	worst := s.Conditions()[0]
	french := worst.In(func(text string) string { return strings.ReplaceAll(text, "failed more", "a encore échoué") })
	if worst.Text() != "it failed more" || french != "it a encore échoué" || !worst.Since.Equal(now.Add(-time.Minute)) {
		t.Errorf("it is %q, %q, since %v", worst.Text(), french, worst.Since)
	}
	s.Clear("z-failure")
	s.Clear("z-failure")
	if !s.Ready() || names() != "b-warning " || fmt.Sprint(s.Names()) != "[b-warning z-failure]" {
		t.Errorf("in the end there are %s of %v", names(), s.Names())
	}
	want := []string{`level=WARN msg="1 is odd" condition=b-warning`, `level=ERROR msg="it failed" condition=z-failure`,
		`level=WARN msg="over: it failed more" condition=z-failure lasted=1m0s`}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != len(want) {
		t.Fatalf("the log is\n%s", &log)
	}
	for i, line := range lines {
		if !strings.HasSuffix(line, want[i]) {
			t.Errorf("the log says %s, want %s", line, want[i])
		}
	}
	var none *Set
	none.Raise("x", Failure, "nothing")
	none.Clear("x")
	if !none.Ready() || none.Conditions() != nil {
		t.Error("nothing is wrong with a server that has no set")
	}
}
