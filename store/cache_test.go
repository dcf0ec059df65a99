package store_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/memory"
)

// TestCacheFails has a value that can't be loaded be loaded again by the next who asks.
func TestCacheFails(t *testing.T) {
	d := memory.New().Open()
	failed, fails, loads := errors.New("it can't be loaded"), true, 0
	cache := store.NewCache(d, func(context.Context) (int, error) {
		if loads++; fails {
			return 0, failed
		}
		return loads, nil
	}, "devices")
	if _, err := cache.Get(t.Context()); !errors.Is(err, failed) {
		t.Errorf("error %v, want that of the load", err)
	}
	fails = false
	for range 3 {
		if n, err := cache.Get(t.Context()); err != nil || n != 2 {
			t.Errorf("loaded %d times (%v), want 2", n, err)
		}
	}
	fails = true
	if _, err := d.Commit(t.Context(), store.Change{Collection: "devices", Key: "a"}); err != nil {
		t.Fatal(err)
	}
	if _, err := cache.Get(t.Context()); !errors.Is(err, failed) {
		t.Errorf("error %v after a change, want that of the load", err)
	}
	if n, err := cache.GetOrFormer(); !errors.Is(err, failed) || n != 2 {
		t.Errorf("the former value is %d (%v), want 2 with the error of the load", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var waiting sync.WaitGroup
	release, entered := make(chan struct{}), make(chan struct{})
	slow := store.NewCache(d, func(context.Context) (int, error) { close(entered); <-release; return 1, nil },
		"devices")
	waiting.Go(func() { slow.Get(t.Context()) })
	<-entered
	if _, err := slow.Get(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("who has no time to wait for another who loads gets %v", err)
	}
	close(release)
	waiting.Wait()
}
