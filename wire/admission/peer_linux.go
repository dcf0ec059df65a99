package admission

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

var (
	errNoSyscallConn = errors.New("no system call can be made on the connection")
	errPeerGone      = errors.New("the client has closed the connection")
)

const peerGone = unix.POLLRDHUP | unix.POLLHUP | unix.POLLERR

// awaitByte returns nil when the client has sent something, which stays to be read.
// The read deadline of the connection ends it.
func (c *Conn) awaitByte() error {
	err := c.await(unix.POLLIN)
	c.peeked = err == nil
	return err
}

// awaitWake returns when the client has gone, or with the read deadline that wake
// sets.
func (c *Conn) awaitWake(time.Duration) error { return c.await(0) }

// await returns nil when one of these events has come.
func (c *Conn) await(events int16) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	watched := []unix.PollFd{{Events: events | unix.POLLRDHUP}}
	// Read looks whenever something has changed on the connection.
	err = raw.Read(func(fd uintptr) bool {
		watched[0].Fd = int32(fd)
		for {
			if _, err := unix.Poll(watched, 0); err != unix.EINTR {
				return watched[0].Revents != 0
			}
		}
	})
	if err == nil && watched[0].Revents&peerGone != 0 {
		return errPeerGone
	}
	return err
}
