package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-iot/berth/store"
)

func names(t *testing.T, open OpenLogs) {
	dir := t.TempDir()
	logs := closing(t, open(t, filepath.Join(dir, "logs")))
	names := []string{"", "Telemetry", "a/b", "..", ".", "../x", "a_b", "a b", "é", strings.Repeat("a", 129)}
	for _, name := range names {
		if _, err := logs.Open(name, store.LogOptions{Partitions: 1}); err == nil {
			t.Errorf("log name %q was allowed", name)
		}
	}
	for _, name := range []string{"a", "hub-1.telemetry", "a..b", strings.Repeat("a", 128)} {
		write(t, openLog(t, logs, name, store.LogOptions{Partitions: 1}), 0, []byte(name))
	}
	for _, partitions := range []int{-1, 0, 129} {
		if _, err := logs.Open(fmt.Sprintf("p%d", partitions), store.LogOptions{Partitions: partitions}); err == nil {
			t.Errorf("a log of %d partitions was allowed", partitions)
		}
	}
	most := openLog(t, logs, "most", store.LogOptions{Partitions: 128})
	write(t, most, 127, []byte("x"))
}

func openAgain(t *testing.T, open OpenLogs) {
	logs := closing(t, open(t, t.TempDir()))
	log := openLog(t, logs, "telemetry", store.LogOptions{Partitions: 2})
	again := openLog(t, logs, "telemetry", store.LogOptions{Partitions: 7})
	if again != log || again.Partitions() != 2 {
		t.Fatalf("an open log, opened again, is another one with %d partitions", again.Partitions())
	}
	other := openLog(t, logs, "feedback", store.LogOptions{Partitions: 1})
	write(t, log, 0, []byte("telemetry"))
	if next := other.Bounds(0).Next; next != 0 {
		t.Fatalf("another log has %d records", next)
	}
}

func reopenLogs(t *testing.T, open OpenLogs) {
	dir := t.TempDir()
	var want [2][]store.Record
	for round := range 4 {
		logs := open(t, dir)
		log := openLog(t, logs, "telemetry", store.LogOptions{Partitions: 2 + round})
		if log.Partitions() != 2 {
			t.Fatalf("round %d: %d partitions", round, log.Partitions())
		}
		for p := range want {
			if diff := cmp.Diff(want[p], readAll(t, log, p), cmp.Comparer(bytes.Equal)); diff != "" {
				t.Fatalf("round %d, partition %d: %s", round, p, diff)
			}
			if n := len(want[p]); n > 0 {
				bounds := log.Bounds(p)
				if bounds.First != 0 || bounds.Next != int64(n) ||
					bounds.Last != want[p][n-1].Position || bounds.Bytes == 0 {
					t.Fatalf("round %d, partition %d: bounds %+v after %+v", round, p, bounds, want[p][n-1].Position)
				}
			}
			records := [][]byte{fmt.Appendf(nil, "round %d", round), []byte("x")}
			if p == 1 && round == 2 {
				continue // a partition that rests
			}
			for i, at := range write(t, log, p, records...) {
				want[p] = append(want[p], store.Record{Position: at, Value: records[i]})
			}
		}
		if err := logs.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for p := range want {
		for i, record := range want[p] {
			if record.Sequence != int64(i) ||
				i > 0 && (record.Time < want[p][i-1].Time || record.Offset <= want[p][i-1].Offset) {
				t.Fatalf("partition %d: record %d is at %+v", p, i, record.Position)
			}
		}
	}
}

// closeCommits closes while many append: who was told nil finds the record
// later, all others were told ErrClosed, and everyone was told once.
func closeCommits(t *testing.T, open OpenLogs) {
	dir := t.TempDir()
	const writers, each = 4, 3000
	logs := open(t, dir)
	log := openLog(t, logs, "telemetry", store.LogOptions{Partitions: writers})
	all := make([]*receipts, writers)
	var appending sync.WaitGroup
	for w := range all {
		all[w] = newReceipts()
		appending.Go(func() {
			for i := range each {
				log.Append(w, fmt.Appendf(nil, "%d", i), all[w], uint64(i))
			}
		})
	}
	all[0].wait(each / 10)
	if err := logs.Close(); err != nil {
		t.Fatal(err)
	}
	appending.Wait()
	logs = closing(t, open(t, dir))
	log = openLog(t, logs, "telemetry", store.LogOptions{})
	for w, r := range all {
		records := readAll(t, log, w)
		told := r.wait(each)
		if len(told) != each {
			t.Fatalf("told %d times of %d appends", len(told), each)
		}
		durable := 0
		for _, receipt := range told {
			if receipt.err == nil {
				durable++
				n := receipt.at.Sequence
				if n >= int64(len(records)) || string(records[n].Value) != fmt.Sprint(receipt.token) {
					t.Fatalf("record %d was confirmed at %d and is not there", receipt.token, n)
				}
			} else if !errors.Is(receipt.err, store.ErrClosed) {
				t.Fatal(receipt.err)
			}
		}
		if durable != len(records) {
			t.Fatalf("%d records were confirmed, and %d are there", durable, len(records))
		}
	}
}

func closedLogs(t *testing.T, open OpenLogs) {
	logs := open(t, t.TempDir())
	log := openLog(t, logs, "telemetry", store.LogOptions{Partitions: 1})
	write(t, log, 0, []byte("x"))
	waiting := make(chan error, 1)
	go func() { waiting <- log.Wait(t.Context(), 0, 1) }()
	if err := logs.Close(); err != nil {
		t.Fatal(err)
	}
	_, opened := logs.Open("telemetry", store.LogOptions{Partitions: 1})
	_, read := log.Read(t.Context(), 0, 0, 1, 1)
	_, sought := log.SequenceAt(t.Context(), 0, 0)
	r := newReceipts()
	log.Append(0, []byte("late"), r, 0)
	for call, err := range map[string]error{
		"open": opened, "read": read, "sequence at": sought, "append": r.wait(1)[0].err, "close": logs.Close(),
		"a wait begun before": <-waiting, "wait": log.Wait(t.Context(), 0, 0),
	} {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s after close: %v, want ErrClosed", call, err)
		}
	}
}

func retention(t *testing.T, open OpenLogs) {
	const kept = 2 << 20
	dir := t.TempDir()
	logs := open(t, dir)
	log := openLog(t, logs, "telemetry", store.LogOptions{
		Partitions: 2,
		Retention:  store.Retention{Bytes: kept, Age: int64(time.Hour)},
	})
	write(t, log, 1, []byte("early")) // it goes too, and its partition remembers its place
	last := log.Bounds(1).Last
	record := func(n int64) []byte { return fmt.Appendf(make([]byte, 64<<10), "%d", n) }
	appended := int64(0)
	for ; log.Bounds(0).First == 0 || log.Bounds(1).First == 0; appended++ {
		if appended == 4096 {
			t.Fatalf("nothing was dropped, with bounds %+v", log.Bounds(0))
		}
		write(t, log, 0, record(appended))
	}
	// It drops more if it likes, while this looks; but never too much.
	check := func() {
		t.Helper()
		if total := log.Bounds(0).Bytes + log.Bounds(1).Bytes; total < kept {
			t.Fatalf("%d bytes are left, want at least %d", total, kept)
		}
		got, err := log.Read(t.Context(), 0, 0, 1, 1)
		if err != nil || len(got) != 1 || got[0].Sequence == 0 || !bytes.Equal(got[0].Value, record(got[0].Sequence)) {
			t.Fatalf("read from 0 after records were dropped: %v", err)
		}
		if sequence, err := log.SequenceAt(t.Context(), 0, 0); err != nil || sequence < got[0].Sequence {
			t.Fatalf("sequence at time 0: %d (%v), and the oldest record is %d", sequence, err, got[0].Sequence)
		}
		for i, got := range readAll(t, log, 0) {
			if i > 0 && !bytes.Equal(got.Value, record(got.Sequence)) {
				t.Fatalf("record %d holds something else", got.Sequence)
			}
		}
		if got, want := log.Bounds(0).Next, appended; got != want {
			t.Fatalf("next is %d, want %d", got, want)
		}
		if got := log.Bounds(1); got.First != 1 || got.Next != 1 || got.Last != last {
			t.Fatalf("an emptied partition has bounds %+v, want 1, 1, %+v", got, last)
		}
	}
	check()
	if err := logs.Close(); err != nil {
		t.Fatal(err)
	}
	logs = closing(t, open(t, dir))
	log = openLog(t, logs, "telemetry", store.LogOptions{Partitions: 2})
	check()
	at := write(t, log, 1, []byte("late"))
	if at[0].Sequence != 1 || at[0].Offset <= last.Offset || at[0].Time < last.Time {
		t.Fatalf("an emptied partition goes on at %+v after %+v", at[0], last)
	}
	write(t, log, 0, record(appended))
	appended++
	if got := readAll(t, log, 0); got[len(got)-1].Sequence != appended-1 {
		t.Fatalf("the newest record is %d, want %d", got[len(got)-1].Sequence, appended-1)
	}
}
