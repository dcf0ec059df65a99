package segment

import (
	"context"
	"fmt"
	"io/fs"
	"slices"

	"github.com/berth-iot/berth/store"
)

// Dump calls each with the records of one log in the folder dir that can be read, in the
// order in which they were written: batch after batch, within a batch by partition, within
// a partition by sequence. The record is good until each returns. It changes nothing.
// After the last record it returns a *store.LossError when something is missing or
// damaged; an error of each ends it at once. A log that never was made is fs.ErrNotExist.
// No process may have the logs open.
func Dump(ctx context.Context, dir, name string, options Options,
	each func(partition int, record store.Record) error) error {
	options.complete()
	names, unlock, err := lockAll(dir, options.Marks)
	if err != nil {
		return err
	}
	defer unlock()
	if !slices.Contains(names, name) {
		return fmt.Errorf("log %s: %w", name, fs.ErrNotExist)
	}
	var failed error
	checked, err := inspect(dir, name, options, func(l *Log, marked tip, unmarked error) Checked {
		found := l.survey(marked, unmarked).checked(l)
		for _, s := range l.segments {
			if failed = s.dump(ctx, l.secret, each); failed != nil {
				break
			}
		}
		return found
	})
	switch {
	case err != nil:
		return err
	case failed != nil:
		return failed
	}
	return checked.Err
}

// dump calls each with the records up to the segment's end.
func (s *segment) dump(ctx context.Context, secret uint32, each func(int, store.Record) error) error {
	var scan scanner
	scan.begin(s.file, secret, s.end)
	for position := int64(segmentHeader); position < s.end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, ok, err := scan.header(position)
		if err != nil {
			return fmt.Errorf("read %s: %w", s.path, err)
		}
		var body []byte
		if ok {
			if body, ok, err = scan.body(position, h); err != nil {
				return fmt.Errorf("read %s: %w", s.path, err)
			}
		}
		if !ok { // it was whole a moment ago, when the segment was surveyed
			return damaged(s.path, position, "a block has changed")
		}
		for i, rest := 0, body; i < h.records; i++ {
			var record []byte
			record, rest = nextRecord(rest)
			found := store.Record{Position: h.position(s.base+position, i), Value: record}
			if err := each(h.partition, found); err != nil {
				return err
			}
		}
		position += h.size()
	}
	return nil
}
