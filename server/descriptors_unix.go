//go:build unix

package server

import "syscall"

// descriptors returns how many file descriptors the process may have; 0 is without a
// limit. The Go runtime has raised the soft limit to the hard one.
func descriptors() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > 1<<30 {
		return 0
	}
	return int(limit.Cur)
}
