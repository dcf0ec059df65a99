//go:build unix

package server

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// TestFilePermissions: whatever the umask, and though a folder was open before, what
// a server keeps can be read by its owner alone. Files of others stay as they are.
func TestFilePermissions(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	h := newFixture(t)
	h.enroll(validKeys(t, "d1"))
	looked := func() (files int) {
		t.Helper()
		err := filepath.WalkDir(h.config.DataDir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			if info.Mode().Perm()&0o077 != 0 && !slices.Contains(public, entry.Name()) {
				t.Errorf("%s has the mode %s", path, info.Mode())
			}
			files++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	if files := looked(); files < 10 {
		t.Errorf("there are only %d files", files)
	}
	h.stop()
	if err := filepath.WalkDir(h.config.DataDir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.Chmod(path, 0o755)
		}
		return os.Chmod(path, 0o644)
	}); err != nil {
		t.Fatal(err)
	}
	h.start()
	looked()

	foreign := filepath.Join(h.config.DataDir, "notes.txt")
	if err := os.WriteFile(foreign, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(h.config.DataDir, 0o755); err != nil {
		t.Fatal(err)
	}
	h.stop()
	h.start()
	for path, want := range map[string]fs.FileMode{foreign: 0o644, h.config.DataDir: 0o755,
		filepath.Join(h.config.DataDir, "documents"): 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has the mode %v, want %v, error %v", path, info.Mode(), want, err)
		}
	}
}
