package server

import (
	"runtime"
	"testing"
)

// TestCollectorPercent leaves room by what is alive, and none by what is cached.
func TestCollectorPercent(t *testing.T) {
	const mebibyte = 1 << 20
	for name, test := range map[string]struct {
		heap   heap
		caches int64
		room   uint64
		want   int
	}{
		"a server that has just started": {heap{live: 8 * mebibyte, roots: 2 * mebibyte}, 0, leastRoom, 160},
		"nothing is alive yet":           {heap{}, 0, leastRoom, mostPercent},
		"caches are full": {heap{live: 88 * mebibyte, roots: 2 * mebibyte}, 80 * mebibyte, leastRoom,
			17},
		"many connections": {heap{live: 900 * mebibyte, roots: 100 * mebibyte}, 0, 600 * mebibyte, 60},
		"many connections, and caches": {heap{live: 980 * mebibyte, roots: 100 * mebibyte}, 80 * mebibyte,
			600 * mebibyte, 55},
		"caches of which not all were alive": {heap{live: 10 * mebibyte, roots: 100 * mebibyte}, 80 * mebibyte,
			60 * mebibyte, 54},
		"large caches": {heap{live: 4000 * mebibyte}, 3990 * mebibyte, leastRoom, leastPercent},
	} {
		room := test.heap.room(test.caches)
		if percent := test.heap.percent(room); room != test.room || percent != test.want {
			t.Errorf("%s: room for %d bytes and %d percent, want %d and %d", name, room, percent, test.room, test.want)
		}
	}
}

// TestCollectorFreesMemory: what is of no use any more goes back to the system when nothing
// else happens, and not while something does.
func TestCollectorFreesMemory(t *testing.T) {
	var large [][]byte
	for range 100 {
		large = append(large, make([]byte, 1<<20))
	}
	var c collector
	c.tune(readHeap(), nil)
	if now := readHeap(); now.objects < 100<<20 {
		t.Fatalf("%d bytes are taken", now.objects)
	}
	clear(large)
	runtime.GC()
	before := readHeap()
	c.tune(before, nil) // something was collected since the look before
	if now := readHeap(); before.free < 50<<20 || now.free < before.free/2 {
		t.Errorf("%d bytes were free and %d are, at once", before.free, now.free)
	}
	c.tune(readHeap(), nil)
	if now := readHeap(); now.free > 10<<20 || now.objects > 50<<20 {
		t.Errorf("%d bytes are free and %d are taken, when nothing happens", now.free, now.objects)
	}
}
