package pebble

import (
	"encoding/binary"
	"errors"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/berth-iot/berth/store"
)

// raw opens the database itself, as a program does that knows nothing of counts.
func raw(t *testing.T, dir string, do func(db *pebble.DB) error) {
	t.Helper()
	options := Options{}
	options.complete()
	db, err := pebble.Open(filepath.Join(dir, "documents"), options.settings(options.fs))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(do(db), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func wantCount(t *testing.T, d *Documents, want int) {
	t.Helper()
	if n, err := store.Count(t.Context(), d, "c"); err != nil || n != want {
		t.Fatalf("%d documents are counted (%v), want %d", n, err, want)
	}
}

// TestCountIsKept reads the keys of a collection the first time that they are counted,
// and never again.
func TestCountIsKept(t *testing.T) {
	dir := t.TempDir()
	before := 0
	for _, want := range []int{10, 25, 40} {
		d := openMarked(t, dir)
		if counted := d.counts.of["c"]; before > 0 && (counted == nil || !counted.scanned.Load()) {
			t.Fatal("the number is not known before it is counted again")
		}
		wantCount(t, d, before)
		before = want
		fill(t, d, want)
		wantCount(t, d, want)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := Check(t.Context(), filepath.Join(dir, "documents"), marked(dir)); n != 40 || err != nil {
		t.Errorf("checked: %d documents, %v", n, err)
	}
}

// TestCountOfAnEarlierProgram opens documents that a program has changed which keeps no
// counts: those of before are no longer believed.
func TestCountOfAnEarlierProgram(t *testing.T) {
	dir := t.TempDir()
	d := openMarked(t, dir)
	fill(t, d, 10)
	wantCount(t, d, 10)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	raw(t, dir, func(db *pebble.DB) error {
		epoch, closer, err := db.Get(epochKey)
		if err != nil {
			return err
		}
		next := binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(epoch)+1)
		return errors.Join(closer.Close(), db.Set(epochKey, next, pebble.Sync),
			db.Set(appendKey(nil, "c", "another"), append(make([]byte, revisionSize), 'v'), pebble.Sync))
	})
	if n, err := Check(t.Context(), filepath.Join(dir, "documents"), marked(dir)); n != 11 || err != nil {
		t.Fatalf("checked: %d documents, %v", n, err)
	}
	d = openMarked(t, dir)
	if !d.Stale() {
		t.Error("the documents don't say that another program has had them")
	}
	wantCount(t, d, 11)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = openMarked(t, dir)
	defer d.Close()
	if d.Stale() {
		t.Error("the documents say once more that another program has had them")
	}
}

// TestWrongCount finds counts that are not those of the documents, and has them counted
// anew.
func TestWrongCount(t *testing.T) {
	for name, value := range map[string][]byte{"another number": encodeCount(9), "no number": []byte("9")} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			documents := filepath.Join(dir, "documents")
			d := openMarked(t, dir)
			fill(t, d, 10)
			wantCount(t, d, 10)
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			raw(t, dir, func(db *pebble.DB) error { return db.Set([]byte(countPrefix+"c"), value, pebble.Sync) })
			var loss *store.LossError
			if n, err := Check(t.Context(), documents, marked(dir)); n != 10 || !errors.As(err, &loss) {
				t.Fatalf("checked: %d documents, %v", n, err)
			}
			missing, err := Repair(t.Context(), documents, filepath.Join(dir, "aside"), marked(dir))
			if !errors.As(missing, &loss) || err != nil {
				t.Fatalf("repaired %v, error %v", missing, err)
			}
			if n, err := Check(t.Context(), documents, marked(dir)); n != 10 || err != nil {
				t.Fatalf("checked after the repair: %d documents, %v", n, err)
			}
			d = openMarked(t, dir)
			defer d.Close()
			wantCount(t, d, 10)
		})
	}
}
