package segment

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/berth-iot/berth/store"
)

// window lets a fixed number of appends be outstanding and measures how long
// each takes. A token is the time of the append.
type window struct {
	b     *testing.B
	begun time.Time
	slots chan struct{}
	took  []time.Duration // written by the committer alone
}

func (w *window) Committed(token uint64, _ store.Position, err error) {
	if err != nil {
		w.b.Error(err)
	}
	w.took = append(w.took, time.Since(w.begun)-time.Duration(token))
	<-w.slots
}

// BenchmarkAppend appends 256-byte records to 4 partitions with a fixed number
// of them outstanding.
func BenchmarkAppend(b *testing.B) {
	for _, outstanding := range []int{1, 16, 50, 256, 800, 1024} {
		b.Run(fmt.Sprintf("outstanding=%d", outstanding), func(b *testing.B) {
			logs, err := Open(b.TempDir(), Options{Marks: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer logs.Close()
			log, err := logs.Open("telemetry",
				store.LogOptions{Partitions: 4, Retention: store.Retention{Bytes: 1 << 30}})
			if err != nil {
				b.Fatal(err)
			}
			record := make([]byte, 256)
			w := &window{b: b, begun: time.Now(), slots: make(chan struct{}, outstanding),
				took: make([]time.Duration, 0, b.N)}
			b.ReportAllocs()
			b.SetBytes(int64(len(record)))
			b.ResetTimer()
			for i := range b.N {
				w.slots <- struct{}{}
				log.Append(i%4, record, w, uint64(time.Since(w.begun)))
			}
			for range outstanding {
				w.slots <- struct{}{}
			}
			b.StopTimer()
			slices.Sort(w.took)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
			b.ReportMetric(float64(w.took[len(w.took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(w.took[len(w.took)*99/100].Microseconds()), "p99-µs")
		})
	}
}

// large makes a closed log of about 1 GB in 4 partitions.
func large(b *testing.B, dir string) (records int) {
	const outstanding = 1024
	logs, log := openOne(b, dir, Options{}, 4)
	w := &window{b: b, begun: time.Now(), slots: make(chan struct{}, outstanding)}
	record := make([]byte, 256)
	for records = 0; records*len(record) < 1_000_000_000; records++ {
		w.slots <- struct{}{}
		log.Append(records%4, record, w, 0)
	}
	closeAll(b, logs)
	return records
}

// BenchmarkOpen opens a log of 1 GB that was closed, or that lost its indexes.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	large(b, dir)
	for _, indexed := range []bool{true, false} {
		b.Run(fmt.Sprintf("indexed=%t", indexed), func(b *testing.B) {
			took := time.Duration(0)
			for range b.N {
				if !indexed {
					indexes, err := filepath.Glob(filepath.Join(dir, "log", "*"+indexSuffix))
					if err != nil || len(indexes) == 0 {
						b.Fatal(indexes, err)
					}
					for _, path := range indexes {
						if err := os.Remove(path); err != nil {
							b.Fatal(err)
						}
					}
				}
				begun := time.Now()
				logs, _ := openOne(b, dir, Options{}, 4)
				took += time.Since(begun)
				closeAll(b, logs)
			}
			b.ReportMetric(float64(took.Microseconds())/float64(b.N), "open-µs")
		})
	}
}

// BenchmarkRead reads a log of 1 GB: from one end to the other in steps of 500
// records, and single records at random places.
func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	records := large(b, dir)
	logs, log := openOne(b, dir, Options{}, 4)
	defer closeAll(b, logs)
	b.Run("sequential", func(b *testing.B) {
		b.SetBytes(500 * 256)
		next := int64(0)
		for b.Loop() {
			got, err := log.Read(b.Context(), 1, next, 500, 1<<20)
			if err != nil {
				b.Fatal(err)
			}
			if next += int64(len(got)); len(got) < 500 {
				next = 0
			}
		}
	})
	b.Run("random", func(b *testing.B) {
		for b.Loop() {
			if got, err := log.Read(b.Context(), 1, rand.Int64N(int64(records/4)), 1, 1<<20); err != nil ||
				len(got) != 1 {
				b.Fatal(len(got), err)
			}
		}
	})
}
