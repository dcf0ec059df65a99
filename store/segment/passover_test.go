package segment

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-iot/berth/store"
)

// TestDamagedHeaders flips a byte in the header of a block while the log is open: the
// records of that block are passed over, and reported, and all others can be read,
// whatever partition they are of and from wherever one begins.
func TestDamagedHeaders(t *testing.T) {
	const records = 20
	for _, flipped := range []int64{4, 9, records - 1} {
		dir := t.TempDir()
		options := Options{SegmentSize: 8 << 10}
		var reports []error
		options.Damaged = func(_ string, err error) { reports = append(reports, err) }
		logs, log := openOne(t, dir, options, 2)
		at := make(map[int64]store.Position) // by sequence in the first partition
		for sequence := range int64(records) {
			at[sequence] = appendEach(t, log, 0, strings.Repeat("x", 1000))[0]
			appendEach(t, log, 1, "small")
		}
		damageHeader(t, log, at[flipped].Offset)
		for partition := range 2 {
			want := records
			if partition == 0 {
				want--
			}
			for from := range int64(records) {
				read, err := log.Read(t.Context(), partition, from, 1<<30, 1<<30)
				if err != nil {
					t.Fatalf("record %d is damaged: partition %d from %d on: %v", flipped, partition, from, err)
				}
				if from == 0 && len(read) != want {
					t.Errorf("record %d is damaged: %d records of partition %d, want %d", flipped, len(read), partition,
						want)
				}
				for i, record := range read {
					if record.Sequence < from || partition == 0 && record.Sequence == flipped || i > 0 &&
						record.Sequence <= read[i-1].Sequence {
						t.Errorf("record %d is damaged: from %d on there is record %d", flipped, from, record.Sequence)
					}
				}
			}
			if _, err := log.SequenceAt(t.Context(), partition, at[records-1].Time); err != nil {
				t.Errorf("record %d is damaged: %v", flipped, err)
			}
		}
		if len(reports) != 1 || !strings.Contains(reports[0].Error(), "is damaged at byte ") {
			t.Errorf("record %d is damaged: reported %v", flipped, reports)
		}
		closeAll(t, logs)
	}
}

// damageHeader flips a byte in the header of the block at an offset of the log.
func damageHeader(t *testing.T, log *Log, offset int64) {
	t.Helper()
	log.mu.RLock()
	defer log.mu.RUnlock()
	for _, s := range log.segments {
		if offset < s.base || offset >= s.base+s.end {
			continue
		}
		f, err := os.OpenFile(filepath.Join(log.folder, filepath.Base(s.path)), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var b [1]byte
		at := offset - s.base + 20
		if _, err := f.ReadAt(b[:], at); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 1
		if _, err := f.WriteAt(b[:], at); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("no segment has the offset %d", offset)
}
