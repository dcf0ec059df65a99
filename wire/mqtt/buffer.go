package mqtt

import "sync"

// bufferSize is what a burst of small messages fits in.
const bufferSize = 8 << 10

// maxPooled is the largest buffer that goes back to the pool: one that a rare
// large packet needed is left to the garbage collector.
const maxPooled = 64 << 10

// Buffers travel through the pool in their cells, which wait in a pool of their
// own, so that neither way allocates.
var full, empty sync.Pool

type cell struct{ b []byte }

// getBuffer returns a buffer of at least bufferSize bytes.
func getBuffer() []byte {
	if c, ok := full.Get().(*cell); ok {
		b := c.b
		c.b = nil
		empty.Put(c)
		return b[:cap(b)]
	}
	return make([]byte, bufferSize)
}

// putBuffer gives a buffer back; nil is fine.
func putBuffer(b []byte) {
	if cap(b) < bufferSize || cap(b) > maxPooled {
		return
	}
	c, ok := empty.Get().(*cell)
	if !ok {
		c = new(cell)
	}
	c.b = b
	full.Put(c)
}

// grow returns b, or when b is full a buffer twice as large that starts with
// what is in b. So a packet gets room as it comes, whatever size it claims.
func grow(b []byte, filled int) []byte {
	if filled < len(b) {
		return b
	}
	larger := make([]byte, 2*len(b))
	copy(larger, b)
	putBuffer(b)
	return larger
}
