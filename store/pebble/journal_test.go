package pebble

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/berth-iot/berth/store"
)

func marked(dir string) Options { return Options{Mark: filepath.Join(dir, "marks", "documents")} }

func openMarked(t testing.TB, dir string) *Documents {
	t.Helper()
	d, err := Open(filepath.Join(dir, "documents"), marked(dir))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func fill(t testing.TB, d *Documents, n int) {
	t.Helper()
	for i := range n {
		if _, err := d.Commit(t.Context(),
			store.Change{Collection: "c", Key: fmt.Sprint("k", i),
				Value: []byte(strings.Repeat("v", 100))}); err != nil {
			t.Fatal(err)
		}
	}
}

// copyAll copies a folder, as the end of the process would leave it.
func copyAll(t testing.TB, from string) (to string) {
	t.Helper()
	to = t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// only returns the one file that the pattern names.
func only(t testing.TB, pattern ...string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(pattern...))
	if err != nil || len(found) != 1 {
		t.Fatalf("%v: %v, %v", pattern, found, err)
	}
	return found[0]
}

func change(t testing.TB, path string, how func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, how(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestLostDocuments damages the journals of documents, and expects to be told: a
// database that has lost what it confirmed never opens as if nothing were missing.
func TestLostDocuments(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := openMarked(t, dir)
	fill(t, d, 60)
	crashed := copyAll(t, dir)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for state, dir := range map[string]string{"killed": crashed, "closed": dir} {
		for name, damage := range map[string]func(dir string){
			"a flipped byte in the middle of the log": func(dir string) {
				change(t, only(t, dir, "documents", "*.log"), func(b []byte) []byte { b[4000] ^= 1; return b })
			},
			"a flipped byte in the last commit": func(dir string) {
				change(t, only(t, dir, "documents", "*.log"), func(b []byte) []byte {
					b[strings.LastIndex(string(b), "vvv")] ^= 1
					return b
				})
			},
			"zeros in the log": func(dir string) {
				change(t, only(t, dir, "documents", "*.log"), func(b []byte) []byte { clear(b[4000:5000]); return b })
			},
			"a log that is cut": func(dir string) {
				change(t, only(t, dir, "documents", "*.log"), func(b []byte) []byte { return b[:4000] })
			},
			"an empty log": func(dir string) {
				change(t, only(t, dir, "documents", "*.log"), func(b []byte) []byte { return nil })
			},
			"no log":      func(dir string) { os.Remove(only(t, dir, "documents", "*.log")) },
			"no manifest": func(dir string) { os.Remove(only(t, dir, "documents", "MANIFEST-*")) },
			"a damaged manifest": func(dir string) {
				change(t, only(t, dir, "documents", "MANIFEST-*"), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
			},
			"no marker of the manifest": func(dir string) { os.Remove(only(t, dir, "documents", "marker.manifest.*")) },
			"an empty folder": func(dir string) {
				os.RemoveAll(filepath.Join(dir, "documents"))
				os.Mkdir(filepath.Join(dir, "documents"), 0o700)
			},
			"no folder": func(dir string) { os.RemoveAll(filepath.Join(dir, "documents")) },
		} {
			t.Run(state+", "+name, func(t *testing.T) {
				dir := copyAll(t, dir)
				damage(dir)
				for range 2 { // it is not forgotten by being told
					d, err := Open(filepath.Join(dir, "documents"), marked(dir))
					if err == nil {
						n, _ := store.Count(t.Context(), d, "c")
						d.Close()
						t.Fatalf("it opened with %d documents of 60", n)
					}
					if loss := (*store.LossError)(nil); !errors.As(err, &loss) || !strings.Contains(err.Error(), dir) {
						t.Fatalf("error %v, want a loss that names the folder", err)
					}
				}
			})
		}
		t.Run(state+", a torn end", func(t *testing.T) {
			dir := copyAll(t, dir)
			change(t, only(t, dir, "documents", "*.log"), func(b []byte) []byte { return append(b, "half written"...) })
			d := openMarked(t, dir)
			if n, err := store.Count(t.Context(), d, "c"); n != 60 || err != nil {
				t.Fatalf("%d documents of 60, %v", n, err)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestMarkFollowsFlushes fills and flushes memtables, so that logs come and go, and
// opens what is left after each, as the end of the process would leave it.
func TestMarkFollowsFlushes(t *testing.T) {
	dir := t.TempDir()
	options := marked(dir)
	options.MemTable = 64 << 10
	d, err := Open(filepath.Join(dir, "documents"), options)
	if err != nil {
		t.Fatal(err)
	}
	value := []byte(strings.Repeat("v", 4000))
	flushed := false
	for i := range 200 {
		if _, err := d.Commit(t.Context(),
			store.Change{Collection: "c", Key: fmt.Sprint("k", i), Value: value}); err != nil {
			t.Fatal(err)
		}
		tables, err := filepath.Glob(filepath.Join(dir, "documents", "*.sst"))
		if err != nil {
			t.Fatal(err)
		}
		flushed = flushed || len(tables) > 0
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if !flushed {
		t.Fatal("nothing was flushed")
	}
	for range 3 {
		d := openMarked(t, dir)
		if n, err := store.Count(t.Context(), d, "c"); n != 200 || err != nil {
			t.Fatalf("%d documents of 200, %v", n, err)
		}
		journals, err := readMark(options.Mark, filepath.Join(dir, "documents"))
		if err != nil || len(journals) == 0 || len(journals) > 4 {
			t.Fatalf("the mark tells of %+v, %v", journals, err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRepair repairs documents whose log is damaged: what came before the damage is
// there, nothing of what came after, and commits go on.
func TestRepair(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := openMarked(t, dir)
	fill(t, d, 60)
	crashed := copyAll(t, dir)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	log := func(how func([]byte) []byte) func(string) {
		return func(dir string) { change(t, only(t, dir, "documents", "*.log"), how) }
	}
	for state, dir := range map[string]string{"killed": crashed, "closed": dir} {
		for name, test := range map[string]struct {
			damage      func(dir string)
			least, most int // documents afterwards; none when it can't be repaired
		}{
			"a flipped byte":    {log(func(b []byte) []byte { b[4000] ^= 1; return b }), 20, 35},
			"a log that is cut": {log(func(b []byte) []byte { return b[:4000] }), 20, 35},
			"the last commit": {log(func(b []byte) []byte {
				b[strings.LastIndex(string(b), "vvv")] ^= 1
				return b
			}), 59, 59},
			"an empty log":          {log(func(b []byte) []byte { return nil }), 0, 0},
			"no log":                {func(dir string) { os.Remove(only(t, dir, "documents", "*.log")) }, 0, 0},
			"no manifest":           {func(dir string) { os.Remove(only(t, dir, "documents", "MANIFEST-*")) }, -1, -1},
			"nothing that is wrong": {func(string) {}, 60, 60},
		} {
			t.Run(state+", "+name, func(t *testing.T) {
				dir := copyAll(t, dir)
				test.damage(dir)
				documents := filepath.Join(dir, "documents")
				aside := filepath.Join(dir, "aside")
				n, err := Check(t.Context(), documents, marked(dir))
				if loss := (*store.LossError)(nil); (test.most == 60) == errors.As(err, &loss) || test.most == 60 &&
					(n != 60 || err != nil) {
					t.Fatalf("checked: %d documents, %v", n, err)
				}
				missing, err := Repair(t.Context(), documents, aside, marked(dir))
				if test.most < 0 {
					if err == nil || !strings.Contains(err.Error(), "backup") {
						t.Fatalf("repaired: %v, %v", missing, err)
					}
					return
				}
				if (missing == nil) != (test.most == 60) || err != nil {
					t.Fatalf("repaired: %v, %v", missing, err)
				}
				d := openMarked(t, dir)
				n, err = store.Count(t.Context(), d, "c")
				if err != nil || n < test.least || n > test.most {
					t.Errorf("%d documents, %v", n, err)
				}
				for i := range n { // the first ones, and no others
					if _, err := d.Get(t.Context(), "c", fmt.Sprint("k", i)); err != nil {
						t.Errorf("document %d of %d: %v", i, n, err)
					}
				}
				fill(t, d, 60)
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
				if n, err := Check(t.Context(), documents, marked(dir)); n != 60 || err != nil {
					t.Errorf("in the end %d documents, %v", n, err)
				}
			})
		}
	}
}

// TestMarkOfAnEarlierState opens documents that a program without marks has used in
// between, which is no loss; an older state of them is one.
func TestMarkOfAnEarlierState(t *testing.T) {
	dir := t.TempDir()
	d := openMarked(t, dir)
	fill(t, d, 10)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	documents := filepath.Join(dir, "documents")
	backup := copyAll(t, documents)
	for _, n := range []int{20, 30} {
		d, err := Open(documents, Options{})
		if err != nil {
			t.Fatal(err)
		}
		fill(t, d, n)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if n, err := Check(t.Context(), documents, marked(dir)); n < 20 || err != nil {
			t.Fatalf("checked: %d documents, %v", n, err)
		}
		if missing, err := Repair(t.Context(), documents, t.TempDir(), marked(dir)); missing != nil || err != nil {
			t.Fatalf("repaired: %v, %v", missing, err)
		}
	}
	d = openMarked(t, dir)
	if n, err := store.Count(t.Context(), d, "c"); n != 30 || err != nil {
		t.Fatalf("%d documents of 30, %v", n, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.RemoveAll(documents), os.CopyFS(documents, os.DirFS(backup))); err != nil {
		t.Fatal(err)
	}
	if loss := (*store.LossError)(nil); !errors.As(openError(t, dir), &loss) {
		t.Fatal("an older state of the documents is taken for the latest")
	}
}

func openError(t *testing.T, dir string) error {
	t.Helper()
	d, err := Open(filepath.Join(dir, "documents"), marked(dir))
	if err == nil {
		err = d.Close()
	}
	return err
}

// TestLostMark takes the mark away from documents that have one: without it a loss at
// their end would go unnoticed. Documents from before there were marks open.
func TestLostMark(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := openMarked(t, dir)
	fill(t, d, 60)
	crashed := copyAll(t, dir)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	mark := func(how func([]byte) []byte) func(string) {
		return func(dir string) { change(t, filepath.Join(dir, "marks", "documents"), how) }
	}
	isLoss := func(err error, path string) bool {
		return errors.As(err, new(*store.LossError)) && strings.Contains(err.Error(), path)
	}
	for state, dir := range map[string]string{"killed": crashed, "closed": dir} {
		for name, damage := range map[string]func(dir string){
			"no marks":          func(dir string) { os.RemoveAll(filepath.Join(dir, "marks")) },
			"an empty mark":     mark(func([]byte) []byte { return nil }),
			"a mark of zeros":   mark(func(b []byte) []byte { clear(b); return b }),
			"a mark of nothing": mark(func(b []byte) []byte { return b[:10] }),
		} {
			for _, cut := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s, cut %v", state, name, cut), func(t *testing.T) {
					dir, path := copyAll(t, dir), filepath.Join("marks", "documents")
					documents := filepath.Join(dir, "documents")
					damage(dir)
					least := 60
					if cut {
						change(t, only(t, documents, "*.log"), func(b []byte) []byte { return b[:4000] })
						least = 20
					}
					for range 2 {
						if err := openError(t, dir); !isLoss(err, filepath.Join(dir, path)) {
							t.Fatalf("it opens with %v", err)
						}
						if n, err := Check(t.Context(), documents, marked(dir)); n < least || !isLoss(err, path) {
							t.Fatalf("checked: %d documents, %v", n, err)
						}
					}
					missing, err := Repair(t.Context(), documents, t.TempDir(), marked(dir))
					if !isLoss(missing, path) || err != nil {
						t.Fatalf("repaired: %v, %v", missing, err)
					}
					if n, err := Check(t.Context(), documents, marked(dir)); n < least || err != nil {
						t.Fatalf("after the repair: %d documents, %v", n, err)
					}
					if err := openError(t, dir); err != nil {
						t.Errorf("after the repair it opens with %v", err)
					}
				})
			}
		}
	}
	old := t.TempDir()
	d, err := Open(filepath.Join(old, "documents"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, d, 5)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := Check(t.Context(), filepath.Join(old, "documents"), marked(old)); n != 5 || err != nil {
		t.Errorf("documents without a mark: %d, %v", n, err)
	}
	if err := openError(t, old); err != nil {
		t.Errorf("documents without a mark open with %v", err)
	}
}

// TestLostMarkAndLog damages, of documents whose mark is lost, a log that another follows:
// a repair cuts it and what comes after it.
func TestLostMarkAndLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := openMarked(t, dir)
	value := []byte(strings.Repeat("v", 4000))
	for i := range 120 {
		change := store.Change{Collection: "c", Key: fmt.Sprintf("k%03d", i), Value: value}
		if _, err := d.Commit(t.Context(), change); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	documents := filepath.Join(dir, "documents")
	logs, err := filepath.Glob(filepath.Join(documents, "*.log"))
	if err != nil || len(logs) < 2 {
		t.Fatalf("the logs are %v, %v", logs, err)
	}
	change(t, logs[0], func(b []byte) []byte { return b[:len(b)/2] })
	os.RemoveAll(filepath.Join(dir, "marks"))
	if err := openError(t, dir); !errors.As(err, new(*store.LossError)) {
		t.Fatalf("it opens with %v", err)
	}
	_, err = Check(t.Context(), documents, marked(dir))
	if !errors.As(err, new(*store.LossError)) || !strings.Contains(err.Error(), "a write-ahead log in "+documents) {
		t.Errorf("checked: %v", err)
	}
	if missing, err := Repair(t.Context(), documents, t.TempDir(), marked(dir)); missing == nil || err != nil {
		t.Fatalf("repaired: %v, %v", missing, err)
	}
	if n, err := Check(t.Context(), documents, marked(dir)); n < 10 || n > 60 || err != nil {
		t.Errorf("after the repair: %d documents, %v", n, err)
	}
	if err := openError(t, dir); err != nil {
		t.Errorf("after the repair it opens with %v", err)
	}
}

// TestDamagedAttendants damages the small files beside the documents: settings, of which
// nothing depends, and markers.
func TestDamagedAttendants(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := openMarked(t, dir)
	fill(t, d, 60)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for name, how := range map[string]func([]byte) []byte{
		"cut":     func(b []byte) []byte { return b[:len(b)/2] },
		"garbage": func(b []byte) []byte { return append(b, "I\x95@\x8d\x01"...) },
		"another comparer": func(b []byte) []byte {
			return []byte(strings.Replace(string(b), "comparer=leveldb", "comparer=leveldc", 1))
		},
		"empty": func([]byte) []byte { return nil },
	} {
		t.Run("settings, "+name, func(t *testing.T) {
			dir := copyAll(t, dir)
			path := only(t, dir, "documents", "OPTIONS-*")
			change(t, path, how)
			if n, err := Check(t.Context(), filepath.Join(dir, "documents"), marked(dir)); n != 60 || err != nil {
				t.Errorf("checked: %d documents, %v", n, err)
			}
			for range 2 {
				if err := openError(t, dir); err != nil {
					t.Fatal(err)
				}
			}
			only(t, dir, "documents", "OPTIONS-*")
		})
	}
	for _, marker := range []string{"marker.format-version.*", "marker.manifest.*"} {
		for _, marks := range []string{"whole", "lost", "none"} {
			t.Run(fmt.Sprintf("no %s, marks %s", marker, marks), func(t *testing.T) {
				dir := copyAll(t, dir)
				documents := filepath.Join(dir, "documents")
				os.Remove(only(t, documents, marker))
				options := marked(dir)
				switch marks {
				case "none":
					options = Options{}
				case "lost":
					os.Remove(options.Mark)
				}
				_, checked := Check(t.Context(), documents, options)
				_, repaired := Repair(t.Context(), documents, filepath.Join(dir, "aside"), options)
				_, again := Check(t.Context(), documents, options)
				if again == nil || again.Error() != checked.Error() {
					t.Errorf("after the repair: %v, and before: %v", again, checked)
				}
				if marks == "lost" { // of which a start tells first
					options.Mark = ""
				}
				d, opened := Open(documents, options)
				if opened == nil {
					d.Close()
				}
				path := filepath.Join(documents, marker)
				for what, err := range map[string]error{"check": checked, "repair": repaired, "open": opened} {
					if !errors.As(err, new(*store.LossError)) || !strings.Contains(err.Error(), path) {
						t.Errorf("%s: %v", what, err)
					}
				}
				if _, err := os.Stat(filepath.Join(dir, "aside")); err == nil {
					t.Error("the repair has changed something")
				}
			})
		}
	}
}

// TestDamagedTables damages tables, where all but the latest documents are: whoever
// reads what lies there is told, and nobody else.
func TestDamagedTables(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := openMarked(t, dir)
	for i := range 2000 {
		value := make([]byte, 200) // that does not compress
		rand.Read(value)
		if _, err := d.Commit(t.Context(),
			store.Change{Collection: "c", Key: fmt.Sprintf("k%04d", i), Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]struct {
		do    func(dir string)
		opens bool
	}{
		"a flipped byte": {func(dir string) {
			change(t, only(t, dir, "documents", "*.sst"), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		}, true},
		"a table that is cut": {func(dir string) {
			change(t, only(t, dir, "documents", "*.sst"), func(b []byte) []byte { return b[:len(b)/2] })
		}, false},
		"no table": {func(dir string) { os.Remove(only(t, dir, "documents", "*.sst")) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyAll(t, dir)
			damage.do(dir)
			isLoss := func(err error) bool {
				return errors.As(err, new(*store.LossError)) && strings.Contains(err.Error(), dir)
			}
			if _, err := Check(t.Context(), filepath.Join(dir, "documents"), marked(dir)); !isLoss(err) {
				t.Errorf("the check says %v", err)
			}
			if _, err := Repair(t.Context(), filepath.Join(dir, "documents"), filepath.Join(dir, "aside"),
				marked(dir)); !isLoss(err) {
				t.Errorf("the repair says %v", err)
			}
			var told atomic.Int64
			options := marked(dir)
			options.Damaged = func(error) { told.Add(1) }
			d, err := Open(filepath.Join(dir, "documents"), options)
			if !damage.opens {
				if !isLoss(err) {
					t.Errorf("the documents open with %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			unreadable := 0
			for i := 0; i < 2000; i += 5 {
				if _, err := d.Get(t.Context(), "c", fmt.Sprintf("k%04d", i)); isLoss(err) {
					unreadable++
				} else if err != nil {
					t.Fatal(err)
				}
			}
			if unreadable == 0 || unreadable > 20 || told.Load() < int64(unreadable) {
				t.Errorf("%d of 400 documents can't be read, and that was told %d times", unreadable, told.Load())
			}
			if _, err := d.List(t.Context(), "c", "", "", 5000); !isLoss(err) {
				t.Errorf("the list says %v", err)
			}
			if _, err := d.Commit(t.Context(),
				store.Change{Collection: "c", Key: "new", Value: []byte("v")}); err != nil {
				t.Errorf("a change of something else says %v", err)
			}
		})
	}
}
