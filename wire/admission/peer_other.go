//go:build !linux

package admission

import (
	"errors"
	"os"
	"time"
)

var errNoSyscallConn = errors.New("no system call can be made on the connection")

// awaitByte waits for nothing here: the handshake does, without a turn.
func (c *Conn) awaitByte() error { return nil }

// awaitWake returns when wake is called or the time is over. That the client has
// gone shows in the handshake.
func (c *Conn) awaitWake(timeout time.Duration) error {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-c.turn:
		return nil
	case <-timer.C:
		return os.ErrDeadlineExceeded
	}
}
