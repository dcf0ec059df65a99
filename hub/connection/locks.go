package connection

import (
	"hash/maphash"
	"slices"
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
	mutex := &l.mutexes[l.index(deviceID)]
	mutex.Lock()
	return mutex.Unlock
}

// lockAll is lock for several at once, in an order in which two who do so never wait for each
// other.
func (l *deviceLocks) lockAll(ids []string) (unlock func()) {
	indexes := make([]int, len(ids))
	for i, id := range ids {
		indexes[i] = l.index(id)
	}
	slices.Sort(indexes)
	indexes = slices.Compact(indexes)
	for _, index := range indexes {
		l.mutexes[index].Lock()
	}
	return func() {
		for _, index := range indexes {
			l.mutexes[index].Unlock()
		}
	}
}

func (l *deviceLocks) index(id string) int {
	return int(maphash.String(l.seed, id) % uint64(len(l.mutexes)))
}
