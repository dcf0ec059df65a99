package segment

import (
	"fmt"

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
		accepted = l.queue.refuse(w, fmt.Errorf("a record has %d bytes, and at most %d are allowed", len(record), maxRecord))
	} else {
		accepted = l.queue.put(partition, record, w)
	}
	if !accepted {
		// The committer has gone, and a caller who holds a lock that Committed
		// takes must not be called back in here.
		go l.tellOne(w, store.Position{}, store.ErrClosed)
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
		if b.bytes > 0 || roll {
			if l.failure == nil {
				err := l.options.Panics.Do(panics.Background, func() error {
					written = l.write(reuse(written), b, roll)
					return nil
				})
				if err != nil {
					l.fail(err)
				}
			}
		}
		l.tell(b)
		b.reset()
		empty = b
	}
}

// write makes the batch durable, or the log fail. Only the committer changes
// tip, writing and failure, so it may read them without mu.
func (l *Log) write(buffer []byte, b *batch, roll bool) []byte {
	if l.writing.end > segmentHeader && (roll || l.writing.end+int64(b.bytes) > l.options.SegmentSize) {
		if err := l.roll(int64(b.bytes)); err != nil {
			l.fail(fmt.Errorf("begin a segment: %w", err))
			return buffer
		}
	}
	if b.bytes == 0 {
		return buffer
	}
	s := l.writing
	buffer = l.lay(buffer, b, s.base+s.end)
	if _, err := s.file.WriteAt(buffer, s.end); err != nil {
		l.fail(fmt.Errorf("write %s: %w", s.path, err))
	} else if err := s.file.Sync(); err != nil {
		l.fail(fmt.Errorf("sync %s: %w", s.path, err))
	} else {
		l.publish(s, b)
	}
	return buffer
}

// lay gives all blocks of the batch their headers and puts them one after the
// other into buffer, which will lie at offset in the log.
func (l *Log) lay(buffer []byte, b *batch, offset int64) []byte {
	now := max(l.options.Now().UnixNano(), l.tip.time)
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

// tell calls all who wait for the batch: it is durable, unless the log failed.
func (l *Log) tell(b *batch) {
	for i := range b.parts {
		waiters := b.parts[i].waiters
		for j := range b.parts[i].extents {
			e := &b.parts[i].extents[j]
			for k := range e.header.records {
				at := store.Position{}
				if l.failure == nil {
					at = e.header.position(e.offset, k)
				}
				l.tellOne(waiters[k], at, l.failure)
			}
			waiters = waiters[e.header.records:]
		}
	}
	for _, r := range b.refused {
		l.tellOne(r.waiter, store.Position{}, r.err)
	}
}

// tellOne calls one who waits. Its panic is its own affair: others wait too.
func (l *Log) tellOne(w waiter, at store.Position, err error) {
	defer func() {
		if value := recover(); value != nil {
			l.options.Panics.Record(panics.Background, value)
		}
	}()
	w.committer.Committed(w.token, at, err)
}

// fail ends the log for writing: what the disk holds past the last sync is not
// known, so nothing may be put after it.
func (l *Log) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failure = err
	for i := range l.changed {
		l.wake(i)
	}
}

// roll begins a segment that has room for size bytes of blocks.
func (l *Log) roll(size int64) error {
	old := l.writing
	s := newSegment(l.folder, old.number+1, old.base+old.end, l.tip.clone())
	if err := s.create(l.options.open, max(l.options.SegmentSize, segmentHeader+size), l.secret); err != nil {
		return err
	}
	l.writing = s
	l.mu.Lock()
	l.segments = append(l.segments, s)
	l.mu.Unlock()
	l.tidy()
	return nil
}
