package mark

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMark(t *testing.T) {
	path := filepath.Join(t.TempDir(), "marks", "m")
	if _, err := Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a mark that is not there: %v", err)
	}
	f, err := Create(path, []byte("first"))
	if err != nil {
		t.Fatal(err)
	}
	reads := func(want string) {
		t.Helper()
		if value, err := Read(path); err != nil || string(value) != want {
			t.Fatalf("the mark holds %q, %v, want %q", value, err, want)
		}
	}
	reads("first")
	for _, value := range []string{"a", strings.Repeat("b", MaxValue), "", "c"} {
		for range 4 {
			if err := f.Put([]byte(value)); err != nil {
				t.Fatal(err)
			}
			reads(value)
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
			reads(value)
		}
	}
	if err := f.Put(make([]byte, MaxValue+1)); err == nil {
		t.Error("a value that is too long was taken")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Put(nil); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("put after close: %v", err)
	}
	if f, err = Open(path); err != nil {
		t.Fatal(err)
	}
	if err := f.Put([]byte("d")); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	reads("d")
}

// TestTornMark breaks what was put since the last sync, in whatever way: what was
// synced is still there.
func TestTornMark(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m")
	f, err := Create(path, []byte("created"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for round := range 7 {
		synced := bytes.Repeat([]byte{byte(round)}, 2000)
		if err := errors.Join(f.Put(synced), f.Sync()); err != nil {
			t.Fatal(err)
		}
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for range round { // until the next sync
			if err := f.Put(bytes.Repeat([]byte("put"), 700)); err != nil {
				t.Fatal(err)
			}
		}
		after, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range after {
			if after[i] != before[i] {
				after[i] ^= 0x55
			}
		}
		if value, _, _, err := latest(after); err != nil || !bytes.Equal(value, synced) {
			t.Fatalf("round %d: %.10q, %v", round, value, err)
		}
	}
}
