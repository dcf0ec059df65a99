package pebble

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/wal"

	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/mark"
)

// Check reads all documents in the folder dir, and in Options.Mark how much of them
// was durable, and changes nothing. It returns how many there are, and a
// *store.LossError when something is missing or damaged. No process may have the
// documents open.
func Check(ctx context.Context, dir string, options Options) (documents int, err error) {
	options.complete()
	confirmed, err := options.confirmed(dir)
	if errors.As(err, new(unmarkedError)) {
		// What can be read is counted all the same.
		options.Mark = ""
		documents, more := Check(ctx, dir, options)
		return documents, errors.Join(err, more)
	}
	if err != nil {
		return 0, err
	}
	if err := losses(dir, confirmed); err != nil {
		return 0, err
	}
	counts := countCheck{kept: make(map[string]int64), seen: make(map[string]int64)}
	err = scan(ctx, dir, options, pebble.IterOptions{}, func(key, value []byte) error {
		counts.see(key, value)
		if !isOwn(key) {
			documents++
		}
		return nil
	})
	if errors.Is(err, pebble.ErrDBDoesNotExist) && len(confirmed) == 0 && !isMade(dir) {
		return 0, nil
	}
	if err != nil {
		return documents, err
	}
	return documents, counts.wrong()
}

// Dump calls each with every document of the collection, or of all collections when it
// is "", whose key starts with prefix, in the order of collections and keys, and changes
// nothing. The document is good until each returns. It returns a *store.LossError at the
// first that is damaged; an error of each ends it at once. No process may have the
// documents open.
func Dump(ctx context.Context, dir string, options Options, collection, prefix string,
	each func(collection string, document store.Document) error) error {
	options.complete()
	var bounds pebble.IterOptions
	if collection != "" {
		bounds.LowerBound = appendKey(nil, collection, prefix)
		bounds.UpperBound = successor(appendKey(nil, collection, prefix))
	}
	err := scan(ctx, dir, options, bounds, func(stored, value []byte) error {
		if isOwn(stored) {
			return nil
		}
		name, key, _ := strings.Cut(string(stored), "\x00")
		if !strings.HasPrefix(key, prefix) {
			return nil
		}
		etag, value, err := split(value)
		if err != nil {
			return &store.LossError{Of: "documents", Err: fmt.Errorf("%s %q: %w", name, key, err)}
		}
		return each(name, store.Document{Key: key, ETag: etag, Value: value})
	})
	if errors.Is(err, pebble.ErrDBDoesNotExist) && !isMade(dir) {
		return nil
	}
	return err
}

// isMade reports whether a database was made in the folder dir: files are there that
// Pebble makes after it has noted which manifest is the latest.
func isMade(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && slices.ContainsFunc(entries, func(entry os.DirEntry) bool {
		return isSettings(entry.Name()) || filepath.Ext(entry.Name()) == ".sst"
	})
}

// isOwn reports whether a stored key is one that the engine has for itself.
func isOwn(key []byte) bool { return len(key) > 0 && key[0] == 0 }

// scan calls each with the stored keys within bounds, and their values, in the order of
// the keys. They are good until each returns.
func scan(ctx context.Context, dir string, options Options, bounds pebble.IterOptions,
	each func(key, value []byte) error) (err error) {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	settings := options.settings(options.settled())
	settings.ReadOnly = true
	settings.Logger = &logger{slog: options.Logger}
	db, err := pebble.Open(dir, settings)
	if err != nil {
		return notOpened(dir, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	damaged := func(err error) error { return asLoss(fmt.Errorf("read the documents in %s: %w", dir, err)) }
	iterator, err := db.NewIterWithContext(ctx, &bounds)
	if err != nil {
		return err
	}
	for more := iterator.First(); more && ctx.Err() == nil; more = iterator.Next() {
		value, err := iterator.ValueAndErr()
		if err != nil {
			return errors.Join(damaged(err), iterator.Close())
		}
		if err := each(iterator.Key(), value); err != nil {
			return errors.Join(err, iterator.Close())
		}
	}
	if err := errors.Join(ctx.Err(), iterator.Error()); err != nil {
		return errors.Join(damaged(err), iterator.Close())
	}
	return iterator.Close()
}

// asLoss returns err as a *store.LossError if it is of damage, and names the table
// in which that is.
func asLoss(err error) error {
	if info := pebble.ExtractDataCorruptionInfo(err); info != nil {
		return &store.LossError{Of: "documents", Err: fmt.Errorf("%s: %w", info.Path, err)}
	}
	if errors.Is(err, pebble.ErrCorruption) || errors.Is(err, pebble.ErrDBDoesNotExist) ||
		errors.Is(err, os.ErrNotExist) || wrongSize(err) {
		return &store.LossError{Of: "documents", Err: err}
	}
	return err
}

// notOpened is why the database in dir does not open: a loss, unless the system was in
// the way.
func notOpened(dir string, err error) error {
	opening := fmt.Errorf("open the documents in %s: %w", dir, err)
	if errors.Is(err, pebble.ErrDBDoesNotExist) {
		return &store.LossError{Of: "documents", Err: unopenedError{err, fmt.Sprintf(
			"%s is missing, which says which files of the documents are the latest. Restore the folder from the backup",
			filepath.Join(dir, "marker.manifest.*"))}}
	}
	if loss := asLoss(opening); loss != opening {
		return loss
	}
	switch {
	case errors.Is(err, pebble.ErrDBNotPristine):
		return &store.LossError{Of: "documents", Err: unopenedError{err, fmt.Sprintf(
			"%s is missing, which says in which format the documents are. Restore the folder from the backup",
			filepath.Join(dir, "marker.format-version.*"))}}
	case errors.As(err, new(syscall.Errno)), errors.Is(err, store.ErrFull), errors.Is(err, context.Canceled),
		errors.Is(err, context.DeadlineExceeded), strings.Contains(err.Error(), lockedHere):
		return opening
	case strings.Contains(err.Error(), "replaying WAL"): // Pebble has no error of its own for that
		return &store.LossError{Of: "documents",
			Err: fmt.Errorf("a write-ahead log in %s is damaged or missing: %w", dir, err)}
	}
	return &store.LossError{Of: "documents", Err: unopenedError{err, fmt.Sprintf(
		"a file in %s is damaged or missing: %v. Restore the folder from the backup", dir, err)}}
}

// lockedHere is what Pebble says of documents that this process has open.
const lockedHere = "lock held by current process"

// unopenedError is damage of what the documents do not open without.
type unopenedError struct {
	cause   error
	message string
}

func (e unopenedError) Error() string { return e.message }

func (e unopenedError) Unwrap() error { return e.cause }

// wrongSize reports whether a database does not open since a table was cut: Pebble
// has no error of its own for that.
func wrongSize(err error) bool {
	return err != nil && strings.Contains(err.Error(), "object size mismatch")
}

// Repair makes documents whose write-ahead log is damaged open again, as they were
// before the first commit that can't be read: later ones may rest on it. What is
// dropped is put into the folder aside. Counts that are wrong are forgotten. It returns
// what was missing, nil if nothing was. Other damage it does not repair, and says so. No
// process may have the documents open.
func Repair(ctx context.Context, dir, aside string, options Options) (missing, err error) {
	options.complete()
	_, unmarked := options.confirmed(dir)
	if !errors.As(unmarked, new(unmarkedError)) {
		return repair(ctx, dir, aside, options)
	}
	path := options.Mark
	options.Mark = ""
	missing, err = repair(ctx, dir, aside, options)
	if err == nil {
		err = createMark(path, nil)
	}
	return errors.Join(unmarked, missing), err
}

// createMark makes a mark of these journals.
func createMark(path string, of []journal) error {
	m, err := mark.Create(path, appendJournals(nil, of))
	if err != nil {
		return err
	}
	return m.Close()
}

// repair is Repair of documents whose mark can be read, or without one.
func repair(ctx context.Context, dir, aside string, options Options) (missing, err error) {
	if _, missing = Check(ctx, dir, options); missing == nil {
		return nil, nil
	}
	if loss := (*store.LossError)(nil); !errors.As(missing, &loss) {
		return nil, missing
	}
	if errors.As(missing, new(unopenedError)) {
		return missing, beyondRepair(missing)
	}
	if errors.Is(missing, errCounts) {
		return missing, recount(ctx, dir, options)
	}
	confirmed, err := options.confirmed(dir)
	if err != nil {
		return missing, err
	}
	for _, one := range confirmed {
		if err := one.missing(dir); err != nil && strings.HasPrefix(one.name, "MANIFEST-") {
			return missing, beyondRepair(err)
		}
	}
	unlock, err := options.fs.Lock(filepath.Join(dir, "LOCK"))
	if err != nil {
		return missing, fmt.Errorf("the documents in %s are in use by another process: %w", dir, err)
	}
	cut := cutLogs(dir, aside, confirmed)
	if err := errors.Join(cut, unlock.Close()); err != nil {
		return missing, fmt.Errorf("repair the documents in %s: %w", dir, err)
	}
	if options.Mark != "" {
		// What the manifests hold is as it was.
		isWAL := func(one journal) bool { return !strings.HasPrefix(one.name, "MANIFEST-") }
		kept := slices.DeleteFunc(confirmed, isWAL)
		if err := createMark(options.Mark, kept); err != nil {
			return missing, err
		}
	}
	if _, err := Check(ctx, dir, options); err != nil {
		return missing, beyondRepair(err)
	}
	return missing, nil
}

// recount forgets the counts of the documents: they are counted anew when somebody asks.
func recount(ctx context.Context, dir string, options Options) error {
	d, err := OpenContext(ctx, dir, options)
	if err != nil {
		return err
	}
	err = d.db.DeleteRange([]byte(countPrefix), []byte(countPrefixEnd), pebble.Sync)
	if err := errors.Join(err, d.Close()); err != nil {
		return fmt.Errorf("repair the documents in %s: %w", dir, err)
	}
	_, err = Check(ctx, dir, options)
	return err
}

func beyondRepair(err error) error {
	return &store.LossError{Of: "documents", Err: fmt.Errorf("only a backup can bring them back: %w", err)}
}

// cutLogs cuts the first write-ahead log that is not as it was at the last commit
// that can be read, and takes those after it away.
func cutLogs(dir, aside string, confirmed []journal) error {
	logs, err := wal.Scan(wal.Dir{FS: vfs.Default, Dirname: dir})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(aside, 0o700); err != nil {
		return err
	}
	first := wal.NumWAL(0) // the first that is not as it was
	found := false
	note := func(number wal.NumWAL) {
		if !found || number < first {
			first, found = number, true
		}
	}
	ends := make(map[wal.NumWAL]int64)
	for i, log := range logs {
		end, whole, err := readable(log)
		if err != nil {
			return err
		}
		ends[log.Num] = end
		if !whole && i < len(logs)-1 {
			note(log.Num)
		}
	}
	for _, one := range confirmed {
		number, _, isLog := wal.ParseLogFilename(one.name)
		if isLog && one.missing(dir) != nil {
			note(number)
		}
	}
	if !found && len(logs) > 0 {
		note(logs[len(logs)-1].Num)
	}
	for _, log := range logs {
		if log.Num < first {
			continue
		}
		_, path := log.SegmentLocation(0)
		if err := vfs.Copy(vfs.Default, path, filepath.Join(aside, filepath.Base(path))); err != nil {
			return err
		}
		if log.Num == first {
			err = os.Truncate(path, ends[log.Num])
		} else {
			err = os.Remove(path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readable returns how many bytes of a log can be read, and whether that is all
// that was written to it.
func readable(log wal.LogicalLog) (end int64, whole bool, err error) {
	reader := log.OpenForRead()
	defer reader.Close()
	for {
		record, offset, err := reader.NextRecord()
		if err == nil {
			_, err = io.Copy(io.Discard, record)
		}
		if err != nil {
			return offset.Physical, errors.Is(err, io.EOF), nil
		}
	}
}
