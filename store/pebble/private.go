package pebble

import (
	"errors"
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// private is a file system whose new files only their owner can read, whatever the
// process's umask: documents hold keys.
type private struct{ vfs.FS }

const (
	privateFile   os.FileMode = 0o600
	privateFolder os.FileMode = 0o700
)

func (p private) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return hide(name)(p.FS.Create(name, category))
}

func (p private) OpenReadWrite(
	name string, category vfs.DiskWriteCategory, options ...vfs.OpenOption,
) (vfs.File, error) {
	return hide(name)(p.FS.OpenReadWrite(name, category, options...))
}

func (p private) ReuseForWrite(old, name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return hide(name)(p.FS.ReuseForWrite(old, name, category))
}

func (p private) MkdirAll(dir string, _ os.FileMode) error { return p.FS.MkdirAll(dir, privateFolder) }

func (p private) Lock(name string) (io.Closer, error) {
	lock, err := p.FS.Lock(name)
	if err != nil {
		return nil, err
	}
	if err := setMode(name); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// Unwrap implements vfs.FS.
func (p private) Unwrap() vfs.FS { return p.FS }

// hide takes a file that was opened, and lets nobody else read it.
func hide(name string) func(vfs.File, error) (vfs.File, error) {
	return func(file vfs.File, err error) (vfs.File, error) {
		if err != nil {
			return file, err
		}
		if err := setMode(name); err != nil {
			return nil, errors.Join(err, file.Close())
		}
		return file, nil
	}
}

// setMode lets a file system pass that has no modes, such as FAT: there is nothing to
// be done.
func setMode(name string) error {
	err := os.Chmod(name, privateFile)
	if err != nil && !errors.Is(err, os.ErrPermission) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}
