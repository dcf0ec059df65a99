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
	taken := taking{from: from, records: maxRecords, bytes: maxBytes}
	for !taken.full {
		place, err := l.find(partition, taken.from)
		if err != nil {
			return nil, err
		}
		if place.segment == nil {
			break
		}
		err = place.read(ctx, scan, l, partition, &taken)
		place.segment.using.RUnlock()
		if err != nil {
			return nil, err
		}
		l.hints.put(partition, place.from, hint{taken.from, place.segment.number, place.position})
	}
	return taken.taken, nil
}

// taking is what a Read has and still wants.
type taking struct {
	from    int64 // sequence of the next record wanted
	records int   // how many more at most
	bytes   int   // of values, likewise; the first record may have more
	taken   []store.Record
	full    bool
}

// take takes what is wanted of a block that lies at offset in the log.
func (t *taking) take(h header, offset int64, body []byte) {
	skip := int(t.from - h.sequence)
	n, size := 0, 0
	for i, rest := 0, body; i < h.records && !t.full; i++ {
		var record []byte
		record, rest = nextRecord(rest)
		if i < skip {
			continue
		}
		if t.records == 0 || len(record) > t.bytes && len(t.taken)+n > 0 {
			t.full = true
			break
		}
		n++
		size += len(record)
		t.records--
		t.bytes -= len(record)
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
		t.taken = append(t.taken, store.Record{
			Position: h.position(offset, i),
			Value:    values[start:len(values):len(values)],
		})
	}
	t.from += int64(n)
	t.full = t.full || t.records == 0
}

// place is a position in a segment from which on a record is found.
type place struct {
	segment  *segment // its using is held for reading; nil when the record doesn't exist
	position int64
	end      int64 // of what is durable in the segment
	from     int64 // the sequence wanted, or the oldest kept
	next     int64 // the sequence after the newest record of the partition in the segment
}

// find returns where to look for a record.
func (l *Log) find(partition int, from int64) (place, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return place{}, store.ErrClosed
	}
	from = l.lift(partition, from)
	if from >= l.tip.edges[partition].next {
		return place{}, nil
	}
	// The last segment that begins at or before the record holds it.
	i := sort.Search(len(l.segments), func(i int) bool {
		return l.segments[i].start.edges[partition].next > from
	}) - 1
	s := l.segments[i]
	p := place{segment: s, position: segmentHeader, end: s.end, from: from, next: l.tip.edges[partition].next}
	switch {
	case s.stop != nil:
		p.next = s.stop[partition].next
	case i+1 < len(l.segments):
		p.next = l.segments[i+1].start.edges[partition].next
	}
	points := s.points[partition]
	if j := sort.Search(len(points), func(j int) bool { return points[j].sequence > from }); j > 0 {
		p.position = points[j-1].position
	}
	p.position = max(p.position, l.hints.get(partition, from, s.number))
	s.using.RLock()
	return p, nil
}

// read takes records of the partition until it has all it wants or the segment
// has no more, and moves the position to where the next one is found.
//
// A block that is not what was written is passed over and reported: one bad sector
// stops nobody from reading the rest.
func (p *place) read(ctx context.Context, scan *scanner, l *Log, partition int, t *taking) error {
	t.from = p.from
	scan.begin(p.segment.file, l.secret, p.end)
	gap := false // the headers of blocks are missing
	for t.from < p.next && !t.full {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, ok, err := p.header(scan)
		if err != nil {
			return err
		}
		if !ok {
			gap = true
			l.passOver(p.segment, damaged(p.segment.path, p.position, "there is no whole block"))
			more, err := p.skip(scan)
			if err != nil {
				return err
			}
			if !more {
				t.from = p.next
			}
			continue
		}
		if h.partition == partition && h.sequence+int64(h.records) > t.from {
			body, ok, err := scan.body(p.position, h)
			if err != nil {
				return fmt.Errorf("read %s: %w", p.segment.path, err)
			}
			if h.sequence > t.from {
				if !gap {
					return damaged(p.segment.path, p.position, "record %d of partition %d should be there", t.from, partition)
				}
				t.from = h.sequence
			}
			if !ok {
				l.passOver(p.segment, damaged(p.segment.path, p.position, "%d records of partition %d, from %d on, can't be read", h.records, partition, h.sequence))
				t.from = h.sequence + int64(h.records)
			} else {
				t.take(h, p.segment.base+p.position, body)
			}
			if h.sequence+int64(h.records) > t.from {
				return nil // the next one is in the same block
			}
		}
		p.position += h.size()
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
func (p *place) header(scan *scanner) (h header, ok bool, err error) {
	h, ok, err = scan.header(p.position)
	if err != nil {
		err = fmt.Errorf("read %s: %w", p.segment.path, err)
	}
	return h, ok, err
}

// skip moves the position from a damaged header to the next one, or to the end, and
// reports whether there is another.
func (p *place) skip(scan *scanner) (more bool, err error) {
	at, _, err := scan.search(p.position+1, func(header) bool { return true })
	if err != nil {
		return false, fmt.Errorf("read %s: %w", p.segment.path, err)
	}
	p.position = at
	if at < 0 {
		p.position = p.end
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
	from, err := l.before(partition, unixNano)
	if err != nil {
		return 0, err
	}
	for {
		p, err := l.find(partition, from)
		if err != nil {
			return 0, err
		}
		if p.segment == nil {
			return l.Bounds(partition).Next, nil
		}
		found, err := p.seek(ctx, scan, l.secret, partition, unixNano)
		p.segment.using.RUnlock()
		if err != nil || found {
			return p.from, err
		}
		from = p.from
	}
}

// before returns a sequence, known to the index, at or before the first record
// that was committed at or after the given time. Times need not grow.
func (l *Log) before(partition int, unixNano int64) (int64, error) {
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
func (p *place) seek(ctx context.Context, scan *scanner, secret uint32, partition int, unixNano int64) (found bool, err error) {
	scan.begin(p.segment.file, secret, p.end)
	for p.from < p.next {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		h, ok, err := p.header(scan)
		if err != nil {
			return false, err
		}
		if !ok {
			more, err := p.skip(scan)
			if err != nil {
				return false, err
			}
			if !more {
				p.from = p.next
			}
			continue
		}
		if h.partition == partition && h.sequence+int64(h.records) > p.from {
			p.from = max(p.from, h.sequence)
			if h.time >= unixNano {
				return true, nil
			}
			p.from = h.sequence + int64(h.records)
		}
		p.position += h.size()
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
