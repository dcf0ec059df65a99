package segment

import (
	"errors"
	"fmt"
	"syscall"
)

// recoverBlocks reads the segment from its end on, where the log is at t, and
// moves both past every whole batch. verify also checks the bodies. It returns
// why it stopped before limit, or "".
//
// A batch counts as a whole or not at all: only then was it confirmed.
func (s *segment) recoverBlocks(t *tip, limit int64, verify bool, secret uint32) (stopped string, err error) {
	var scan scanner
	scan.begin(s.file, secret, limit)
	type placed struct {
		header
		position int64
	}
	var batch []placed // the blocks of one not known to be whole yet
	ahead := t.clone() // the tip after these blocks
	position := s.end
	for position < limit {
		h, ok, err := scan.header(position)
		if err != nil {
			return "", fmt.Errorf("read %s: %w", s.path, err)
		}
		if !ok {
			return "there is no whole block", nil
		}
		if reason := ahead.follows(h, len(batch) > 0); reason != "" {
			return reason, nil
		}
		if verify {
			_, ok, err := scan.body(position, h)
			if err != nil {
				return "", fmt.Errorf("read %s: %w", s.path, err)
			}
			if !ok {
				return "the checksum of a block is wrong", nil
			}
		}
		ahead.advance(h, s.base+position)
		batch = append(batch, placed{h, position})
		position += h.size()
		if h.last {
			for _, b := range batch {
				s.add(b.header, b.position)
				t.advance(b.header, s.base+b.position)
			}
			batch = batch[:0]
		}
	}
	if len(batch) > 0 {
		return "the last batch is not whole", nil
	}
	return "", nil
}

// follows returns why a block can't come next, or "". begun says that a block
// of its batch came before it.
func (t *tip) follows(h header, begun bool) string {
	batch := t.batch + 1
	if begun {
		batch = t.batch
	}
	switch {
	case h.partition >= len(t.edges):
		return fmt.Sprintf("a block of partition %d in a log of %d", h.partition, len(t.edges))
	case h.batch != batch:
		return fmt.Sprintf("a block of batch %d where batch %d belongs", h.batch, batch)
	case h.sequence != t.edges[h.partition].next:
		return fmt.Sprintf("partition %d goes on with record %d instead of %d",
			h.partition, h.sequence, t.edges[h.partition].next)
	}
	return ""
}

// tail says what lies in the segment from its end to limit, where a batch was
// perhaps being written when the process ended: nothing, or remains of that
// batch. later is the position of a block of some batch after that, or -1: such
// a block was written only once the batch before it was durable, so what is
// missing before it was confirmed and then damaged.
func (s *segment) tail(t tip, limit int64, secret uint32) (empty bool, later int64, err error) {
	var scan scanner
	scan.begin(s.file, secret, limit)
	later, empty, err = scan.search(s.end, func(h header) bool { return h.batch > t.batch+1 })
	if err != nil {
		return false, -1, fmt.Errorf("read %s: %w", s.path, err)
	}
	return empty, later, nil
}

// recoverSealed finds out what a segment holds that has another after it, and
// returns the tip of the log at its end. verify also reads what its index tells.
func (s *segment) recoverSealed(next *segment, verify bool, secret uint32) (t tip, err error) {
	t = s.start.clone()
	if !verify {
		if t, err = s.loadIndex(secret); err != nil {
			return t, err
		}
	}
	limit := next.base - s.base
	size, err := s.file.Size()
	if err != nil {
		return t, fmt.Errorf("size of %s: %w", s.path, err)
	}
	if next.lost {
		limit = size // nothing is known of what followed
	}
	if limit < s.end || limit > size {
		return t, damaged(s.path, min(limit, size),
			"the next segment begins at byte %d after this one, whose size is %d", limit, size)
	}
	stopped, err := s.recoverBlocks(&t, limit, verify, secret)
	if err != nil {
		return t, err
	}
	if next.lost {
		s.stop = t.edges
	} else if stopped == "" && !t.equal(next.start) {
		stopped = "the next segment does not go on where this one ends"
	}
	if stopped != "" {
		return t, damaged(s.path, s.end, "%s", stopped)
	}
	return t, nil
}

// inspectLast finds out what the last segment holds, and returns the tip of the log
// and whether a batch that was not written whole follows. It reads all of the
// segment, whatever an index says: here a crash may have left something.
func (s *segment) inspectLast(secret uint32) (t tip, torn bool, err error) {
	t = s.start.clone()
	limit, err := s.file.Size()
	if err != nil {
		return t, false, fmt.Errorf("size of %s: %w", s.path, err)
	}
	stopped, err := s.recoverBlocks(&t, limit, true, secret)
	if err != nil || stopped == "" {
		return t, false, err
	}
	empty, later, err := s.tail(t, limit, secret)
	if err == nil && later >= 0 {
		err = damaged(s.path, s.end, "%s, and confirmed records follow at byte %d", stopped, later)
	}
	return t, !empty, err
}

// prepare makes the last segment, which was inspected, ready to be written: it drops a
// batch that was not written whole and reserves room for more.
func (s *segment) prepare(torn bool, options Options) error {
	if torn {
		if err := s.file.Cut(s.end); err != nil {
			return fmt.Errorf("drop the torn end of %s: %w", s.path, err)
		}
	}
	// Without the room the file grows as it is written.
	if size := max(options.SegmentSize, s.end); options.Room == nil || options.Room(size) == nil {
		if err := s.file.Reserve(size); err != nil && !errors.Is(err, syscall.ENOSPC) {
			return fmt.Errorf("reserve %s: %w", s.path, err)
		}
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", s.path, err)
	}
	return nil
}

// verify reads the segment again, from the disk where the system can be told to,
// and reports whether it holds all that was confirmed, so that the log is at t. A
// failed sync concerns what was written since the one before, but only the disk
// knows what became of the page in which one ends and the other begins.
func (s *segment) verify(t tip, secret uint32) error {
	if f, ok := s.file.(diskFile); ok {
		forget(f.File)
	}
	found, end, err := s.scan(secret)
	if err == nil && (end < s.end || end == s.end && !found.equal(t)) {
		err = damaged(s.path, end, "it does not end at byte %d, where it did", s.end)
	}
	return err
}

// scan reads all of the segment and returns the tip and the place up to which it is
// as it was written.
func (s *segment) scan(secret uint32) (t tip, end int64, err error) {
	size, err := s.file.Size()
	if err != nil {
		return tip{}, 0, fmt.Errorf("size of %s: %w", s.path, err)
	}
	again := newSegment("", s.number, s.base, s.start)
	again.path, again.file = s.path, s.file
	t = s.start.clone()
	_, err = again.recoverBlocks(&t, size, true, secret)
	return t, again.end, err
}
