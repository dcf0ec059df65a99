package server

import "testing"

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
		"caches are full":                {heap{live: 88 * mebibyte, roots: 2 * mebibyte}, 80 * mebibyte, leastRoom, 17},
		"many connections":               {heap{live: 900 * mebibyte, roots: 100 * mebibyte}, 0, 600 * mebibyte, 60},
		"many connections, and caches":   {heap{live: 980 * mebibyte, roots: 100 * mebibyte}, 80 * mebibyte, 600 * mebibyte, 55},
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
