package segment

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/berth-iot/berth/store"
)

// acknowledged is a store.Committer that counts what it is told.
type acknowledged struct {
	waiting sync.WaitGroup
	mu      sync.Mutex
	at      []store.Position
	errs    []error
}

func (a *acknowledged) Committed(_ uint64, at store.Position, err error) {
	a.mu.Lock()
	if err == nil {
		a.at = append(a.at, at)
	} else {
		a.errs = append(a.errs, err)
	}
	a.mu.Unlock()
	a.waiting.Done()
}

func (a *acknowledged) append(log store.Log, partition int, record string) {
	a.waiting.Add(1)
	log.Append(partition, []byte(record), a, 0)
}

// appendEach makes records durable, each in a batch of its own.
func appendEach(t testing.TB, log store.Log, partition int, records ...string) []store.Position {
	t.Helper()
	var a acknowledged
	for _, record := range records {
		a.append(log, partition, record)
		a.waiting.Wait()
	}
	if len(a.errs) > 0 {
		t.Fatal(a.errs[0])
	}
	return a.at
}

func openOne(t testing.TB, dir string, options Options, partitions int) (*Logs, *Log) {
	t.Helper()
	logs, err := Open(dir, options)
	if err != nil {
		t.Fatal(err)
	}
	log, err := logs.Open("log", store.LogOptions{Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	return logs, log.(*Log)
}

func closeAll(t testing.TB, logs *Logs) {
	t.Helper()
	if err := logs.Close(); err != nil {
		t.Fatal(err)
	}
}

// contents returns all records of a partition.
func contents(t testing.TB, log store.Log, partition int) []string {
	t.Helper()
	records, err := log.Read(t.Context(), partition, 0, 1<<30, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for i, record := range records {
		if record.Sequence != int64(i) {
			t.Fatalf("record %d has sequence %d", i, record.Sequence)
		}
		all = append(all, string(record.Value))
	}
	return all
}

// image is the folder of a log as a crash would leave it.
type image map[string][]byte

// photograph takes the image of a log that is open and idle.
func photograph(t testing.TB, dir string) image {
	t.Helper()
	files := image{}
	entries, err := os.ReadDir(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		b, err := os.ReadFile(filepath.Join(dir, "log", entry.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // an index that is being written; a log that is open has them
		}
		if err != nil {
			t.Fatal(err)
		}
		files[entry.Name()] = b
	}
	return files
}

// restore puts the image into a new folder.
func (i image) restore(t testing.TB) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "log"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, b := range i {
		if err := os.WriteFile(filepath.Join(dir, "log", name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// with returns the image with one file changed.
func (i image) with(name string, change func([]byte) []byte) image {
	changed := image{}
	for n, b := range i {
		changed[n] = b
	}
	changed[name] = change(bytes.Clone(i[name]))
	return changed
}

func segmentName(number uint64) string { return segmentPath("", number) }

var tiny = Options{SegmentSize: 8 << 10}

// TestTornTail breaks the last batch, of three blocks, in every way that a
// crash might, and expects all the others and none of it.
func TestTornTail(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	gate := &gate{pass: make(chan struct{})}
	options := tiny
	options.open = gate.open
	logs, log := openOne(t, dir, options, 3)
	var first, last acknowledged
	gate.shut()
	first.append(log, 0, "first")
	gate.reached(t)
	for p := range 3 {
		last.append(log, p, fmt.Sprintf("lost in %d", p)) // collect while the first is held up
	}
	whole := log.Bounds(0)
	gate.lift()
	first.waiting.Wait()
	last.waiting.Wait()
	if log.tip.batch != 2 || whole.Next != 0 {
		t.Fatalf("%d batches, want 2; bounds %+v before the first sync", log.tip.batch, whole)
	}
	end := log.segments[0].end
	begin := int64(segmentHeader + blockHeader + lengthSize + len("first"))
	photo := photograph(t, dir)
	closeAll(t, logs)

	name := segmentName(1)
	check := func(how string, at int64, broken image) {
		t.Helper()
		dir := broken.restore(t)
		for range 2 { // the second time with nothing left to repair
			logs, log := openOne(t, dir, tiny, 0)
			got := slices.Concat(contents(t, log, 0), contents(t, log, 1), contents(t, log, 2))
			if !slices.Equal(got, []string{"first"}) {
				t.Fatalf("%s at byte %d: %q, want only the first record", how, at, got)
			}
			// As if it crashed again, without the help of an index.
			dir = photograph(t, dir).restore(t)
			closeAll(t, logs)
		}
		logs, log := openOne(t, dir, tiny, 0)
		defer closeAll(t, logs)
		appendEach(t, log, 1, "new")
		if got := contents(t, log, 1); !slices.Equal(got, []string{"new"}) {
			t.Fatalf("%s at byte %d, then appended: %q", how, at, got)
		}
	}
	for at := begin; at < end; at++ {
		check("truncated", at, photo.with(name, func(b []byte) []byte { return b[:at] }))
		check("changed", at, photo.with(name, func(b []byte) []byte { b[at] ^= 0x40; return b }))
	}
	check("zeroed", begin, photo.with(name, func(b []byte) []byte { clear(b[begin : begin+60]); return b }))
}

// TestDamage breaks what was confirmed and expects an error that names the
// place, when the log is opened or the record read.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	logs, log := openOne(t, dir, tiny, 2)
	record := strings.Repeat("x", 1000)
	for range 20 {
		appendEach(t, log, 0, record)
		appendEach(t, log, 1, "small")
	}
	if len(log.segments) < 3 {
		t.Fatalf("%d segments, want several", len(log.segments))
	}
	number := uint64(len(log.segments))
	photo := photograph(t, dir)
	for name := range photo {
		if strings.HasSuffix(name, indexSuffix) {
			delete(photo, name) // each of them may or may not be written yet
		}
	}
	closeAll(t, logs)
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[at] ^= 1; return b }
	}
	const second = segmentHeader + blockHeader + lengthSize + 1000 // where the second block begins
	for _, test := range []struct {
		name   string
		broken image
		says   string
	}{
		{"a header in a sealed segment", photo.with(segmentName(1), flip(segmentHeader+20)),
			"00001.segment is damaged at byte 4096"},
		{"the second block of a sealed segment", photo.with(segmentName(2), flip(second+2)),
			"00002.segment is damaged at byte "},
		{"the first block of the last segment", photo.with(segmentName(number), flip(segmentHeader+20)),
			".segment is damaged at byte 4096: "},
		{"the first body of the last segment", photo.with(segmentName(number), flip(segmentHeader+blockHeader+2)),
			".segment is damaged at byte 4096: "},
		{"a segment's own header", photo.with(segmentName(2), flip(100)),
			"00002.segment is damaged at byte 0: the checksum of its header"},
		{"zeros in a sealed segment", photo.with(segmentName(1), func(b []byte) []byte {
			clear(b[segmentHeader:])
			return b
		}), "00001.segment is damaged at byte 4096"},
		{"a sealed segment cut short", photo.with(segmentName(1), func(b []byte) []byte {
			return b[:segmentHeader+10]
		}), "00001.segment is damaged at byte 4106"},
		{"the description of the log", photo.with(metaName, flip(13)), "log is damaged at byte 0"},
		{"a later version", photo.with(metaName, func(b []byte) []byte { b[8] = 2; return b }), "version 2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := readBack(t, test.broken.restore(t))
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("error %v, want one that says %q", err, test.says)
			}
		})
	}
	t.Run("a body in a sealed segment", func(t *testing.T) {
		// Nothing but its block is passed over, and that is reported once.
		var reports []error
		options := tiny
		options.Damaged = func(_ string, err error) { reports = append(reports, err) }
		logs, log := openOne(t, photo.with(segmentName(2), flip(segmentHeader+blockHeader+10)).restore(t), options, 0)
		defer closeAll(t, logs)
		for range 2 {
			records, err := log.Read(t.Context(), 0, 0, 1<<30, 1<<30)
			if err != nil || len(records) != 19 || records[18].Sequence != 19 {
				t.Fatalf("%d records of 20, %v", len(records), err)
			}
		}
		if len(reports) != 1 || !strings.Contains(reports[0].Error(), "00002.segment is damaged at byte 4096") {
			t.Errorf("reported %v", reports)
		}
	})
	t.Run("a missing segment", func(t *testing.T) {
		gone := photo.with(metaName, bytes.Clone)
		delete(gone, segmentName(2))
		if err := readBack(t, gone.restore(t)); err == nil || !strings.Contains(err.Error(), "segment 2 is missing") {
			t.Fatal(err)
		}
	})
	t.Run("nothing", func(t *testing.T) {
		if err := readBack(t, photo.restore(t)); err != nil {
			t.Fatal(err)
		}
	})
}

// TestDamagedHeader breaks the header of a block in a sealed segment that has an index,
// so that nobody reads it before a reader does: nothing but the block is passed over.
func TestDamagedHeader(t *testing.T) {
	c := &clock{}
	options := tiny
	options.Now = c.Now
	dir := t.TempDir()
	logs, log := openOne(t, dir, options, 2)
	record := strings.Repeat("x", 1000)
	for range 20 {
		c.now.Add(1000)
		appendEach(t, log, 0, record)
		appendEach(t, log, 1, "small")
	}
	// The second segment begins with partition 0 and ends with partition 1.
	first, next, end := log.segments[1].start.edges, log.segments[2].start.edges, log.segments[1].end
	if first[0].next != first[1].next || next[0].next != next[1].next || next[0].next < first[0].next+3 {
		t.Fatalf("the second segment goes from %v to %v", first, next)
	}
	rounds := 0
	awaitRetention(t, log, func(store.Bounds) bool { rounds++; return rounds > 3 }) // it has an index now
	closeAll(t, logs)
	photo := photograph(t, dir)
	large, small := int64(blockHeader+lengthSize+len(record)), int64(blockHeader+lengthSize+len("small"))
	for name, test := range map[string]struct {
		at        int64
		partition int
		lost      int64
	}{
		"the first block":               {segmentHeader, 0, first[0].next},
		"a block in the middle":         {segmentHeader + large + small, 0, first[0].next + 1},
		"a small block in the middle":   {segmentHeader + large, 1, first[1].next},
		"the last of partition 0":       {end - small - large, 0, next[0].next - 1},
		"the last block of the segment": {end - small, 1, next[1].next - 1},
	} {
		t.Run(name, func(t *testing.T) {
			var reports []error
			options := tiny
			options.Damaged = func(_ string, err error) { reports = append(reports, err) }
			broken := photo.with(segmentName(2), func(b []byte) []byte { b[test.at+20] ^= 1; return b })
			logs, log := openOne(t, broken.restore(t), options, 0)
			defer closeAll(t, logs)
			for _, steps := range []int{1, 100} {
				var got []int64
				for next := int64(0); next < 20; {
					records, err := log.Read(t.Context(), test.partition, next, steps, 1<<20)
					if err != nil || len(records) == 0 {
						t.Fatalf("from %d on: %d records, %v", next, len(records), err)
					}
					for _, r := range records {
						got = append(got, r.Sequence)
					}
					next = got[len(got)-1] + 1
				}
				if len(got) != 19 || slices.Contains(got, test.lost) || !slices.IsSorted(got) {
					t.Errorf("in steps of %d: records %v, want all but %d", steps, got, test.lost)
				}
			}
			if all, err := log.Read(t.Context(), 1-test.partition, 0, 100, 1<<20); err != nil || len(all) != 20 {
				t.Errorf("the other partition: %d records, %v", len(all), err)
			}
			for sequence := range int64(20) {
				want := sequence
				if sequence == test.lost {
					want++
				}
				if got, err := log.SequenceAt(t.Context(), test.partition, 1000*(sequence+1)); err != nil ||
					got != want {
					t.Errorf("the first record at the time of %d is %d, %v", sequence, got, err)
				}
			}
			place := fmt.Sprintf("00002.segment is damaged at byte %d", test.at)
			if len(reports) != 1 || !strings.Contains(reports[0].Error(), place) {
				t.Errorf("reported %v, want once that %s", reports, place)
			}
		})
	}
}

// readBack opens a log and reads all of it.
func readBack(t testing.TB, dir string) error {
	logs, err := Open(dir, tiny)
	if err != nil {
		return err
	}
	defer closeAll(t, logs)
	log, err := logs.Open("log", store.LogOptions{})
	if err != nil {
		return err
	}
	for p := range log.Partitions() {
		if _, err := log.Read(t.Context(), p, 0, 1<<30, 1<<30); err != nil {
			return err
		}
	}
	return nil
}

// TestIndex opens the same log with all, some, broken and outdated indexes.
func TestIndex(t *testing.T) {
	dir := t.TempDir()
	logs, log := openOne(t, dir, tiny, 2)
	appendEach(t, log, 0, "0", "1")
	closeAll(t, logs)
	outdated := photograph(t, dir)[strings.TrimSuffix(segmentName(1), segmentSuffix)+indexSuffix]
	if len(outdated) == 0 {
		t.Fatal("a closed log has no index")
	}
	logs, log = openOne(t, dir, tiny, 2)
	want := []string{"0", "1"}
	for i := range 40 {
		record := fmt.Sprint(i, strings.Repeat("x", 500))
		want = append(want, record)
		appendEach(t, log, 0, record)
		appendEach(t, log, 1, "other")
	}
	bounds := log.Bounds(0)
	closeAll(t, logs)
	photo := photograph(t, dir)
	for _, test := range []struct {
		name   string
		change func(i image, name string)
	}{
		{"whole", func(image, string) {}},
		{"none", func(i image, name string) { delete(i, name) }},
		{"torn", func(i image, name string) { i[name] = i[name][:len(i[name])/2] }},
		{"empty", func(i image, name string) { i[name] = nil }},
		{"broken", func(i image, name string) { i[name] = bytes.Clone(i[name]); i[name][70] ^= 1 }},
		{"outdated", func(i image, name string) { i[name] = outdated }},
	} {
		t.Run(test.name, func(t *testing.T) {
			changed := photo.with(metaName, bytes.Clone)
			indexes := 0
			for name := range photo {
				if strings.HasSuffix(name, indexSuffix) {
					test.change(changed, name)
					indexes++
				}
			}
			if indexes < 3 {
				t.Fatalf("%d indexes, want several", indexes)
			}
			logs, log := openOne(t, changed.restore(t), tiny, 2)
			defer closeAll(t, logs)
			if got := contents(t, log, 0); !slices.Equal(got, want) {
				t.Fatalf("%d records, want %d", len(got), len(want))
			}
			if got := log.Bounds(0); got != bounds {
				t.Fatalf("bounds %+v, want %+v", got, bounds)
			}
		})
	}
}
