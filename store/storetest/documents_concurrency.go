package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/berth-iot/berth/store"
)

// listSeesOneMoment moves a token from key to key: no list may see two of them,
// or none.
func listSeesOneMoment(t *testing.T, open OpenDocuments) {
	d := documents(t, open)
	const places, moves = 16, 300
	key := func(i int) string { return fmt.Sprintf("%02d", i%places) }
	commit(t, d, put("tokens", key(0), "x"))
	done := make(chan error, 1)
	go func() {
		for i := range moves {
			_, err := d.Commit(context.Background(),
				store.Change{Collection: "tokens", Key: key(i * 7), Match: store.Present, Delete: true},
				store.Change{Collection: "tokens", Key: key(i*7 + 7), Match: store.Absent, Value: []byte("x")})
			if err != nil {
				done <- fmt.Errorf("move %d: %w", i, err)
				return
			}
		}
		done <- nil
	}()
	for {
		got, err := d.List(t.Context(), "tokens", "", "", places)
		if err != nil || len(got) != 1 {
			t.Errorf("list while a token moves: %d documents (%v), want 1", len(got), err)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
	}
}

// noUpdateIsLost lets many count in the same documents by compare-and-swap.
func noUpdateIsLost(t *testing.T, open OpenDocuments) {
	d := documents(t, open)
	const workers, rounds = 8, 40
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for done := 0; done < rounds; {
				err := increment(t.Context(), d, "a", "b")
				if _, conflict := store.IsConflict(err); conflict {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				done++
			}
		})
	}
	all.Wait()
	wantValue(t, d, "counters", "a", strconv.Itoa(workers*rounds))
	wantValue(t, d, "counters", "b", strconv.Itoa(workers*rounds))
}

// increment adds one to each of the counters that it reads.
func increment(ctx context.Context, d store.Documents, keys ...string) error {
	var changes []store.Change
	for _, key := range keys {
		change := store.Change{Collection: "counters", Key: key}
		n := 0
		switch document, err := d.Get(ctx, "counters", key); {
		case errors.Is(err, store.ErrNotFound):
			change.Match = store.Absent
		case err != nil:
			return err
		default:
			change.Match = store.IfMatch(document.ETag)
			if n, err = strconv.Atoi(string(document.Value)); err != nil {
				return err
			}
		}
		change.Value = strconv.AppendInt(nil, int64(n+1), 10)
		changes = append(changes, change)
	}
	_, err := d.Commit(ctx, changes...)
	return err
}

// oppositeOrders commits the same documents in all orders, which must not block.
func oppositeOrders(t *testing.T, open OpenDocuments) {
	d := documents(t, open)
	const workers, rounds, keys = 8, 40, 6
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for r := range rounds {
				var changes []store.Change
				for k := range keys {
					key := (k + w) % keys
					if w%2 == 1 {
						key = keys - 1 - key
					}
					changes = append(changes, put("shared", strconv.Itoa(key), fmt.Sprintf("%d/%d", w, r)))
				}
				if _, err := d.Commit(t.Context(), changes...); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	got, err := d.List(t.Context(), "shared", "", "", keys+1)
	if err != nil || len(got) != keys {
		t.Fatalf("%d documents (%v), want %d", len(got), err, keys)
	}
	for _, document := range got[1:] {
		if !bytes.Equal(document.Value, got[0].Value) {
			t.Fatalf("parts of two commits: %q and %q", got[0].Value, document.Value)
		}
	}
}

// countWhileChanging counts a collection for the first time and again and again
// while many put and delete in it; when all is still, the count is what a list
// shows.
func countWhileChanging(t *testing.T, open OpenDocuments) {
	d := documents(t, open)
	const workers, rounds, keys = 6, 60, 20
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() {
			for i := range rounds {
				key := strconv.Itoa((worker*7 + i*3) % keys)
				var err error
				switch i % 4 {
				case 0:
					_, err = d.Commit(t.Context(), store.Change{Collection: "counted", Key: key, Value: []byte("v")})
				case 1:
					_, err = d.Commit(t.Context(),
						store.Change{Collection: "counted", Key: key, Match: store.Absent, Value: []byte("v")},
						store.Change{Collection: "other", Key: key, Value: []byte("v")})
				case 2:
					_, err = d.Commit(t.Context(), store.Change{Collection: "counted", Key: key, Delete: true})
				case 3:
					_, err = d.Commit(t.Context(),
						store.Change{Collection: "counted", Key: key, Match: store.Present, Delete: true})
				}
				if _, conflict := store.IsConflict(err); err != nil && !conflict {
					t.Error(err)
					return
				}
				if n, err := store.Count(t.Context(), d, "counted"); err != nil || n < 0 || n > keys {
					t.Errorf("count while documents change: %d (%v), want 0 to %d", n, err, keys)
				}
			}
		})
	}
	all.Wait()
	if n, err := store.Count(t.Context(), d, "other"); err != nil || n == 0 {
		t.Errorf("nothing was put where nothing was: %d (%v)", n, err)
	}
	wantCounts(t, d, "counted", "other", "nothing")
}

// countTogether counts two collections that each commit changes alike: at no moment one
// is ahead of the other. What was counted is known after a Close.
func countTogether(t *testing.T, open OpenDocuments) {
	dir := t.TempDir()
	d := open(t, dir)
	const workers, rounds, keys = 4, 100, 8
	done := make(chan struct{})
	var counting, all sync.WaitGroup
	counting.Go(func() {
		for ended := false; !ended; {
			select {
			case <-done:
				ended = true
			default:
			}
			counts, err := d.Count(t.Context(), "one", "other", "one")
			if err != nil || len(counts) != 3 || counts[0] != counts[1] || counts[0] != counts[2] {
				t.Errorf("counted %v (%v), want the same three times", counts, err)
				return
			}
		}
	})
	for worker := range workers {
		all.Go(func() {
			for i := range rounds {
				key := fmt.Sprint(worker, i*i%keys)
				change := store.Change{Collection: "one", Key: key, Value: []byte("v"), Delete: i%3 == 2}
				alike := change
				alike.Collection = "other"
				if _, err := d.Commit(t.Context(), change, alike); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	close(done)
	counting.Wait()
	wantCounts(t, d, "one", "other")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, dir)
	defer d.Close()
	wantCounts(t, d, "one", "other")
	another := store.Change{Collection: "one", Key: "another", Value: []byte("v")}
	if _, err := d.Commit(t.Context(), another); err != nil {
		t.Fatal(err)
	}
	wantCounts(t, d, "one", "other", "nothing")
}
