package storetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-iot/berth/store"
)

// OpenLogs opens the logs kept in the folder dir, which is empty at first. The
// suite closes them and opens the same folder again. An engine that drops old
// records in pieces must be opened with pieces of at most 1 MiB.
type OpenLogs func(t testing.TB, dir string) store.Logs

// RunLogs tests an implementation of store.Logs.
func RunLogs(t *testing.T, open func(t testing.TB, dir string) store.Logs) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, OpenLogs)
	}{
		{"AppendAndRead", appendAndRead},
		{"RecordsAreCopied", recordsAreCopied},
		{"OrderAndPositions", orderAndPositions},
		{"CommittedOnce", committedOnce},
		{"ReadLimits", readLimits},
		{"LargeRecords", largeRecords},
		{"Bounds", bounds},
		{"SequenceAt", sequenceAt},
		{"Wait", wait},
		{"Follow", follow},
		{"Names", names},
		{"OpenAgain", openAgain},
		{"Reopen", reopenLogs},
		{"CloseCommitsWhatWasAccepted", closeCommits},
		{"Closed", closedLogs},
		{"Retention", retention},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open) })
	}
}

// receipts is a store.Committer that keeps all it is told. Its tokens are
// 0, 1, 2, …
type receipts struct {
	mu   sync.Mutex
	more sync.Cond
	told []receipt // in the order of the calls
}

type receipt struct {
	token uint64
	at    store.Position
	err   error
}

func newReceipts() *receipts {
	r := &receipts{}
	r.more.L = &r.mu
	return r
}

func (r *receipts) Committed(token uint64, at store.Position, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, receipt{token, at, err})
	r.more.Broadcast()
}

// wait returns the receipts once there are n of them.
func (r *receipts) wait(n int) []receipt {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.told) < n {
		r.more.Wait()
	}
	return r.told
}

// closing closes the logs when the test ends.
func closing(t *testing.T, logs store.Logs) store.Logs {
	t.Cleanup(func() {
		if err := logs.Close(); err != nil && !errors.Is(err, store.ErrClosed) {
			t.Errorf("close: %v", err)
		}
	})
	return logs
}

func openLog(t testing.TB, logs store.Logs, name string, options store.LogOptions) store.Log {
	t.Helper()
	log, err := logs.Open(name, options)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// newLog opens a log in a new folder until the test ends.
func newLog(t *testing.T, open OpenLogs, partitions int) store.Log {
	t.Helper()
	return openLog(t, closing(t, open(t, t.TempDir())), "telemetry", store.LogOptions{Partitions: partitions})
}

// write appends the records and returns their places once they are durable.
func write(t testing.TB, log store.Log, partition int, records ...[]byte) []store.Position {
	t.Helper()
	r := newReceipts()
	for i, record := range records {
		log.Append(partition, record, r, uint64(i))
	}
	var at []store.Position
	for i, told := range r.wait(len(records)) {
		if told.err != nil || told.token != uint64(i) {
			t.Fatalf("append %d of partition %d: told of %d, %v", i, partition, told.token, told.err)
		}
		at = append(at, told.at)
	}
	return at
}

// readAll returns all records of the partition, read in small steps.
func readAll(t testing.TB, log store.Log, partition int) []store.Record {
	t.Helper()
	var all []store.Record
	from := log.Bounds(partition).First
	for {
		got, err := log.Read(t.Context(), partition, from, 7, 1<<20)
		if err != nil {
			t.Fatalf("read partition %d from %d: %v", partition, from, err)
		}
		if len(got) == 0 {
			return all
		}
		all = append(all, got...)
		from = got[len(got)-1].Sequence + 1
	}
}

func numbered(n int) [][]byte {
	records := make([][]byte, n)
	for i := range records {
		records[i] = fmt.Appendf(nil, "record %d", i)
	}
	return records
}

func appendAndRead(t *testing.T, open OpenLogs) {
	log := newLog(t, open, 3)
	if n := log.Partitions(); n != 3 {
		t.Fatalf("%d partitions, want 3", n)
	}
	for p := range 3 {
		if got, err := log.Read(t.Context(), p, 0, 10, 1<<20); err != nil || len(got) != 0 {
			t.Fatalf("read of an empty partition: %v, %v", got, err)
		}
	}
	at := write(t, log, 1, []byte("one"), nil, []byte("three"))
	want := []store.Record{
		{Position: at[0], Value: []byte("one")},
		{Position: at[1], Value: []byte{}},
		{Position: at[2], Value: []byte("three")},
	}
	got, err := log.Read(t.Context(), 1, 0, 10, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(bytes.Equal)); diff != "" {
		t.Fatal(diff)
	}
	for _, p := range []int{0, 2} {
		if got, err := log.Read(t.Context(), p, 0, 10, 1<<20); err != nil || len(got) != 0 {
			t.Fatalf("read of partition %d, which is empty: %v, %v", p, got, err)
		}
	}
	for _, p := range []int{-1, 3} {
		if _, err := log.Read(t.Context(), p, 0, 10, 1<<20); err == nil {
			t.Errorf("read of partition %d of 3 succeeded", p)
		}
		r := newReceipts()
		log.Append(p, []byte("x"), r, 0)
		if r.wait(1)[0].err == nil {
			t.Errorf("append to partition %d of 3 succeeded", p)
		}
	}
}

func recordsAreCopied(t *testing.T, open OpenLogs) {
	log := newLog(t, open, 1)
	r := newReceipts()
	record := make([]byte, 100)
	for i := range 200 {
		binary.BigEndian.PutUint64(record, uint64(i))
		log.Append(0, record, r, uint64(i))
	}
	r.wait(200)
	got := readAll(t, log, 0)
	for i, record := range got {
		if n := binary.BigEndian.Uint64(record.Value); n != uint64(i) {
			t.Fatalf("record %d holds %d", i, n)
		}
	}
	// The caller owns what was read, and may even add to it.
	_ = append(got[0].Value, bytes.Repeat([]byte("x"), 200)...)
	clear(got[0].Value)
	for i, record := range got[1:] {
		if n := binary.BigEndian.Uint64(record.Value); n != uint64(i+1) {
			t.Fatalf("record %d changed with another", i+1)
		}
	}
	if again := readAll(t, log, 0); len(again) != 200 {
		t.Fatalf("%d records, want 200", len(again))
	}
}

// orderAndPositions lets many append at once and reads it all back.
func orderAndPositions(t *testing.T, open OpenLogs) {
	const partitions, writers, each = 3, 6, 500
	log := newLog(t, open, partitions)
	all := make([]*receipts, writers)
	var appending sync.WaitGroup
	for w := range writers {
		all[w] = newReceipts()
		appending.Go(func() {
			for i := range each {
				log.Append((w+i)%partitions, fmt.Appendf(nil, "%d %d", w, i), all[w], uint64(i))
			}
		})
	}
	appending.Wait()
	told := map[string]store.Position{}
	for w, r := range all {
		for _, receipt := range r.wait(each) {
			if receipt.err != nil {
				t.Fatal(receipt.err)
			}
			told[fmt.Sprintf("%d %d", w, receipt.token)] = receipt.at
		}
	}
	total := 0
	for p := range partitions {
		newest := make([]int, writers)
		for w := range newest {
			newest[w] = -1
		}
		var before store.Position
		for n, record := range readAll(t, log, p) {
			total++
			if record.Sequence != int64(n) {
				t.Fatalf("record %d of partition %d has sequence %d", n, p, record.Sequence)
			}
			if n > 0 && (record.Offset <= before.Offset || record.Time < before.Time) {
				t.Fatalf("partition %d goes from %+v to %+v", p, before, record.Position)
			}
			if at, ok := told[string(record.Value)]; !ok || at != record.Position {
				t.Fatalf("record %q is at %+v, and Committed said %+v", record.Value, record.Position, at)
			}
			before = record.Position
			var w, i int
			if _, err := fmt.Sscan(string(record.Value), &w, &i); err != nil {
				t.Fatal(err)
			}
			if i <= newest[w] {
				t.Fatalf("record %d of writer %d comes after record %d", i, w, newest[w])
			}
			newest[w] = i
		}
	}
	if total != writers*each {
		t.Fatalf("%d records, want %d", total, writers*each)
	}
}

func committedOnce(t *testing.T, open OpenLogs) {
	const n = 2000
	logs := closing(t, open(t, t.TempDir()))
	log := openLog(t, logs, "telemetry", store.LogOptions{Partitions: 2})
	parts := []*receipts{newReceipts(), newReceipts()}
	for i := range n {
		log.Append(i%2, []byte("x"), parts[i%2], uint64(i/2))
	}
	for _, r := range parts {
		r.wait(n / 2)
	}
	if err := logs.Close(); err != nil { // nothing may be told after this
		t.Fatal(err)
	}
	for p, r := range parts {
		told := r.wait(n / 2)
		if len(told) != n/2 {
			t.Fatalf("partition %d: told %d times of %d records", p, len(told), n/2)
		}
		for i, receipt := range told {
			if receipt.err != nil || receipt.token != uint64(i) || receipt.at.Sequence != int64(i) {
				t.Fatalf("partition %d: call %d told of record %d at %d, %v",
					p, i, receipt.token, receipt.at.Sequence, receipt.err)
			}
		}
	}
}

func readLimits(t *testing.T, open OpenLogs) {
	log := newLog(t, open, 2)
	var records [][]byte
	for i := range 20 {
		records = append(records, bytes.Repeat([]byte{byte(i)}, 100))
	}
	write(t, log, 0, records[:10]...)
	write(t, log, 1, records...)
	write(t, log, 0, records[10:]...)
	for _, test := range []struct {
		from                 int64
		maxRecords, maxBytes int
		first, n             int
	}{
		{0, 100, 1 << 20, 0, 20},
		{0, 1, 1 << 20, 0, 1},
		{0, 7, 1 << 20, 0, 7},
		{8, 5, 1 << 20, 8, 5},
		{0, 100, 1000, 0, 10},
		{5, 100, 999, 5, 9},
		{5, 100, 100, 5, 1},
		{5, 100, 1, 5, 1}, // the first is given whatever its length
		{5, 100, 0, 5, 1},
		{19, 100, 1 << 20, 19, 1},
		{20, 100, 1 << 20, 0, 0},
		{21, 100, 1 << 20, 0, 0},
		{math.MaxInt64, 100, 1 << 20, 0, 0},
		{-1, 2, 1 << 20, 0, 2},
		{math.MinInt64, 2, 1 << 20, 0, 2},
		{0, math.MaxInt, math.MaxInt, 0, 20},
	} {
		got, err := log.Read(t.Context(), 0, test.from, test.maxRecords, test.maxBytes)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != test.n {
			t.Errorf("read from %d, at most %d records and %d bytes: %d records, want %d",
				test.from, test.maxRecords, test.maxBytes, len(got), test.n)
		}
		for i, record := range got {
			if record.Sequence != int64(test.first+i) || !bytes.Equal(record.Value, records[test.first+i]) {
				t.Errorf("read from %d: record %d is %d, %x", test.from, i, record.Sequence, record.Value[:1])
			}
		}
	}
}

func largeRecords(t *testing.T, open OpenLogs) {
	log := newLog(t, open, 2)
	var records [][]byte
	for i, size := range []int{10, 64 << 10, 256 << 10, 0, 1 << 20, 1<<20 + 1, 3 << 20, 5} {
		records = append(records, bytes.Repeat([]byte{byte('a' + i)}, size))
	}
	write(t, log, 1, records...)
	got := readAll(t, log, 1)
	if len(got) != len(records) {
		t.Fatalf("%d records, want %d", len(got), len(records))
	}
	for i, record := range got {
		if !bytes.Equal(record.Value, records[i]) {
			t.Errorf("record %d of %d bytes came back as %d other bytes", i, len(records[i]), len(record.Value))
		}
	}
}

func bounds(t *testing.T, open OpenLogs) {
	log := newLog(t, open, 2)
	for p := range 2 {
		if diff := cmp.Diff(store.Bounds{}, log.Bounds(p)); diff != "" {
			t.Fatal(diff)
		}
	}
	at := write(t, log, 1, numbered(5)...)
	got := log.Bounds(1)
	if want := (store.Bounds{First: 0, Next: 5, Last: at[4], Bytes: got.Bytes}); got != want {
		t.Fatalf("bounds %+v, want %+v", got, want)
	}
	if got.Bytes < 5*8 {
		t.Fatalf("%d bytes on disk, fewer than were appended", got.Bytes)
	}
	if diff := cmp.Diff(store.Bounds{}, log.Bounds(0)); diff != "" {
		t.Fatal(diff)
	}
}

func sequenceAt(t *testing.T, open OpenLogs) {
	log := newLog(t, open, 2)
	want := func(partition int, unixNano, want int64) {
		t.Helper()
		if got, err := log.SequenceAt(t.Context(), partition, unixNano); err != nil || got != want {
			t.Errorf("sequence at %d of partition %d: %d (%v), want %d", unixNano, partition, got, err, want)
		}
	}
	want(0, 0, 0)
	want(0, math.MaxInt64, 0)
	var at []store.Position
	for i := range 60 {
		write(t, log, 1, []byte("the other one"))
		at = append(at, write(t, log, 0, numbered(i%3+1)...)...)
	}
	first := func(unixNano int64) int64 {
		for _, position := range at {
			if position.Time >= unixNano {
				return position.Sequence
			}
		}
		return int64(len(at))
	}
	for _, position := range at {
		for _, unixNano := range []int64{position.Time - 1, position.Time, position.Time + 1} {
			want(0, unixNano, first(unixNano))
		}
	}
	want(0, math.MinInt64, 0)
	want(0, math.MaxInt64, int64(len(at)))
}

func wait(t *testing.T, open OpenLogs) {
	log := newLog(t, open, 2)
	write(t, log, 0, numbered(3)...)
	if err := log.Wait(t.Context(), 0, 2); err != nil { // it has grown past that already
		t.Fatal(err)
	}
	const waiters = 5
	ended := make(chan error, waiters)
	for range waiters {
		go func() { ended <- log.Wait(t.Context(), 0, 3) }()
	}
	write(t, log, 1, numbered(1)...) // not theirs
	write(t, log, 0, numbered(1)...)
	for range waiters {
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- log.Wait(ctx, 0, 4) }()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatalf("wait with an ended context: %v", err)
	}
}

// follow reads the log with Read and Wait while it is written.
func follow(t *testing.T, open OpenLogs) {
	const n, readers = 3000, 3
	log := newLog(t, open, 1)
	var reading sync.WaitGroup
	for range readers {
		reading.Go(func() {
			for next := int64(0); next < n; {
				if err := log.Wait(t.Context(), 0, next); err != nil {
					t.Error(err)
					return
				}
				got, err := log.Read(t.Context(), 0, next, 100, 4000)
				if err != nil || len(got) == 0 {
					t.Errorf("read from %d after Wait: %d records (%v)", next, len(got), err)
					return
				}
				for _, record := range got {
					if want := fmt.Sprintf("record %d", next); record.Sequence != next || string(record.Value) != want {
						t.Errorf("record %d is %q, want %q", record.Sequence, record.Value, want)
						return
					}
					next++
				}
			}
		})
	}
	r := newReceipts()
	for i, record := range numbered(n) {
		log.Append(0, record, r, uint64(i))
	}
	r.wait(n)
	reading.Wait()
}
