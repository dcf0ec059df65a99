package segment

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/berth-iot/berth/store/mark"
)

// goOn drops what is not intact and begins a segment after what was confirmed. It
// may be interrupted and done again.
func (l *Log) goOn(good intact, marked tip, aside string) error {
	if err := os.MkdirAll(aside, 0o700); err != nil {
		return err
	}
	if err := os.MkdirAll(l.folder, 0o700); err != nil {
		return err
	}
	if l.partitions == 0 { // what describes the log is missing or damaged
		if err := l.moveAside(aside, 0); err != nil || !marked.confirmed() {
			return err
		}
		var err error
		if l.meta, err = loadMeta(l.folder, len(marked.edges)); err != nil {
			return err
		}
		good.tip = newTip(l.partitions)
	}
	// The sequences go on after all that is known to have been given.
	to := good.tip.clone()
	to.raise(marked)
	numbers, err := l.files()
	if err != nil {
		return err
	}
	for _, number := range numbers {
		if s, err := openSegment(l.options.open, l.folder, number, l.partitions, l.secret); err == nil {
			to.raise(s.start)
			if err := s.file.Close(); err != nil {
				return err
			}
		}
	}
	kept := l.segments[:min(good.segments, len(l.segments))]
	if rest := l.segments[len(kept):]; len(rest) > 0 && rest[0].end > segmentHeader {
		if err := copyFile(filepath.Join(aside, filepath.Base(rest[0].path)), rest[0].path); err != nil {
			return err
		}
		if err := os.Remove(rest[0].indexPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		kept = l.segments[:len(kept)+1]
	}
	number, base := uint64(1), int64(0)
	if len(kept) > 0 {
		last := kept[len(kept)-1]
		if err := errors.Join(last.file.Cut(last.end), last.file.Sync()); err != nil {
			return err
		}
		number, base = last.number+1, last.base+last.end
	}
	if err := l.moveAside(aside, number); err != nil {
		return err
	}
	for _, e := range to.edges {
		base = max(base, e.offset+1)
	}
	s := newSegment(l.folder, number, base, to)
	s.lost = len(kept) > 0
	if err := s.create(l.options.open, segmentHeader, l.secret); err != nil {
		return err
	}
	if err := s.file.Close(); err != nil {
		return err
	}
	path := l.options.markPath(l.folder)
	if path == "" {
		return nil
	}
	m, err := mark.Create(path, to.append(nil))
	if err != nil {
		return err
	}
	return m.Close()
}

// raise moves the tip to where another is, if that is further.
func (t *tip) raise(other tip) {
	t.batch = max(t.batch, other.batch)
	for i, e := range other.edges {
		if i < len(t.edges) && e.next > t.edges[i].next {
			t.edges[i] = e
		}
	}
}

// moveAside moves the segments from a number on out of the log, with their indexes;
// with 0 all that there is.
func (l *Log) moveAside(aside string, from uint64) error {
	entries, err := os.ReadDir(l.folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		var number uint64
		n, _ := fmt.Sscanf(entry.Name(), "%020d.", &number)
		if from > 0 && (n != 1 || number < from) {
			continue
		}
		// A move to another disk is none that a rename can do, but the folder is below
		// the same data folder.
		if err := os.Rename(filepath.Join(l.folder, entry.Name()), filepath.Join(aside, entry.Name())); err != nil {
			return err
		}
	}
	return errors.Join(syncFolder(aside), syncFolder(l.folder))
}

// copyFile copies a file durably.
func copyFile(to, from string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	if err == nil {
		err = target.Sync()
	}
	return errors.Join(err, target.Close())
}
