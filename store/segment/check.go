package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/berth-iot/berth/store"
)

// Checked is what a Check or Repair found of one log.
type Checked struct {
	Name    string
	Records int64 // that can be read
	Missing int64 // that were confirmed and can't, as far as that is known
	Err     error // a *store.LossError when something is missing or damaged
}

// Check reads all logs in the folder dir, and in Options.Marks how far they were,
// from end to end, and changes nothing. No process may have the logs open.
func Check(dir string, options Options) ([]Checked, error) {
	return each(dir, options, func(l *Log, marked tip, unmarked error) Checked {
		return l.survey(marked, unmarked).checked(l)
	})
}

// Repair makes logs that have lost something open again, without what is missing:
// of a damaged segment it drops what follows the damage. The sequences of a log go
// on after those that it once confirmed, so that no reader takes a new record for
// one that it has seen. What is changed or dropped is put into a folder of the log's
// name in aside. It returns the logs that it changed. No process may have the logs
// open.
func Repair(dir, aside string, options Options) (repaired []Checked, err error) {
	_, err = each(dir, options, func(l *Log, marked tip, unmarked error) Checked {
		found := l.survey(marked, unmarked)
		checked := found.checked(l)
		if loss := (*store.LossError)(nil); !errors.As(checked.Err, &loss) {
			return checked
		}
		if err := l.repair(found, filepath.Join(aside, checked.Name)); err != nil {
			checked.Err = fmt.Errorf("repair log %s: %w", checked.Name, err)
			return checked
		}
		repaired = append(repaired, checked)
		return Checked{Name: checked.Name}
	})
	return repaired, err
}

// each does something with each log of the folder or of the marks. unmarked is the loss
// of its mark, if that can't be read.
func each(
	dir string, options Options, do func(l *Log, marked tip, unmarked error) Checked,
) (all []Checked, err error) {
	options.complete()
	names, unlock, err := lockAll(dir, options.Marks)
	if err != nil {
		return nil, err
	}
	defer unlock()
	for _, name := range names {
		checked, err := inspect(dir, name, options, do)
		if err != nil {
			return all, err
		}
		all = append(all, checked)
	}
	return all, nil
}

// inspect does something with one log, whose segments do may open.
func inspect(
	dir, name string, options Options, do func(l *Log, marked tip, unmarked error) Checked,
) (Checked, error) {
	l := &Log{folder: filepath.Join(dir, name), options: options}
	marked, unmarked := options.readMark(l.folder)
	if unmarked != nil && !errors.As(unmarked, new(lossError)) {
		return Checked{}, unmarked
	}
	checked := do(l, marked, unmarked)
	var err error
	for _, s := range l.segments {
		err = errors.Join(err, s.close())
	}
	if loss := (*store.LossError)(nil); err != nil || checked.Err != nil && !errors.As(checked.Err, &loss) {
		return Checked{}, errors.Join(checked.Err, err)
	}
	return checked, nil
}

// lockAll takes the logs for this process, if there is a folder of logs, and returns
// the names of those that are there or have a mark.
func lockAll(dir, marks string) (names []string, unlock func(), err error) {
	unlock = func() {}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		held, err := lockLogs(dir)
		if err != nil {
			return nil, nil, err
		}
		unlock = func() { held.Close() }
	}
	if names, err = folders(dir, marks); err != nil {
		unlock()
		return nil, nil, err
	}
	return names, unlock, nil
}

// folders returns the names of the logs that are there or have a mark.
func folders(dir, marks string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, entry := range entries {
		if entry.IsDir() && store.CheckLogName(entry.Name()) == nil {
			names = append(names, entry.Name())
		}
	}
	if marks == "" {
		return names, nil
	}
	if entries, err = os.ReadDir(marks); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, entry := range entries {
		name, ok := strings.CutPrefix(entry.Name(), "log.")
		if ok && store.CheckLogName(name) == nil &&
			!strings.HasSuffix(name, temporarySuffix) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// survey is what a look at all of a log has found.
type survey struct {
	marked   tip
	unmarked error            // the loss of the mark
	tip      tip              // of the log, as far as it can be read
	broken   map[uint64]error // segments, by number, that do not reach the next one
	strange  []uint64         // segments whose own header can't be read
	end      error            // what is wrong with the last segment
	errs     []error
	records  int64
	missing  int64
}

// survey opens the segments of the log and reads all of them.
func (l *Log) survey(marked tip, unmarked error) *survey {
	found := &survey{marked: marked, unmarked: unmarked, broken: map[uint64]error{}}
	if unmarked != nil {
		found.errs = append(found.errs, unmarked)
	}
	if err := l.surveyAll(found); err != nil {
		found.errs = append(found.errs, err)
	}
	return found
}

func (s *survey) checked(l *Log) Checked {
	name := filepath.Base(l.folder)
	return Checked{Name: name, Records: s.records, Missing: s.missing, Err: asLoss(name, errors.Join(s.errs...))}
}

func (l *Log) surveyAll(found *survey) error {
	found.missing = found.marked.records(tip{})
	if err := found.marked.missingMeta(l.folder); err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(l.folder, metaName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the log was never made
	}
	if err != nil {
		return err
	}
	if l.meta, err = decodeMeta(b); err != nil {
		return damaged(filepath.Join(l.folder, metaName), 0, "%w", err)
	}
	found.tip = newTip(l.partitions)
	numbers, err := l.files()
	if err != nil {
		return err
	}
	for _, number := range numbers {
		s, err := openSegment(l.options.open, l.folder, number, l.partitions, l.secret)
		if errors.As(err, new(lossError)) {
			found.strange = append(found.strange, number)
			found.errs = append(found.errs, err)
			continue
		}
		if err != nil {
			return err
		}
		l.segments = append(l.segments, s)
	}
	if len(l.segments) == 0 {
		if found.marked.confirmed() {
			found.end = lost("%s has no segments, and %d confirmed records are missing", l.folder, found.missing)
		}
		return found.end
	}
	found.missing = 0
	for i, s := range l.segments[:len(l.segments)-1] {
		next := l.segments[i+1]
		var end tip
		if next.number != s.number+1 && !next.lost {
			err = lost("segment %d is missing in %s", s.number+1, l.folder)
		} else if end, err = s.recoverSealed(next, true, l.secret); err != nil && !errors.As(err, new(lossError)) {
			return err
		}
		if err != nil {
			var unread error
			if end, s.end, unread = s.scan(l.secret); unread != nil {
				return unread
			}
		}
		found.records += end.records(s.start)
		if err != nil {
			found.broken[s.number] = err
			found.errs = append(found.errs, err)
			found.missing += next.start.records(end)
		}
	}
	last := l.active()
	var end error
	if found.tip, _, end = last.inspectLast(l.secret); end == nil {
		end = found.tip.behind(found.marked, last)
	} else if !errors.As(end, new(lossError)) {
		return end
	}
	found.end = end
	found.records += found.tip.records(last.start)
	found.missing += found.marked.records(found.tip)
	return end
}
