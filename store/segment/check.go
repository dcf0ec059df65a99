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
	return each(dir, options, func(l *Log, marked tip) Checked {
		_, checked := l.inspect(marked)
		return checked
	})
}

// Repair makes logs that have lost something open again, without what is missing:
// it drops what follows the first damage of each, and lets its sequences go on
// after those that it once confirmed, so that no reader takes a new record for one
// that it has seen. What is dropped is put into a folder of the log's name in aside.
// It returns the logs that it changed. No process may have the logs open.
func Repair(dir, aside string, options Options) (repaired []Checked, err error) {
	_, err = each(dir, options, func(l *Log, marked tip) Checked {
		intact, checked := l.inspect(marked)
		if checked.Err == nil {
			return checked
		}
		name := filepath.Base(l.folder)
		if loss := (*store.LossError)(nil); !errors.As(checked.Err, &loss) {
			return checked
		}
		if err := l.goOn(intact, marked, filepath.Join(aside, name)); err != nil {
			checked.Err = fmt.Errorf("repair log %s: %w", name, err)
			return checked
		}
		repaired = append(repaired, checked)
		return Checked{Name: name}
	})
	return repaired, err
}

// each does something with each log of the folder or of the marks.
func each(dir string, options Options, do func(l *Log, marked tip) Checked) (all []Checked, err error) {
	options.complete()
	logs, err := lock(dir)
	if err != nil {
		return nil, err
	}
	if logs != nil {
		defer logs.Close()
	}
	names, err := folders(dir, options.Marks)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		l := &Log{folder: filepath.Join(dir, name), options: options}
		marked, err := readMark(options.markPath(l.folder))
		if err != nil {
			return nil, err
		}
		checked := do(l, marked)
		for _, s := range l.segments {
			err = errors.Join(err, s.close())
		}
		if loss := (*store.LossError)(nil); err != nil || checked.Err != nil && !errors.As(checked.Err, &loss) {
			return all, errors.Join(checked.Err, err)
		}
		all = append(all, checked)
	}
	return all, nil
}

// lock takes the logs for this process, nil when there is no folder of logs.
func lock(dir string) (*os.File, error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return lockLogs(dir)
}

// folders returns the names of the logs that are there or have a mark.
func folders(dir, marks string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, entry := range entries {
		if entry.IsDir() && validName(entry.Name()) {
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
		if name, ok := strings.CutPrefix(entry.Name(), "log."); ok && validName(name) && !strings.HasSuffix(name, temporarySuffix) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// intact is what of a log is as it was: so many segments from the first on, and of
// the next one what lies before the tip.
type intact struct {
	segments int
	tip      tip
}

// inspect opens the segments of the log, reads all of them, and returns how far
// they are intact.
func (l *Log) inspect(marked tip) (good intact, checked Checked) {
	name := filepath.Base(l.folder)
	checked.Name = name
	checked.Err = asLoss(name, l.inspectAll(marked, &good))
	if len(l.segments) > 0 {
		checked.Records = good.tip.records(l.segments[0].start)
	}
	checked.Missing = marked.records(good.tip)
	return good, checked
}

func (l *Log) inspectAll(marked tip, good *intact) error {
	if err := marked.missingMeta(l.folder); err != nil {
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
	good.tip = newTip(l.partitions)
	numbers, err := l.files()
	if err != nil {
		return err
	}
	for i, number := range numbers {
		s, err := openSegment(l.options.open, l.folder, number, l.partitions, l.secret)
		if err == nil && i > 0 && number != numbers[i-1]+1 {
			err = errors.Join(lost("segment %d is missing in %s", numbers[i-1]+1, l.folder), s.file.Close())
		}
		if err != nil {
			return errors.Join(err, l.inspectActive(good))
		}
		l.segments = append(l.segments, s)
		if i == 0 {
			good.tip = s.start.clone()
			continue
		}
		if good.tip, err = l.segments[i-1].recoverSealed(s, true, l.secret); err != nil {
			return err
		}
		good.segments, good.tip = i, s.start.clone()
	}
	if len(numbers) == 0 {
		if marked.confirmed() {
			return lost("%s has no segments, and %d confirmed records are missing", l.folder, marked.records(good.tip))
		}
		return nil
	}
	if err := l.inspectActive(good); err != nil {
		return err
	}
	return good.tip.behind(marked, l.active())
}

// inspectActive reads the last of the segments that are open.
func (l *Log) inspectActive(good *intact) (err error) {
	if len(l.segments) == 0 {
		return nil
	}
	good.tip, _, err = l.active().inspectLast(l.secret)
	return err
}
