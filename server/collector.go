package server

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The garbage collector runs when as much has been allocated as its percentage of what
// was alive before. By default that is 100, of all: the caches of the documents, which
// are on the heap of a binary without cgo and never garbage, would have as much room
// again, and so would the connections of a crowd that does nothing.
const (
	collectEvery  = 5 * time.Second
	roomPercent   = 60       // of what is alive, caches aside
	leastRoom     = 16 << 20 // bytes: a small server allocates as fast as a large one
	leastPercent  = 5
	mostPercent   = 400
	settlePercent = 25 // of the room: so much that is of no use is given back when nothing else happens
)

// TuneCollector keeps the garbage collector's goal by what the server is, until the
// context ends. It is for a process that is nothing but this server, and leaves all as it
// is where GOGC or GOMEMLIMIT say how it is to be.
func (s *Server) TuneCollector(ctx context.Context) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	var caches func() int64
	if documents, ok := s.engine.(interface{ HeapCaches() int64 }); ok {
		caches = documents.HeapCaches
	}
	ticker := time.NewTicker(collectEvery)
	defer ticker.Stop()
	var c collector
	for {
		c.tune(readHeap(), caches)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// heap is what the runtime says of it.
type heap struct {
	live    uint64 // bytes that the last collection found alive
	roots   uint64 // bytes of stacks and globals that it looked through
	objects uint64 // bytes that are taken, garbage among them
	free    uint64 // bytes that nothing is in, and that the system could have back
	cycles  uint64 // collections so far
}

func readHeap() heap {
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/cycles/total:gc-cycles"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(samples)
	return heap{
		live: samples[0].Value.Uint64(), roots: samples[1].Value.Uint64() + samples[2].Value.Uint64(),
		objects: samples[3].Value.Uint64(), cycles: samples[4].Value.Uint64(), free: samples[5].Value.Uint64(),
	}
}

// room is how many bytes may be allocated from one collection to the next.
func (h heap) room(caches int64) uint64 {
	alive := h.live + h.roots
	return max(leastRoom, (alive-min(uint64(caches), h.live))*roomPercent/100)
}

// percent is the collector's, for so much room.
func (h heap) percent(room uint64) int {
	return int(min(max(100*room/max(h.live+h.roots, 1), leastPercent), mostPercent))
}

// collector remembers how the garbage collector was tuned.
type collector struct {
	percent int    // 0 while it is the default
	cycles  uint64 // of the look before
}

// tune sets the percentage if it should be another. Where nothing was collected since the
// look before, what a storm of connections left behind is, and goes back to the system:
// while nothing is allocated the collector would not run, stacks not shrink, and what was
// once needed be kept.
func (c *collector) tune(now heap, caches func() int64) {
	var cached int64
	if caches != nil {
		cached = caches()
	}
	room := now.room(cached)
	percent := now.percent(room)
	if difference := percent - c.percent; difference*10 > c.percent || -difference*10 > c.percent {
		debug.SetGCPercent(percent)
		c.percent = percent
	}
	quiet := now.cycles == c.cycles
	c.cycles = now.cycles
	if worth := room * settlePercent / 100; quiet && (now.objects > now.live+worth || now.free > worth) {
		debug.FreeOSMemory()
	}
}
