package connection

import (
	"hash/maphash"
	"sync"
)

// deviceLocks are locks by device; some devices share one. They put in order what this node
// does: a lock across nodes would be held while the network is waited for. Two changes that
// are made on two nodes may reach the device in the other order, with their versions.
type deviceLocks struct {
	seed    maphash.Seed
	mutexes [256]sync.Mutex
}

func newDeviceLocks() *deviceLocks { return &deviceLocks{seed: maphash.MakeSeed()} }

// lock waits for the device's lock and returns what gives it back.
func (l *deviceLocks) lock(deviceID string) (unlock func()) {
	mutex := &l.mutexes[maphash.String(l.seed, deviceID)%uint64(len(l.mutexes))]
	mutex.Lock()
	return mutex.Unlock
}
