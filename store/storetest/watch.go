package storetest

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/berth-iot/berth/store"
)

// watch fails unless who watches a collection has been told of a change when its Commit
// returns, and nobody after the end of his context.
func watch(t *testing.T, open OpenDocuments) {
	d := documents(t, open)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var devices, both, ended atomic.Int64
	d.Watch(ctx, func() { devices.Add(1) }, "devices")
	d.Watch(t.Context(), func() { both.Add(1) }, "devices", "twins")
	gone, leave := context.WithCancel(t.Context())
	d.Watch(gone, func() { ended.Add(1) }, "devices")
	leave()
	eventually(t, "a watch ends with its context", func() bool {
		before := ended.Load()
		commit(t, d, put("devices", "a", "v"))
		return ended.Load() == before
	})

	etag := commit(t, d, put("devices", "a", "one"))
	for _, c := range []struct {
		name          string
		changes       []store.Change
		devices, both bool // who is told
	}{
		{"put", []store.Change{put("devices", "a", "two")}, true, true},
		{"put of a new one", []store.Change{put("devices", "b", "one")}, true, true},
		{"delete", []store.Change{{Collection: "devices", Key: "b", Delete: true}}, true, true},
		{"put of another collection", []store.Change{put("twins", "a", "one")}, false, true},
		{"put of two", []store.Change{put("twins", "a", "two"), put("devices", "a", "three")}, true, true},
		{"put after a check", []store.Change{
			{Collection: "twins", Key: "a", Match: store.Present, Check: true},
			put("devices", "a", "four"),
		}, true, true},
	} {
		devicesBefore, bothBefore := devices.Load(), both.Load()
		commit(t, d, c.changes...)
		if c.devices && devices.Load() == devicesBefore || c.both && both.Load() == bothBefore {
			t.Errorf("%s: not everybody was told before the commit returned", c.name)
		}
	}
	stale := store.Change{Collection: "devices", Key: "a", Match: store.IfMatch(etag), Value: []byte("never")}
	_, err := d.Commit(t.Context(), stale)
	wantConflict(t, err, 0, "devices", "a")
	wantValue(t, d, "devices", "a", "four")
}

// watchMany has caches of many, made and given up while others commit, all show what was
// committed: at once to those who have done it, in the end to all.
func watchMany(t *testing.T, open OpenDocuments) {
	d := documents(t, open)
	const workers, rounds = 6, 50
	load := func(ctx context.Context) (map[string]string, error) {
		found, err := d.List(ctx, "cached", "", "", workers+1)
		values := make(map[string]string)
		for _, document := range found {
			values[document.Key] = string(document.Value)
		}
		return values, err
	}
	shared := store.NewCache(d, load, "cached")
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			key := strconv.Itoa(w)
			for round := range rounds {
				value := fmt.Sprint(w, round)
				_, err := d.Commit(t.Context(), put("cached", key, value), put("elsewhere", key, value))
				if err != nil {
					t.Error(err)
					return
				}
				own := store.NewCache(d, load, "elsewhere", "cached")
				for _, cache := range []*store.Cache[map[string]string]{shared, own} {
					if values, err := cache.Get(t.Context()); err != nil || values[key] != value {
						t.Errorf("a cache has %q (%v) after the commit of %q", values[key], err, value)
						return
					}
				}
			}
		})
	}
	all.Wait()
	values, err := shared.Get(t.Context())
	for w := range workers {
		if want := fmt.Sprint(w, rounds-1); err != nil || values[strconv.Itoa(w)] != want {
			t.Errorf("in the end a cache has %q (%v), want %q", values[strconv.Itoa(w)], err, want)
		}
	}
}
