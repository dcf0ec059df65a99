package guard

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/berth-iot/berth/fault"
)

// TestSearches bounds what devices cost whose tokens were made with the key of no group: a
// device, its source, and all sources that fail. A search that finds something costs
// nothing, and who has not failed pays for nobody else.
func TestSearches(t *testing.T) {
	ctx, now := context.Background(), noon
	clock := func() time.Time { return now }
	q := NewSearches()
	// search is one search through all groups of a service that has a thousand.
	search := func(remote, id string, found bool) error {
		end, err := q.Begin(ctx, remote, id, 1000, clock)
		if err == nil {
			end(found)
		}
		return err
	}
	const here, elsewhere = "192.0.2.1:1", "192.0.2.2:1"
	for range 3 * SearchesOfDevice / 1000 {
		if err := search(here, "good", true); err != nil {
			t.Fatalf("a search that finds something: %v", err)
		}
	}
	n := 0
	for ; search(here, "bad", false) == nil; n++ {
	}
	if n != SearchesOfDevice/1000 {
		t.Errorf("a device fails %d times before it is refused, want %d", n, SearchesOfDevice/1000)
	}
	err := search("192.0.2.1:2", "BAD", true) // another port and another spelling are the same device
	wait := fault.From(err).RetryAfter
	if !errors.Is(err, fault.Throttled) || wait <= 0 || wait > 2*time.Second {
		t.Errorf("it is answered %v, come back after %v", err, wait)
	}
	now = now.Add(wait)
	if err := search(here, "bad", false); err != nil {
		t.Errorf("when it comes back: %v", err)
	}
	for ; search(here, fmt.Sprint("bad-", n), false) == nil; n++ {
	}
	if want := SearchesOfSource / 1000; n < want || n > want+20 {
		t.Errorf("a source fails %d times before it is refused, want about %d", n, want)
	}
	if err := errors.Join(search(elsewhere, "bad", false), search("192.0.2.3:1", "good", true)); err != nil {
		t.Errorf("other sources: %v", err)
	}
}

// TestSearchesTakeTurns: one searches at a time, and who can't wait does not.
func TestSearchesTakeTurns(t *testing.T) {
	q, ctx := NewSearches(), context.Background()
	end, err := q.Begin(ctx, "192.0.2.1:1", "d1", 10, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	impatient, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := q.Begin(impatient, "192.0.2.2:1", "d2", 10, time.Now); !errors.Is(err, context.Canceled) {
		t.Errorf("who has gone is answered %v", err)
	}
	var waiting sync.WaitGroup
	searching := 0 // written by whose turn it is
	for i := range 20 {
		waiting.Go(func() {
			end, err := q.Begin(ctx, "192.0.2.3:1", fmt.Sprint("d", i), 10, time.Now)
			if err != nil {
				t.Error(err)
				return
			}
			if searching++; searching != 1 {
				t.Errorf("%d search at once", searching)
			}
			searching--
			end(i%2 == 0)
		})
	}
	end(true)
	waiting.Wait()
}
