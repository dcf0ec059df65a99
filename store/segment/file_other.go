//go:build !linux

package segment

import "os"

func syncData(f *os.File) error { return f.Sync() }

// forget does nothing: the system keeps its copy of what is on disk.
func forget(*os.File) {}

func reserve(f *os.File, size int64) error { return f.Truncate(size) }
