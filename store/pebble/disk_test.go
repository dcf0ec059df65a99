package pebble

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/berth-iot/berth/store"
)

// scarceFS is a disk on which something is scarce while lack holds an error.
type scarceFS struct {
	vfs.FS
	lack atomic.Pointer[syscall.Errno]
}

func (s *scarceFS) set(err syscall.Errno) { s.lack.Store(&err) }

func (s *scarceFS) err() error {
	if err := s.lack.Load(); err != nil && *err != 0 {
		return *err
	}
	return nil
}

func (s *scarceFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := s.err(); err != nil {
		return nil, err
	}
	f, err := s.FS.Create(name, category)
	return scarceFile{f, s}, err
}

func (s *scarceFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := s.err(); err != nil {
		return nil, err
	}
	f, err := s.FS.ReuseForWrite(oldname, newname, category)
	return scarceFile{f, s}, err
}

type scarceFile struct {
	vfs.File
	disk *scarceFS
}

func (f scarceFile) Write(p []byte) (int, error) {
	if err := f.disk.err(); errors.Is(err, syscall.ENOSPC) {
		n, _ := f.File.Write(p[:len(p)/3])
		return n, err
	}
	return f.File.Write(p)
}

// TestDiskFullErrors takes the disk's room, or the descriptors, from a database that
// writes: commits wait or are refused, reads go on, and when there is room again
// so do the commits, with nothing lost.
func TestDiskFullErrors(t *testing.T) {
	for _, lack := range []syscall.Errno{syscall.ENOSPC, syscall.EMFILE} {
		t.Run(lack.Error(), func(t *testing.T) {
			dir := t.TempDir()
			disk := &scarceFS{FS: vfs.Default}
			failing := make(chan error, 1000)
			var refusing atomic.Bool
			options := marked(dir)
			options.MemTable = 256 << 10 // the log is rolled often
			options.fs = disk
			options.Failing = func(err error) {
				refusing.Store(err != nil)
				failing <- err
			}
			options.Full = func() error {
				if refusing.Load() {
					return store.ErrFull
				}
				return nil
			}
			d, err := Open(filepath.Join(dir, "documents"), options)
			if err != nil {
				t.Fatal(err)
			}
			value := []byte(strings.Repeat("v", 20_000))
			commit := func(i int) error {
				_, err := d.Commit(t.Context(), store.Change{Collection: "c", Key: fmt.Sprint("k", i), Value: value})
				return err
			}
			done := 0
			for ; done < 20; done++ {
				if err := commit(done); err != nil {
					t.Fatal(err)
				}
			}
			disk.set(lack)
			waiting, enough := make(chan error, 1), make(chan struct{})
			go func() {
				for {
					select {
					case <-enough:
						waiting <- nil
						return
					default:
					}
					if err := commit(done); err != nil {
						waiting <- err
						return
					}
					done++
				}
			}()
			if err := <-failing; !errors.Is(err, lack) {
				t.Fatal(err)
			}
			if _, err := d.Get(t.Context(), "c", "k0"); err != nil {
				t.Fatalf("a read: %v", err)
			}
			if err := commit(1000); !errors.Is(err, store.ErrFull) {
				t.Fatalf("a commit: %v", err)
			}
			disk.set(0)
			for err := range failing {
				if err == nil {
					break
				}
			}
			close(enough)
			if err := <-waiting; err != nil && !errors.Is(err, store.ErrFull) {
				t.Fatal(err)
			}
			for n := done; done < n+20; done++ {
				if err := commit(done); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			d = openMarked(t, dir)
			defer d.Close()
			if n, err := store.Count(t.Context(), d, "c"); err != nil || n != done {
				t.Fatalf("%d documents, %v; %d were confirmed", n, err, done)
			}
		})
	}
}

// TestOpenOnAFullDisk ends with what is wrong, and so does one whose context ends.
func TestOpenOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	d := openMarked(t, dir)
	fill(t, d, 10)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	disk := &scarceFS{FS: vfs.Default}
	disk.set(syscall.ENOSPC)
	options := marked(dir)
	options.fs = disk
	if _, err := Open(filepath.Join(dir, "documents"), options); !errors.Is(err, store.ErrFull) ||
		!strings.Contains(err.Error(), dir) {
		t.Fatalf("error %v", err)
	}
	disk.set(0) // lets go of the database that was being opened
	for {
		d, err := Open(filepath.Join(dir, "documents"), marked(dir))
		if err == nil {
			if n, err := store.Count(t.Context(), d, "c"); err != nil || n != 10 {
				t.Errorf("%d documents of 10, %v", n, err)
			}
			d.Close()
			break
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := OpenContext(ctx, filepath.Join(t.TempDir(), "documents"), Options{}); err != nil &&
		!errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
}
