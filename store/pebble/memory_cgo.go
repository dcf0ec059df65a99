//go:build cgo

package pebble

// ownMemory says whether Pebble takes its caches from outside of Go's heap.
const ownMemory = true
