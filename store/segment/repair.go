package segment

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/berth-iot/berth/store/mark"
)

// repair drops what is damaged and lets the log go on after it. It may be
// interrupted and done again.
func (l *Log) repair(found *survey, aside string) error {
	for _, folder := range []string{aside, l.folder} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
	}
	if l.partitions == 0 { // what describes the log is missing or damaged
		return l.recreate(found.marked, aside)
	}
	for _, number := range found.strange {
		if err := moveAside(aside, segmentPath(l.folder, number)); err != nil {
			return err
		}
	}
	for i, s := range l.segments {
		if last := i == len(l.segments)-1; last && found.end == nil || !last && found.broken[s.number] == nil {
			continue
		}
		if err := s.cutHere(aside); err != nil {
			return err
		}
		if i < len(l.segments)-1 {
			if err := l.segments[i+1].afterLoss(l.secret); err != nil {
				return err
			}
		}
	}
	switch {
	case found.end == nil && found.unmarked == nil:
		return nil
	case found.end == nil:
		return l.putMarkAt(found.tip)
	}
	to := found.tip.clone()
	to.raise(found.marked)
	return l.continueAt(to)
}

// recreate makes a log of which nothing is left but the mark, if that.
func (l *Log) recreate(marked tip, aside string) error {
	entries, err := os.ReadDir(l.folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := os.Rename(filepath.Join(l.folder, entry.Name()), filepath.Join(aside, entry.Name())); err != nil {
			return err
		}
	}
	if err := errors.Join(mark.SyncFolder(aside), mark.SyncFolder(l.folder)); err != nil || !marked.confirmed() {
		return err
	}
	if l.meta, err = loadMeta(l.folder, len(marked.edges)); err != nil {
		return err
	}
	return l.continueAt(marked)
}

// continueAt begins a segment at a tip that is further than the log can be read.
func (l *Log) continueAt(to tip) error {
	number, base := uint64(1), int64(0)
	if len(l.segments) > 0 {
		last := l.active()
		number, base = last.number+1, last.base+last.end
	}
	for _, e := range to.edges {
		base = max(base, e.offset+1) // offsets only grow
	}
	s := newSegment(l.folder, number, base, to)
	s.lost = len(l.segments) > 0
	if err := s.create(l.options.open, segmentHeader, l.secret); err != nil {
		return err
	}
	if err := s.file.Close(); err != nil {
		return err
	}
	return l.putMarkAt(to)
}

// putMarkAt makes the log's mark.
func (l *Log) putMarkAt(at tip) error {
	path := l.options.markPath(l.folder)
	if path == "" {
		return nil
	}
	m, err := mark.Create(path, at.append(nil))
	if err != nil {
		return err
	}
	return m.Close()
}

// cutHere drops what follows the end of the segment, as far as it can be read.
func (s *segment) cutHere(aside string) error {
	if err := copyFile(filepath.Join(aside, filepath.Base(s.path)), s.path); err != nil {
		return err
	}
	if err := errors.Join(s.file.Cut(s.end), s.file.Sync()); err != nil {
		return err
	}
	if err := os.Remove(s.indexPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// afterLoss notes in the segment that records are missing before it. What changes of
// its header lies in one sector.
func (s *segment) afterLoss(secret uint32) error {
	s.lost = true
	if _, err := s.file.WriteAt(s.encodeHeader(secret), 0); err != nil {
		return err
	}
	return s.file.Sync()
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

// moveAside moves a file into a folder on the same disk.
func moveAside(aside, path string) error {
	if err := os.Rename(path, filepath.Join(aside, filepath.Base(path))); err != nil {
		return err
	}
	return errors.Join(mark.SyncFolder(aside), mark.SyncFolder(filepath.Dir(path)))
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
