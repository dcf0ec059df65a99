package segment

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-iot/berth/store"
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

// TestLostEnd takes confirmed records from the end of a log, where a crash leaves
// what was never confirmed, and expects to be told.
func TestLostEnd(t *testing.T) {
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
			"it is zeros":               without(index).with(last, func(b []byte) []byte { clear(b[segmentHeader:]); return b }),
			"it is gone":                without(last),
			"it is gone with its index": without(last, index),
			"all segments are gone":     {metaName: photo[metaName]},
			"all is gone":               {},
		} {
			err := openMarked(t, broken.restore(t), options)
			if loss := (*store.LossError)(nil); !errors.As(err, &loss) || loss.Of != "log log" {
				t.Errorf("closed %v, %s: %v, want a loss", closed, name, err)
			}
		}
		// What comes after the end was never confirmed.
		torn := photo.with(last, func(b []byte) []byte { return append(b[:end], "torn"...) })
		if err := openMarked(t, torn.restore(t), options); err != nil {
			t.Errorf("closed %v, a torn end: %v", closed, err)
		}
	}
}

// TestMarkOfAnOldLog opens a log that has no mark yet, or a damaged one.
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
		if marked, err := readMark(path); err != nil || marked.edges[0].next != 1 {
			t.Fatalf("the mark is %+v, %v", marked, err)
		}
		if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
