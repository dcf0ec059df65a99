package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/mark"
)

// The journals of the database are its write-ahead logs and manifests. Pebble
// takes the first damage that it finds near the end of one for what a crash left
// half written, and goes on without what follows, though it may have been
// confirmed. The mark of the documents says of each journal how many of its bytes
// are durable, and their checksum: these must be there at the next Open. Bytes
// after them may be torn.
//
// Marking costs no sync: a mark that is behind tells of less. Only before a
// journal is removed the mark is synced, or after a loss of power it would miss
// what was removed.

func isJournal(name string) bool {
	name = base(name)
	return strings.HasSuffix(name, ".log") || strings.HasPrefix(name, "MANIFEST-")
}

// journal is how much of a file is durable.
type journal struct {
	name string
	size int64
	sum  uint32 // CRC-32C
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// journals are those that the database needs, in the order in which they were made.
type journals struct {
	mutex sync.Mutex
	all   []journal
	mark  *mark.File // nil without
	value []byte     // memory for what is put there
	err   error      // why the mark could not be written, the last time
}

// open opens the mark at path, or makes it, with the journals that it tells of, which are
// in dir.
func (j *journals) open(path, dir string, confirmed []journal, logger *slog.Logger) (err error) {
	if path == "" {
		return nil
	}
	j.all = confirmed
	if j.mark, err = mark.Open(path); errors.Is(err, fs.ErrNotExist) || errors.Is(err, mark.ErrDamaged) {
		j.mark, err = mark.Create(path, nil)
	}
	if err != nil {
		return err
	}
	if err := mark.Note(dir); err != nil { // the next start tries again
		logger.Warn("it can't be noted that the documents have a mark", "folder", dir, "error", err)
	}
	return nil
}

func (j *journals) close() error {
	if j.mark == nil {
		return nil
	}
	return j.mark.Close()
}

// durable notes what of a journal is.
func (j *journals) durable(now journal) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	if i := slices.IndexFunc(j.all, func(one journal) bool { return one.name == now.name }); i >= 0 {
		if j.all[i] == now {
			return
		}
		j.all[i] = now
	} else {
		j.all = append(j.all, now)
	}
	j.put()
}

// put writes the mark. One that can't be written tells of less.
func (j *journals) put() {
	if j.mark != nil {
		j.value = appendJournals(j.value[:0], j.all)
		j.err = j.mark.Put(j.value)
	}
}

// forget lets go of a journal that is about to be removed.
func (j *journals) forget(name string) error {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	name = base(name)
	if !slices.ContainsFunc(j.all, func(one journal) bool { return one.name == name }) {
		return nil
	}
	j.all = slices.DeleteFunc(j.all, func(one journal) bool { return one.name == name })
	if j.mark == nil {
		return nil
	}
	j.put()
	return errors.Join(j.err, j.mark.Sync())
}

// appendJournals writes to dst, for each journal, the length of its name (1 byte),
// name, size (8) and checksum (4).
func appendJournals(dst []byte, all []journal) []byte {
	for _, one := range all {
		dst = append(dst, byte(len(one.name)))
		dst = append(dst, one.name...)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(one.size))
		dst = binary.LittleEndian.AppendUint32(dst, one.sum)
	}
	return dst
}

func decodeJournals(src []byte) (all []journal, err error) {
	for len(src) > 0 {
		n := int(src[0])
		if len(src) < 1+n+12 {
			return nil, errors.New("it ends within an entry")
		}
		name, rest := string(src[1:1+n]), src[1+n:]
		if !isJournal(name) || name != base(name) {
			return nil, fmt.Errorf("%q is not a journal", name)
		}
		all = append(all, journal{name, int64(binary.LittleEndian.Uint64(rest)), binary.LittleEndian.Uint32(rest[8:])})
		src = rest[12:]
	}
	return all, nil
}

// confirmed returns the journals in the folder dir that the mark tells of: none when
// the documents are new, or a program that knows no marks was the last to keep them.
func (o Options) confirmed(dir string) ([]journal, error) {
	all, err := readMark(o.Mark, dir)
	if err != nil || losses(dir, all) == nil {
		return all, err
	}
	// Each Open begins a manifest. One that is later than all those of the mark was
	// begun by such a program, and the journals from before it went as they do.
	if known, err := pebble.Peek(dir, o.fs); err == nil && known.Exists {
		manifest := base(known.ManifestFilename)
		if !slices.ContainsFunc(all, func(one journal) bool {
			return strings.HasPrefix(one.name, "MANIFEST-") && one.name >= manifest
		}) {
			o.Logger.Warn("another program has used the documents since their mark was written: "+
				"whether something is missing can't be told", "mark", o.Mark)
			return nil, nil
		}
	}
	return all, nil
}

// readMark returns the journals that the mark of the documents in dir tells of. It
// returns a *store.LossError when there was a mark and none can be read.
func readMark(path, dir string) ([]journal, error) {
	if path == "" {
		return nil, nil
	}
	value, err := mark.Read(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, mark.ErrDamaged) {
		return nil, unmarked(path, dir)
	}
	if err != nil {
		return nil, err
	}
	all, err := decodeJournals(value)
	if err != nil {
		return nil, errors.Join(unmarked(path, dir), fmt.Errorf("read the mark %s: %w", path, err))
	}
	return all, nil
}

// unmarked returns the loss of a mark that can't be read; nil for documents that had
// none, as they are new or were kept by a program that knew no marks.
func unmarked(path, dir string) error {
	if !mark.Noted(dir) {
		return nil
	}
	return &store.LossError{Of: "documents", Err: unmarkedError{path}}
}

// unmarkedError is a mark that was there and can't be read.
type unmarkedError struct{ path string }

func (e unmarkedError) Error() string {
	return fmt.Sprintf("the mark %s is missing or damaged, so that nobody can tell whether the latest documents "+
		"are still there. A repair recreates it, and goes on with the documents that can be read", e.path)
}

// missing returns what of a journal in the folder dir is no longer as it was when
// it was confirmed, nil if nothing.
func (j journal) missing(dir string) error {
	path := filepath.Join(dir, j.name)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is missing, and %d confirmed bytes with it", path, j.size)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	sum := crc32.New(castagnoli)
	n, err := io.CopyN(sum, f, j.size)
	switch {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%s has %d bytes, and %d were confirmed", path, n, j.size)
	case err != nil:
		return fmt.Errorf("read %s: %w", path, err)
	case sum.Sum32() != j.sum:
		return fmt.Errorf("%s is damaged: its first %d bytes are not those that were confirmed", path, j.size)
	}
	return nil
}

// losses returns what is missing of the journals that were confirmed.
func losses(dir string, confirmed []journal) error {
	var missing []error
	for _, one := range confirmed {
		if err := one.missing(dir); err != nil {
			missing = append(missing, err)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return &store.LossError{Of: "documents", Err: errors.Join(missing...)}
}

// journalFile notes what becomes durable of a journal.
type journalFile struct {
	vfs.File
	journals *journals
	name     string

	mutex sync.Mutex
	size  int64
	sum   uint32
}

// Write implements vfs.File.
func (f *journalFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.size += int64(n)
	f.sum = crc32.Update(f.sum, castagnoli, p[:n])
	return n, err
}

// synced notes what was written before the sync, if that did not fail.
func (f *journalFile) synced(sync func() error) error {
	f.mutex.Lock()
	now := journal{f.name, f.size, f.sum}
	f.mutex.Unlock()
	if err := sync(); err != nil {
		return err
	}
	f.journals.durable(now)
	return nil
}

// Sync implements vfs.File.
func (f *journalFile) Sync() error { return f.synced(f.File.Sync) }

// SyncData implements vfs.File.
func (f *journalFile) SyncData() error { return f.synced(f.File.SyncData) }
