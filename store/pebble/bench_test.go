package pebble_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-iot/berth/store"
)

var document = make([]byte, 512)

// BenchmarkCommit changes one document of 512 bytes in each commit.
func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			d := open(b, b.TempDir())
			defer d.Close()
			b.ReportAllocs()
			var left atomic.Int64
			left.Store(int64(b.N))
			var all sync.WaitGroup
			for w := range writers {
				all.Go(func() {
					for n := 0; left.Add(-1) >= 0; n++ {
						change := store.Change{Collection: "twins", Key: fmt.Sprintf("%d-%d", w, n%1000),
							Value: document}
						if _, err := d.Commit(b.Context(), change); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}

// filled opens an engine with n documents of 512 bytes.
func filled(b *testing.B, dir string, n int) store.Documents {
	b.Helper()
	d := open(b, dir)
	for i := 0; i < n; {
		var changes []store.Change
		for ; i < n && len(changes) < 1000; i++ {
			changes = append(changes, store.Change{Collection: "devices", Key: deviceKey(i), Value: document})
		}
		if _, err := d.Commit(b.Context(), changes...); err != nil {
			b.Fatal(err)
		}
	}
	return d
}

func deviceKey(i int) string { return fmt.Sprintf("device-%07d", i) }

// BenchmarkGet reads random documents of a small and of a large collection, and
// BenchmarkGet/…/list pages of 100 from random places.
func BenchmarkGet(b *testing.B) {
	for _, n := range []int{1000, 1_000_000} {
		dir := filepath.Join(b.TempDir(), "documents")
		d := filled(b, dir, n)
		if err := d.Close(); err != nil {
			b.Fatal(err)
		}
		d = open(b, dir)
		b.Run(fmt.Sprintf("documents=%d/get", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Get(b.Context(), "devices", deviceKey(rand.IntN(n))); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("documents=%d/absent", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := d.Get(b.Context(), "devices", deviceKey(rand.IntN(n))+"x"); err != store.ErrNotFound {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("documents=%d/list", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := d.List(b.Context(), "devices", "device-", deviceKey(rand.IntN(n)), 100); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("documents=%d/count", n), func(b *testing.B) {
			for b.Loop() {
				if got, err := store.Count(b.Context(), d, "devices"); err != nil || got != n {
					b.Fatal(got, err)
				}
			}
		})
		if err := d.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen opens an empty folder.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	took := time.Duration(0)
	for i := range b.N {
		begun := time.Now()
		d := open(b, filepath.Join(dir, fmt.Sprint(i)))
		took += time.Since(begun)
		if err := d.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(took.Microseconds())/float64(b.N), "open-µs")
}

// BenchmarkCreate puts new documents, in a collection whose number commits keep and in
// one that nobody has counted.
func BenchmarkCreate(b *testing.B) {
	for _, counted := range []bool{false, true} {
		for _, writers := range []int{1, 16, 256} {
			b.Run(fmt.Sprintf("counted=%v/writers=%d", counted, writers), func(b *testing.B) {
				d := open(b, b.TempDir())
				defer d.Close()
				if counted {
					if _, err := d.Count(b.Context(), "devices"); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportAllocs()
				b.ResetTimer()
				var next atomic.Int64
				var all sync.WaitGroup
				for range writers {
					all.Go(func() {
						for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
							change := store.Change{Collection: "devices", Key: deviceKey(int(i)), Match: store.Absent,
								Value: document}
							if _, err := d.Commit(b.Context(), change); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				all.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
			})
		}
	}
}
