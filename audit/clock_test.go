package audit

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// TestClockAhead makes entries while the clock is 400 days ahead, and behind, and
// when it is right again: they stay in the order in which they came, across a
// restart too, and are found by their times.
func TestClockAhead(t *testing.T) {
	l, ctx := open(t), context.Background()
	var now time.Time
	clock := func() time.Time { return now }
	l.now = clock
	for i, at := range []time.Duration{0, 1, 400 * 24, 3, -1000 * 24, 5} {
		now = noon.Add(at * time.Hour)
		if i == 4 {
			l = Open(l.documents, clock)
		}
		if _, err := l.documents.Commit(ctx, l.Change(ctx, Updated, Group, fmt.Sprint(i), nil, nil)...); err != nil {
			t.Fatal(err)
		}
	}
	ids := func(filter Filter) (ids string) {
		t.Helper()
		entries, next, err := l.Entries(ctx, filter)
		if err != nil || next != "" {
			t.Fatalf("next %q, error %v", next, err)
		}
		for _, entry := range entries {
			ids += entry.ID
		}
		return ids
	}
	for filter, want := range map[Filter]string{
		{}: "543210",
		{Since: noon.Add(time.Hour), Until: noon.Add(5 * time.Hour)}: "531",
		{Since: noon.Add(2 * time.Hour)}:                             "532",
		{Until: noon.Add(3 * time.Hour)}:                             "4310",
	} {
		if got := ids(filter); got != want {
			t.Errorf("of %v there are %s, want %s", filter, got, want)
		}
	}
}
