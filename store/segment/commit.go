package segment

import (
	"fmt"
	"time"

	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/store"
)

// Append implements store.Log.
func (l *Log) Append(partition int, record []byte, committed store.Committer, token uint64) {
	w := waiter{committed, token}
	var accepted bool
	if err := l.check(partition); err != nil {
		accepted = l.queue.refuse(w, err)
	} else if len(record) > maxRecord {
		accepted = l.queue.refuse(w,
			fmt.Errorf("a record has %d bytes, and at most %d are allowed", len(record), maxRecord))
	} else {
		accepted = l.queue.put(partition, record, w)
	}
	if !accepted {
		// The committer has gone, and a caller who holds a lock that Committed
		// takes must not be called back in here.
		go l.notifyOne(w, store.Position{}, store.ErrClosed)
	}
}

// commitAll commits batch after batch until the queue is closed and empty.
func (l *Log) commitAll() {
	defer close(l.committing)
	var written []byte // the bytes of a batch; kept for the next one
	empty := newBatch(l.partitions)
	for more := true; more; {
		var b *batch
		var roll bool
		b, roll, more = l.queue.take(empty)
		var err error
		if b.bytes > 0 || roll {
			written, err = l.persist(reuse(written), b, roll)
		}
		l.notify(b, err)
		b.reset()
		empty = b
	}
}

// write makes the batch durable. Only the committer changes tip, writing and
// abandoned, so it may read them without mu.
func (l *Log) write(buffer []byte, b *batch, roll bool) ([]byte, error) {
	full := l.writing.end+int64(b.bytes) > l.options.SegmentSize
	if l.abandoned || l.writing.end > segmentHeader && (roll || full) {
		if err := l.roll(int64(b.bytes)); err != nil {
			return buffer, err
		}
	}
	if b.bytes == 0 {
		return buffer, nil
	}
	s := l.writing
	buffer = l.encodeBatch(buffer, b, s.base+s.end)
	// Once a write or a sync has failed nobody knows what the file holds beyond
	// its end: the log goes on in another.
	if _, err := s.file.WriteAt(buffer, s.end); err != nil {
		l.abandoned = true
		return buffer, fmt.Errorf("write %s: %w", s.path, err)
	}
	if err := s.file.Sync(); err != nil {
		l.abandoned = true
		return buffer, fmt.Errorf("sync %s: %w", s.path, err)
	}
	l.publish(s, b)
	l.putMark()
	return buffer, nil
}

// encodeBatch gives all blocks of the batch their headers and puts them one after the
// other into buffer, which will lie at offset in the log.
func (l *Log) encodeBatch(buffer []byte, b *batch, offset int64) []byte {
	now := l.stamp()
	for i := range b.parts {
		p := &b.parts[i]
		next := l.tip.edges[i].next
		for j := range p.extents {
			e := &p.extents[j]
			e.offset = offset + int64(len(buffer))
			e.header.partition = i
			e.header.sequence = next
			e.header.time = now
			e.header.batch = l.tip.batch + 1
			e.header.length = e.end - e.start - blockHeader
			e.header.last = len(buffer)+e.end-e.start == b.bytes
			e.header.seal(p.blocks[e.start:e.end], l.secret)
			buffer = append(buffer, p.blocks[e.start:e.end]...)
			next += int64(e.header.records)
		}
	}
	return buffer
}

// publish lets readers see the batch, which is durable in s.
func (l *Log) publish(s *segment, b *batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range b.parts {
		extents := b.parts[i].extents
		for j := range extents {
			s.add(extents[j].header, extents[j].offset-s.base)
			l.tip.advance(extents[j].header, extents[j].offset)
		}
		if len(extents) > 0 {
			l.wake(i)
		}
	}
}

// notify calls all who wait for the batch: it is durable, unless there is an error.
func (l *Log) notify(b *batch, err error) {
	for i := range b.parts {
		waiters := b.parts[i].waiters
		for j := range b.parts[i].extents {
			e := &b.parts[i].extents[j]
			for k := range e.header.records {
				at := store.Position{}
				if err == nil {
					at = e.header.position(e.offset, k)
				}
				l.notifyOne(waiters[k], at, err)
			}
			waiters = waiters[e.header.records:]
		}
	}
	for _, r := range b.refused {
		l.notifyOne(r.waiter, store.Position{}, r.err)
	}
}

// notifyOne calls one who waits. Its panic is its own affair: others wait too.
func (l *Log) notifyOne(w waiter, at store.Position, err error) {
	defer func() {
		if value := recover(); value != nil {
			l.options.Panics.Record(panics.Background, value)
		}
	}()
	w.committer.Committed(w.token, at, err)
}

// stamp is the time of a batch. A clock that steps back a little, as those that
// are kept right by the network do, stands still in the log; one that was far
// ahead and is right again is followed, or all later records would keep the
// wrong time.
func (l *Log) stamp() int64 {
	now := l.options.Now().UnixNano()
	if back := l.tip.time - now; back > 0 && back <= int64(standStill) {
		return l.tip.time
	}
	return now
}

const standStill = time.Minute

// roll begins a segment that has room for size bytes of blocks. Once it has
// begun to, nothing may be written to the segment before, as the new one may
// have its name on disk already and says where that one ends.
func (l *Log) roll(size int64) error {
	old := l.writing
	if l.abandoned {
		if err := old.verify(l.tip, l.secret); err != nil {
			return err
		}
	}
	reserved := max(l.options.SegmentSize, segmentHeader+size)
	if l.options.Room != nil {
		if err := l.options.Room(reserved); err != nil {
			return fmt.Errorf("begin a segment in %s: %w", l.folder, err)
		}
	}
	l.abandoned = true
	s := newSegment(l.folder, old.number+1, old.base+old.end, l.tip.clone())
	if err := s.create(l.options.open, reserved, l.secret); err != nil {
		return fmt.Errorf("begin a segment: %w", err)
	}
	l.abandoned = false
	l.writing = s
	l.mu.Lock()
	l.segments = append(l.segments, s)
	l.mu.Unlock()
	l.wakeRetention()
	return nil
}
