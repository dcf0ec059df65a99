package segment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/mark"
)

// marking are options with marks in a folder of their own.
func marking(t testing.TB) Options {
	options := tiny
	options.Marks = filepath.Join(t.TempDir(), "marks")
	return options
}

func openMarked(t testing.TB, dir string, options Options) error {
	t.Helper()
	logs, err := Open(dir, options)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, logs)
	_, err = logs.Open("log", store.LogOptions{Partitions: 2})
	return err
}

// TestMissingEnd takes confirmed records from the end of a log, where a crash leaves
// what was never confirmed, and expects to be told.
func TestMissingEnd(t *testing.T) {
	for _, closed := range []bool{true, false} {
		options, dir := marking(t), t.TempDir()
		logs, log := openOne(t, dir, options, 2)
		for range 12 {
			appendEach(t, log, 0, strings.Repeat("x", 1000))
			appendEach(t, log, 1, "small")
		}
		number, end := log.writing.number, log.writing.end
		if number < 3 {
			t.Fatalf("%d segments, want several", number)
		}
		photo := photograph(t, dir)
		closeAll(t, logs)
		if closed {
			photo = photograph(t, dir)
		}
		last := segmentName(number)
		without := func(names ...string) image {
			i := photo.with(metaName, func(b []byte) []byte { return b })
			for _, name := range names {
				delete(i, name)
			}
			return i
		}
		index := strings.TrimSuffix(last, segmentSuffix) + indexSuffix
		for name, broken := range map[string]image{
			"the last byte is flipped":  photo.with(last, func(b []byte) []byte { b[end-1] ^= 1; return b }),
			"the last block is flipped": without(index).with(last, func(b []byte) []byte { b[end-20] ^= 1; return b }),
			"it is cut":                 without(index).with(last, func(b []byte) []byte { return b[:end-1] }),
			"it is zeros": without(index).with(last,
				func(b []byte) []byte { clear(b[segmentHeader:]); return b }),
			"it is gone":                without(last),
			"it is gone with its index": without(last, index),
			"all segments are gone":     {metaName: photo[metaName]},
			"all is gone":               {},
		} {
			dir := broken.restore(t)
			err := openMarked(t, dir, options)
			if loss := (*store.LossError)(nil); !errors.As(err, &loss) || loss.Of != "log log" {
				t.Errorf("closed %v, %s: %v, want a loss", closed, name, err)
				continue
			}
			repair(t, fmt.Sprintf("closed %v, %s", closed, name), dir, options, 12)
		}
		// What comes after the end was never confirmed.
		torn := photo.with(last, func(b []byte) []byte { return append(b[:end], "torn"...) })
		if err := openMarked(t, torn.restore(t), options); err != nil {
			t.Errorf("closed %v, a torn end: %v", closed, err)
		}
	}
}

// TestLossLeavesTheFiles opens logs that have lost confirmed records, and expects every file
// as it was: who looks for the damage afterwards must find it.
func TestLossLeavesTheFiles(t *testing.T) {
	for _, few := range []bool{true, false} {
		options, dir := marking(t), t.TempDir()
		logs, log := openOne(t, dir, options, 2)
		records := 12
		if few {
			records = 1
		}
		for range records {
			appendEach(t, log, 0, strings.Repeat("x", 1000))
		}
		last, end := segmentName(log.writing.number), log.writing.end
		closeAll(t, logs)
		photo := photograph(t, dir)
		index := strings.TrimSuffix(last, segmentSuffix) + indexSuffix
		photo = photo.with(last+temporarySuffix, func([]byte) []byte { return []byte("left by a crash") })
		missing := photo.with(index, func(b []byte) []byte { return b })
		delete(missing, last)
		torn := photo.with(last, func(b []byte) []byte { return append(b[:end-1], "torn"...) })
		for name, broken := range map[string]image{
			"the last segment is missing": missing,
			"its end is torn":             torn,
		} {
			dir := broken.restore(t)
			before := photograph(t, dir)
			err := openMarked(t, dir, options)
			if loss := (*store.LossError)(nil); !errors.As(err, &loss) || strings.Count(err.Error(), "log log") != 1 {
				t.Errorf("few %v, %s: %v, want a loss that names the log once", few, name, err)
			}
			if after := photograph(t, dir); !maps.EqualFunc(before, after, bytes.Equal) {
				t.Errorf("few %v, %s: the files %q became %q", few, name,
					slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)))
			}
		}
	}
}

// repair checks and repairs a damaged log of two partitions with so many confirmed
// records in each, and expects it to go on after them.
func repair(t *testing.T, what, dir string, options Options, confirmed int64) {
	t.Helper()
	// The next round needs the mark as it is.
	marks := t.TempDir()
	if err := os.CopyFS(marks, os.DirFS(options.Marks)); err != nil {
		t.Fatal(err)
	}
	options.Marks = marks
	for range 2 { // looking changes nothing
		checked, err := Check(dir, options)
		if err != nil || len(checked) != 1 || checked[0].Err == nil || checked[0].Missing == 0 ||
			checked[0].Records+checked[0].Missing != 2*confirmed {
			t.Errorf("%s: checked %+v, %v", what, checked, err)
			return
		}
	}
	aside := t.TempDir()
	if repaired, err := Repair(dir, aside, options); err != nil || len(repaired) != 1 {
		t.Errorf("%s: repaired %+v, %v", what, repaired, err)
		return
	}
	if checked, err := Check(dir, options); err != nil || checked[0].Err != nil || checked[0].Missing != 0 {
		t.Errorf("%s: after the repair %+v, %v", what, checked, err)
	}
	for round := range int64(3) {
		logs, log := openOne(t, dir, options, 2)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if round == 0 { // what is missing does not look like something to read
			if err := log.Wait(ctx, 1, confirmed-1); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: a wait for what is missing: %v", what, err)
			}
		}
		if at := appendEach(t, log, 0, "new")[0]; at.Sequence != confirmed+round {
			t.Errorf("%s: record %d follows the %d confirmed", what, at.Sequence, confirmed)
		}
		appendEach(t, log, 1, "new")
		for partition := range 2 {
			next := int64(0)
			for next < confirmed+round+1 {
				records, err := log.Read(t.Context(), partition, next, 1, 1000)
				if err != nil || len(records) != 1 || records[0].Sequence < next {
					t.Fatalf("%s: record %d of partition %d: %v, %v", what, next, partition, records, err)
				}
				if is := string(records[0].Value) == "new"; is != (records[0].Sequence >= confirmed) {
					t.Errorf("%s: record %d of partition %d is %.20q", what, records[0].Sequence, partition,
						records[0].Value)
				}
				next = records[0].Sequence + 1
			}
			if found, err := log.SequenceAt(t.Context(), partition, 0); err != nil || found > confirmed {
				t.Errorf("%s: the first record is %d, %v", what, found, err)
			}
		}
		closeAll(t, logs)
	}
}

// TestRepairWithoutMark drops what follows damage in a sealed segment, of a log that
// has no mark.
func TestRepairWithoutMark(t *testing.T) {
	dir := t.TempDir()
	logs, log := openOne(t, dir, tiny, 2)
	for range 20 {
		appendEach(t, log, 0, strings.Repeat("x", 1000))
	}
	photo := photograph(t, dir)
	closeAll(t, logs)
	without := photo.with(metaName, func(b []byte) []byte { return b })
	delete(without, segmentName(3))
	for name, test := range map[string]struct {
		broken image
		least  int // of the 20 records that are left
	}{
		"a flipped body": {photo.with(segmentName(2),
			func(b []byte) []byte { b[segmentHeader+blockHeader+1500] ^= 1; return b }), 17},
		"a flipped header":  {photo.with(segmentName(2), func(b []byte) []byte { b[100] ^= 1; return b }), 17},
		"a segment cut off": {photo.with(segmentName(3), func(b []byte) []byte { return b[:segmentHeader+10] }), 17},
		"a segment gone":    {without, 17},
		"the first segment": {photo.with(segmentName(1), func(b []byte) []byte { b[20] ^= 1; return b }), 17},
		"what describes it": {photo.with(metaName, func(b []byte) []byte { b[13] ^= 1; return b }), 0},
	} {
		dir := test.broken.restore(t)
		checked, err := Check(dir, tiny)
		if err != nil || checked[0].Err == nil || test.least > 0 && name != "the first segment" &&
			(checked[0].Records+checked[0].Missing != 20 || checked[0].Records < int64(test.least)) {
			t.Errorf("%s: checked %+v, %v", name, checked, err)
			continue
		}
		if repaired, err := Repair(dir, t.TempDir(), tiny); err != nil || len(repaired) != 1 {
			t.Errorf("%s: repaired %+v, %v", name, repaired, err)
			continue
		}
		for round := range 2 {
			logs, log := openOne(t, dir, tiny, 2)
			at := appendEach(t, log, 0, "new")[0]
			records, err := log.Read(t.Context(), 0, 0, 100, 1<<20)
			if err != nil || len(records) < test.least+1 || records[len(records)-1].Position != at || test.least > 0 &&
				at.Sequence != int64(20+round) {
				t.Errorf("%s: read %d records, %v; the last one is %+v", name, len(records), err, at)
			}
			closeAll(t, logs)
		}
		if checked, err := Check(dir, tiny); err != nil || checked[0].Err != nil || checked[0].Missing != 0 {
			t.Errorf("%s: in the end %+v, %v", name, checked, err)
		}
	}
}

// TestMarkOfAnOldLog opens a log that has no mark yet, or a damaged one from before it
// was noted that there is one.
func TestMarkOfAnOldLog(t *testing.T) {
	options, dir := marking(t), t.TempDir()
	logs, log := openOne(t, dir, tiny, 2)
	appendEach(t, log, 0, "old")
	closeAll(t, logs)
	path := options.markPath("log")
	for range 2 {
		if err := openMarked(t, dir, options); err != nil {
			t.Fatal(err)
		}
		if marked, err := options.readMark(filepath.Join(dir, "log")); err != nil || marked.edges[0].next != 1 {
			t.Fatalf("the mark is %+v, %v", marked, err)
		}
		err := errors.Join(os.WriteFile(path, []byte("damaged"), 0o600), os.Remove(filepath.Join(dir, "log", "marked")))
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestLostMark takes the mark away from logs that have one: without it a loss at their
// end would go unnoticed.
func TestLostMark(t *testing.T) {
	options, dir := marking(t), t.TempDir()
	logs, log := openOne(t, dir, options, 2)
	for range 12 {
		appendEach(t, log, 0, strings.Repeat("x", 1000))
	}
	number, end := log.writing.number, log.writing.end
	photo := photograph(t, dir)
	closeAll(t, logs)
	marks := options.Marks
	for name, damage := range map[string]func(path string) error{
		"no mark":            os.Remove,
		"an empty mark":      func(path string) error { return os.Truncate(path, 0) },
		"a mark that is cut": func(path string) error { return os.Truncate(path, 10) },
		"the mark of something else": func(path string) error {
			other, err := mark.Create(path, []byte("else"))
			return errors.Join(err, other.Close())
		},
	} {
		for _, cut := range []bool{false, true} {
			dir, least := photo.restore(t), int64(12)
			if cut {
				cut := photo.with(segmentName(number), func(b []byte) []byte { return b[:end-1] })
				dir, least = cut.restore(t), 11
			}
			options.Marks = t.TempDir()
			path := options.markPath("log")
			if err := errors.Join(os.CopyFS(options.Marks, os.DirFS(marks)), damage(path)); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				err := openMarked(t, dir, options)
				if !errors.As(err, new(*store.LossError)) || !strings.Contains(err.Error(), path) {
					t.Errorf("%s: it opens with %v", name, err)
				}
				checked, err := Check(dir, options)
				if err != nil || len(checked) != 1 || checked[0].Records != least ||
					!errors.As(checked[0].Err, new(*store.LossError)) ||
					!strings.Contains(checked[0].Err.Error(), path) {
					t.Errorf("%s: checked %+v, %v", name, checked, err)
				}
			}
			if repaired, err := Repair(dir, t.TempDir(), options); err != nil || len(repaired) != 1 {
				t.Errorf("%s: repaired %+v, %v", name, repaired, err)
			}
			if checked, err := Check(dir, options); err != nil || checked[0].Err != nil || checked[0].Records != least {
				t.Errorf("%s: after the repair %+v, %v", name, checked, err)
			}
			logs, log := openOne(t, dir, options, 2)
			if at := appendEach(t, log, 0, "new")[0]; at.Sequence != least {
				t.Errorf("%s: record %d follows the %d that are left", name, at.Sequence, least)
			}
			closeAll(t, logs)
		}
	}
}
