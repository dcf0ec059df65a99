package segment

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncData does without the sync of times and the like, which readers of a
// segment don't need.
func syncData(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

// forget lets the system drop its copy of what is on disk. It is a hint.
func forget(f *os.File) { unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }

func reserve(f *os.File, size int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, 0, size)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
			return f.Truncate(size) // this file system can't reserve space
		default:
			return os.NewSyscallError("fallocate", err)
		}
	}
}
