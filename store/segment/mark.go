package segment

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/mark"
)

// A log's mark holds the tip that it had when it last confirmed records. What a
// log has lost of those at its end, where a crash leaves a torn batch, would go
// unnoticed without it.

// markPath returns where the mark of the log in a folder is, "" without marks.
func (o Options) markPath(folder string) string {
	if o.Marks == "" {
		return ""
	}
	return filepath.Join(o.Marks, "log."+filepath.Base(folder))
}

// readMark returns the tip that the mark of the log in a folder holds; the zero tip for a
// log that has none, which is new or was kept by a program that knew no marks. It returns
// a lossError when there was a mark and none can be read.
func (o Options) readMark(folder string) (tip, error) {
	path := o.markPath(folder)
	if path == "" {
		return tip{}, nil
	}
	value, err := mark.Read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, mark.ErrDamaged):
		return tip{}, unmarked(path, folder)
	case err != nil:
		return tip{}, err
	}
	t, rest, err := decodeTip(value, max(0, (len(value)-tipHeader)/tipEdge))
	if err != nil || len(rest) > 0 {
		return tip{}, cmp.Or(unmarked(path, folder), fmt.Errorf("read the mark %s: it is not that of a log", path))
	}
	return t, nil
}

// unmarked returns the loss of the mark of a log that had one, nil for others.
func unmarked(path, folder string) error {
	if !mark.Noted(folder) {
		return nil
	}
	return lost("the mark %s is missing or damaged, so that nobody can tell whether the latest records are still "+
		"there. A repair recreates it, and goes on after the records that can be read", path)
}

// confirmed reports whether the log has ever confirmed a record.
func (t tip) confirmed() bool { return t.batch > 0 }

// missingMeta returns an error when a log that has confirmed records is not there.
func (t tip) missingMeta(folder string) error {
	if !t.confirmed() {
		return nil
	}
	if _, err := os.Stat(filepath.Join(folder, metaName)); errors.Is(err, fs.ErrNotExist) {
		return lost("%s is missing, and %d confirmed records with it",
			filepath.Join(folder, metaName), t.records(tip{}))
	}
	return nil
}

// records counts those before t that are not before the other tip.
func (t tip) records(other tip) (n int64) {
	for i, e := range t.edges {
		if i < len(other.edges) {
			n += max(0, e.next-other.edges[i].next)
		} else {
			n += e.next
		}
	}
	return n
}

// behind returns an error when the log at t, whose last segment is s, does not
// have all that the mark tells of.
func (t tip) behind(marked tip, s *segment) error {
	if marked.batch <= t.batch {
		return nil
	}
	return lost("%d confirmed records are missing: it ends at byte %d of %s, "+
		"and what followed was removed, cut off or damaged",
		marked.records(t), s.end, s.path)
}

// openMark opens the log's mark, or makes it.
func (l *Log) openMark() (err error) {
	path := l.options.markPath(l.folder)
	if path == "" {
		return nil
	}
	if l.mark, err = mark.Open(path); errors.Is(err, fs.ErrNotExist) || errors.Is(err, mark.ErrDamaged) {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.options.Logger.Warn("a mark is damaged and was recreated: "+
				"whether the end of the log is missing can't be told", "mark", path)
		}
		l.mark, err = mark.Create(path, l.tip.append(nil))
	}
	if err != nil {
		return err
	}
	if err := mark.Note(l.folder); err != nil { // the next start tries again
		l.options.Logger.Warn("it can't be noted that a log has a mark", "folder", l.folder, "error", err)
	}
	return nil
}

// putMark notes the tip, which is durable. A mark that can't be written tells of
// less: the log need not stop for it.
func (l *Log) putMark() {
	if l.mark == nil {
		return
	}
	l.marked = l.tip.append(l.marked[:0])
	if err := l.mark.Put(l.marked); err != nil {
		l.options.Logger.Warn("the mark of a log can't be written", "folder", l.folder, "error", err)
	}
}

// lossError is what a log no longer has and once confirmed.
type lossError struct{ error }

func (e lossError) Unwrap() error { return e.error }

func lost(format string, args ...any) error { return lossError{fmt.Errorf(format, args...)} }

// asLoss returns err as a *store.LossError if that is what it is.
func asLoss(log string, err error) error {
	if loss := (lossError{}); errors.As(err, &loss) {
		return &store.LossError{Of: "log " + log, Err: err}
	}
	return err
}
