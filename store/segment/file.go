package segment

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/berth-iot/berth/store/mark"
)

// A file is one segment on disk. Tests put failing disks behind it.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer

	// Reserve makes the file size bytes long, with its space on disk where the
	// file system can do that. Bytes never written read as zero.
	Reserve(size int64) error

	// Cut drops everything from size on.
	Cut(size int64) error

	// Sync returns when everything written is on disk.
	Sync() error

	// Size returns the length of the file in bytes.
	Size() (int64, error)
}

// opener opens the file with this path for reading and writing, and makes it
// when create is true.
type opener func(path string, create bool) (file, error)

// diskFile is a file of the operating system.
type diskFile struct{ *os.File }

func openDisk(path string, create bool) (file, error) {
	flags := os.O_RDWR
	if create {
		flags |= os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	return diskFile{f}, nil
}

func (f diskFile) Reserve(size int64) error { return reserve(f.File, size) }
func (f diskFile) Cut(size int64) error     { return f.Truncate(size) }
func (f diskFile) Sync() error              { return syncData(f.File) }

func (f diskFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// replaceFile puts content under path, all or nothing; durable when it returns
// nil and sync is true.
func replaceFile(path string, content []byte, sync bool) (err error) {
	temporary := path + temporarySuffix
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil && sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	if sync {
		return mark.SyncFolder(filepath.Dir(path))
	}
	return nil
}

// makeFolder makes a folder for the owner only, durably.
func makeFolder(path string) error {
	if err := os.Mkdir(path, 0o700); errors.Is(err, os.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	return mark.SyncFolder(filepath.Dir(path))
}

const temporarySuffix = ".new"

// damaged is the error for bytes on disk that are not what was written there.
func damaged(path string, position int64, format string, args ...any) error {
	return lost("%s is damaged at byte %d: %w", path, position, fmt.Errorf(format, args...))
}
