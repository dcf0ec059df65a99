package segment

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/berth-iot/berth/store"
)

// queue holds what was appended and not yet taken by the committer.
type queue struct {
	mu      sync.Mutex
	work    sync.Cond // the committer waits for something to do
	room    sync.Cond // appenders wait for less to be queued
	filling *batch
	limit   int  // of bytes queued, in bytes
	roll    bool // the committer is asked to begin a segment
	closed  bool
	closing chan struct{} // closed with it
}

func newQueue(partitions, limit int) *queue {
	q := &queue{filling: newBatch(partitions), limit: limit, closing: make(chan struct{})}
	q.work.L = &q.mu
	q.room.L = &q.mu
	return q
}

// put queues a record and wakes the committer if it has nothing to do. It
// returns false when the queue is closed.
func (q *queue) put(partition int, record []byte, w waiter) bool {
	q.mu.Lock()
	for q.filling.bytes >= q.limit && !q.closed {
		q.room.Wait()
	}
	if q.closed {
		q.mu.Unlock()
		return false
	}
	idle := q.filling.idle()
	q.filling.add(partition, record, w)
	q.mu.Unlock()
	if idle {
		q.work.Signal()
	}
	return true
}

// refuse queues the news that a record can't be taken. It returns false when
// the queue is closed.
func (q *queue) refuse(w waiter, err error) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.filling.refused = append(q.filling.refused, refusal{w, err})
	q.work.Signal()
	return true
}

// take waits for something to do and exchanges what is queued for the empty
// batch. The last one has more false.
func (q *queue) take(empty *batch) (taken *batch, roll, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.filling.idle() && !q.roll && !q.closed {
		q.work.Wait()
	}
	if q.filling.bytes >= q.limit {
		q.room.Broadcast()
	}
	taken, q.filling = q.filling, empty
	roll, q.roll = q.roll, false
	return taken, roll, !q.closed
}

// askRoll asks the committer to begin a segment.
func (q *queue) askRoll() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.roll = true
	q.work.Signal()
}

// close lets nothing more in.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	close(q.closing)
	q.work.Signal()
	q.room.Broadcast()
}

// ending waits for a time and reports whether the queue was closed by then.
func (q *queue) ending(wait time.Duration) bool {
	select {
	case <-q.closing:
		return true
	case <-time.After(wait):
		return false
	}
}

// batch is what is written and synced together.
type batch struct {
	parts   []pending // by partition
	bytes   int       // of all blocks
	refused []refusal
}

// pending holds the records of one partition, already laid out as blocks with
// room for their headers.
type pending struct {
	blocks  []byte
	extents []extent
	waiters []waiter // one for each record
}

// extent is a block in pending.blocks.
type extent struct {
	start, end int
	header     header
	offset     int64 // in the log; known, as the rest of the header, once it is laid out
}

// waiter is who hears of a record.
type waiter struct {
	committer store.Committer
	token     uint64
}

type refusal struct {
	waiter
	err error
}

func newBatch(partitions int) *batch {
	return &batch{parts: make([]pending, partitions)}
}

func (b *batch) idle() bool { return b.bytes == 0 && len(b.refused) == 0 }

func (b *batch) add(partition int, record []byte, w waiter) {
	p := &b.parts[partition]
	before := len(p.blocks)
	last := len(p.extents) - 1
	if last < 0 || p.extents[last].end-p.extents[last].start+lengthSize+len(record) > blockHeader+blockBody {
		p.extents = append(p.extents, extent{start: before})
		last++
		p.blocks = append(p.blocks, make([]byte, blockHeader)...)
	}
	p.blocks = binary.LittleEndian.AppendUint32(p.blocks, uint32(len(record)))
	p.blocks = append(p.blocks, record...)
	p.extents[last].end = len(p.blocks)
	p.extents[last].header.records++
	p.waiters = append(p.waiters, w)
	b.bytes += len(p.blocks) - before
}

// reset empties the batch, whose memory serves the next one.
func (b *batch) reset() {
	for i := range b.parts {
		p := &b.parts[i]
		clear(p.waiters) // lets go of the committers
		p.waiters = reuse(p.waiters)
		p.extents = reuse(p.extents)
		p.blocks = reuse(p.blocks)
	}
	clear(b.refused)
	b.refused = reuse(b.refused)
	b.bytes = 0
}

// reuse empties a slice and keeps its memory, unless a burst made it much
// larger than what is needed now.
func reuse[T any](s []T) []T {
	const small = 64 << 10
	if cap(s) > small && len(s) < cap(s)/16 {
		return nil
	}
	return s[:0]
}
