package segment

import (
	"context"
	"fmt"
	"path/filepath"
	"sort"
	"sync"

	"github.com/berth-iot/berth/store"
)

// Read implements store.Log.
func (l *Log) Read(ctx context.Context, partition int, from int64, maxRecords, maxBytes int) ([]store.Record, error) {
	if err := l.check(partition); err != nil {
		return nil, err
	}
	if maxRecords < 1 {
		return nil, fmt.Errorf("a read of at most %d records", maxRecords)
	}
	scan := scanners.Get().(*scanner)
	defer scan.release()
	state := readState{from: from, records: maxRecords, bytes: maxBytes}
	for !state.full {
		c, err := l.find(partition, state.from)
		if err != nil {
			return nil, err
		}
		if c.segment == nil {
			break
		}
		err = c.read(ctx, scan, l, partition, &state)
		c.segment.using.RUnlock()
		if err != nil {
			return nil, err
		}
		l.hints.put(partition, c.from, hint{state.from, c.segment.number, c.position})
	}
	return state.taken, nil
}

// readState is what a Read has and still wants.
type readState struct {
	from    int64 // sequence of the next record wanted
	records int   // how many more at most
	bytes   int   // of values, likewise; the first record may have more
	taken   []store.Record
	full    bool
}

// take takes what is wanted of a block that lies at offset in the log.
func (r *readState) take(h header, offset int64, body []byte) {
	skip := int(r.from - h.sequence)
	n, size := 0, 0
	for i, rest := 0, body; i < h.records && !r.full; i++ {
		var record []byte
		record, rest = nextRecord(rest)
		if i < skip {
			continue
		}
		if r.records == 0 || len(record) > r.bytes && len(r.taken)+n > 0 {
			r.full = true
			break
		}
		n++
		size += len(record)
		r.records--
		r.bytes -= len(record)
	}
	values := make([]byte, 0, size) // one allocation for all
	for i, rest := 0, body; i < skip+n; i++ {
		var record []byte
		record, rest = nextRecord(rest)
		if i < skip {
			continue
		}
		start := len(values)
		values = append(values, record...)
		r.taken = append(r.taken, store.Record{
			Position: h.position(offset, i),
			Value:    values[start:len(values):len(values)],
		})
	}
	r.from += int64(n)
	r.full = r.full || r.records == 0
}

// cursor is a position in a segment from which on a record is found.
type cursor struct {
	segment  *segment // its using is held for reading; nil when the record doesn't exist
	position int64
	end      int64 // of what is durable in the segment
	from     int64 // the sequence wanted, or the oldest kept
	next     int64 // the sequence after the newest record of the partition in the segment
}

// find returns where to look for a record.
func (l *Log) find(partition int, from int64) (cursor, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return cursor{}, store.ErrClosed
	}
	from = l.skipMissing(partition, from)
	if from >= l.tip.edges[partition].next {
		return cursor{}, nil
	}
	// The last segment that begins at or before the record holds it.
	i := sort.Search(len(l.segments), func(i int) bool {
		return l.segments[i].start.edges[partition].next > from
	}) - 1
	s := l.segments[i]
	c := cursor{segment: s, position: segmentHeader, end: s.end, from: from, next: l.tip.edges[partition].next}
	switch {
	case s.stop != nil:
		c.next = s.stop[partition].next
	case i+1 < len(l.segments):
		c.next = l.segments[i+1].start.edges[partition].next
	}
	points := s.points[partition]
	if j := sort.Search(len(points), func(j int) bool { return points[j].sequence > from }); j > 0 {
		c.position = points[j-1].position
	}
	c.position = max(c.position, l.hints.get(partition, from, s.number))
	s.using.RLock()
	return c, nil
}

// read takes records of the partition until it has all it wants or the segment
// has no more, and moves the position to where the next one is found.
//
// A block that is not what was written is passed over and reported: one bad sector
// stops nobody from reading the rest.
func (c *cursor) read(ctx context.Context, scan *scanner, l *Log, partition int, r *readState) error {
	r.from = c.from
	scan.begin(c.segment.file, l.secret, c.end)
	gap := false // the headers of blocks are missing
	for r.from < c.next && !r.full {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, ok, err := c.header(scan)
		if err != nil {
			return err
		}
		if !ok {
			gap = true
			l.passOver(c.segment, damaged(c.segment.path, c.position, "there is no whole block"))
			more, err := c.skip(scan)
			if err != nil {
				return err
			}
			if !more {
				r.from = c.next
			}
			continue
		}
		if h.partition == partition && h.sequence+int64(h.records) > r.from {
			body, ok, err := scan.body(c.position, h)
			if err != nil {
				return fmt.Errorf("read %s: %w", c.segment.path, err)
			}
			if h.sequence > r.from {
				if !gap {
					return damaged(c.segment.path, c.position, "record %d of partition %d should be there",
						r.from, partition)
				}
				r.from = h.sequence
			}
			if !ok {
				l.passOver(c.segment, damaged(c.segment.path, c.position,
					"%d records of partition %d, from %d on, can't be read", h.records, partition, h.sequence))
				r.from = h.sequence + int64(h.records)
			} else {
				r.take(h, c.segment.base+c.position, body)
			}
			if h.sequence+int64(h.records) > r.from {
				return nil // the next one is in the same block
			}
		}
		c.position += h.size()
	}
	return nil
}

// passOver reports what can't be read, once for each segment.
func (l *Log) passOver(s *segment, err error) {
	if s.reported.Swap(true) {
		return
	}
	if l.options.Damaged != nil {
		l.options.Damaged(filepath.Base(l.folder), err)
		return
	}
	l.options.Logger.Error("records of a log can't be read and are passed over", "folder", l.folder, "error", err)
}

// header reads the header at the position, and reports whether there is one.
func (c *cursor) header(scan *scanner) (h header, ok bool, err error) {
	h, ok, err = scan.header(c.position)
	if err != nil {
		err = fmt.Errorf("read %s: %w", c.segment.path, err)
	}
	return h, ok, err
}

// skip moves the position from a damaged header to the next one, or to the end, and
// reports whether there is another.
func (c *cursor) skip(scan *scanner) (more bool, err error) {
	at, _, err := scan.search(c.position+1, func(header) bool { return true })
	if err != nil {
		return false, fmt.Errorf("read %s: %w", c.segment.path, err)
	}
	c.position = at
	if at < 0 {
		c.position = c.end
	}
	return at >= 0, nil
}

// SequenceAt implements store.Log.
func (l *Log) SequenceAt(ctx context.Context, partition int, unixNano int64) (int64, error) {
	if err := l.check(partition); err != nil {
		return 0, err
	}
	scan := scanners.Get().(*scanner)
	defer scan.release()
	from, err := l.lowerBound(partition, unixNano)
	if err != nil {
		return 0, err
	}
	for {
		c, err := l.find(partition, from)
		if err != nil {
			return 0, err
		}
		if c.segment == nil {
			return l.Bounds(partition).Next, nil
		}
		found, err := c.seek(ctx, scan, l.secret, partition, unixNano)
		c.segment.using.RUnlock()
		if err != nil || found {
			return c.from, err
		}
		from = c.from
	}
}

// lowerBound returns a sequence, known to the index, at or before the first record
// that was committed at or after the given time. Times need not grow.
func (l *Log) lowerBound(partition int, unixNano int64) (int64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return 0, store.ErrClosed
	}
	if l.tip.edges[partition].time < unixNano {
		return l.tip.edges[partition].next, nil
	}
	for _, s := range l.segments {
		points := s.points[partition]
		if len(points) == 0 || s.newest[partition] < unixNano {
			continue
		}
		j := sort.Search(len(points), func(j int) bool { return points[j].time >= unixNano })
		return points[max(0, j-1)].sequence, nil
	}
	return l.tip.edges[partition].next, nil
}

// seek moves from to the first record at or after the time, or past the
// segment if it has none.
func (c *cursor) seek(
	ctx context.Context, scan *scanner, secret uint32, partition int, unixNano int64,
) (found bool, err error) {
	scan.begin(c.segment.file, secret, c.end)
	for c.from < c.next {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		h, ok, err := c.header(scan)
		if err != nil {
			return false, err
		}
		if !ok {
			more, err := c.skip(scan)
			if err != nil {
				return false, err
			}
			if !more {
				c.from = c.next
			}
			continue
		}
		if h.partition == partition && h.sequence+int64(h.records) > c.from {
			c.from = max(c.from, h.sequence)
			if h.time >= unixNano {
				return true, nil
			}
			c.from = h.sequence + int64(h.records)
		}
		c.position += h.size()
	}
	return false, nil
}

// scanners holds the memory of scanners between reads.
var scanners = sync.Pool{New: func() any { return new(scanner) }}

func (s *scanner) release() {
	s.begin(nil, 0, 0)
	if cap(s.window) <= 8*windowSize {
		scanners.Put(s)
	}
}

// hints remember where recent reads ended, because most go on from there.
type hints struct {
	mu    sync.Mutex
	parts [][hintsKept]hint
	turn  int
}

const hintsKept = 4 // readers of a partition that are helped at a time

// hint says that no record of the partition from sequence on lies before
// position in the segment.
type hint struct {
	sequence int64
	segment  uint64
	position int64
}

func newHints(partitions int) hints { return hints{parts: make([][hintsKept]hint, partitions)} }

// put remembers a hint of a reader who found the one for the sequence was, and
// no longer needs it.
func (h *hints) put(partition int, was int64, new hint) {
	h.mu.Lock()
	defer h.mu.Unlock()
	kept := &h.parts[partition]
	for i := range kept {
		if kept[i].sequence == was && kept[i].segment != 0 {
			kept[i] = new
			return
		}
	}
	h.turn++
	kept[h.turn%hintsKept] = new
}

// get returns the best position to look for a record in a segment, or zero.
func (h *hints) get(partition int, sequence int64, segment uint64) (position int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, k := range h.parts[partition] {
		if k.segment == segment && k.sequence <= sequence {
			position = max(position, k.position)
		}
	}
	return position
}
