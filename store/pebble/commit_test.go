package pebble

import (
	"testing"

	"github.com/berth-iot/berth/store"
)

// Commits that only check a document don't wait for each other, and a commit that
// changes it waits for them: a thousand devices of one group register at once.
func TestChecksShareTheirLock(t *testing.T) {
	var locks stripes
	keys := [][]byte{[]byte("group")}
	check, put := []store.Change{{Check: true}}, []store.Change{{}}
	free := func() bool {
		for i := range locks {
			if !locks[i].TryLock() {
				return false
			}
			locks[i].Unlock()
		}
		return true
	}
	first := locks.lock(keys, check)
	second := locks.lock(keys, check) // does not wait for the first
	first()
	if free() {
		t.Error("the lock is free while a check holds it")
	}
	second()
	if !free() {
		t.Error("the lock is held after the checks")
	}
	// The same stripe, checked and changed by one commit, is not shared.
	unlock := locks.lock([][]byte{keys[0], keys[0]}, append(check, put...))
	for i := range locks {
		if locks[i].TryRLock() {
			locks[i].RUnlock()
		} else {
			unlock()
			if !free() {
				t.Error("the lock is held after the change")
			}
			return
		}
	}
	t.Error("a change shares its lock")
}
