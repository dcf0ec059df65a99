package cli

import (
	"strings"
	"testing"
	"time"
)

// TestParseLogTime has times that nothing in a log can have: they are refused in the
// words of a flag, before a server is asked.
func TestParseLogTime(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"24h":                       now.Add(-24 * time.Hour),
		"2026-11-23T12:00:00+01:00": now.Add(-time.Hour),
		"0001-01-01T00:00:00Z":      {},
	} {
		if at, err := ParseLogTime(text, now); !at.Equal(want) || err != nil {
			t.Errorf("%s is %s, error %v", text, at, err)
		}
	}
	for _, text := range []string{"9999-12-31T23:59:59-01:00", "1600-01-01T00:00:00Z", "0000-01-01T00:00:00Z"} {
		if _, err := ParseLogTime(text, now); err == nil || !strings.Contains(err.Error(), "1678 to 2262") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := ParseLogTime("tomorrow", now); err == nil {
		t.Error("tomorrow is taken")
	}
}
