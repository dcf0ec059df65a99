// Package pebble keeps documents in a Pebble database: a log-structured store
// whose concurrent commits share their syncs.
package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/berth-iot/berth/store"
)

const (
	defaultCache     = 32 << 20
	defaultMemTable  = 16 << 20
	defaultOpenFiles = 512

	// memTables are those of a busy database: one that is written, one that is
	// flushed, and one that waits to be used again.
	memTables = 3
)

// Options tune the engine. The zero value suits a small server.
type Options struct {
	Cache    int64 // bytes of read cache at the least; 32 MiB when zero
	MemTable int   // bytes of recent changes held in memory, at most three times at a time; 16 MiB when zero

	// MaxOpenFiles is how many files of sorted tables may be kept open at once; 512 when
	// zero.
	MaxOpenFiles int

	Logger *slog.Logger // gets the engine's errors; slog.Default() when nil
	Mark   string       // file outside of the folder for how much of the documents is durable; no mark when empty

	// Full is asked before each commit; its error, a store.ErrFull, refuses it.
	// There is room when nil.
	Full func() error

	// Failing is told that a write waits for room or file descriptors, and which;
	// and with a nil error that none waits any more. It must return quickly.
	Failing func(err error)

	// Damaged is told of tables that can't be read, each time that somebody tries. It
	// must return quickly.
	Damaged func(err error)

	fs vfs.FS
}

// Documents implements store.Documents.
//
// A write that finds no room waits for it. Any other failure of a write, and a
// failed sync, leaves the database in a state that nobody knows, so Pebble gives
// up then and the process ends; what it had confirmed is there at the next Open.
// A read of a table that is damaged fails with a *store.LossError, and only that.
// Reads may see a change a moment before it is durable.
type Documents struct {
	db     *pebble.DB
	disk   *disk
	epoch  uint32        // grows by one at each Open
	count  atomic.Uint64 // revisions given since then
	locks  stripes
	counts counts
	stale  bool // see Stale

	watchers store.Watchers

	// Pebble panics when it is used after Close, so every call holds open for
	// reading and Close holds it for writing.
	open   sync.RWMutex
	closed bool
}

var _ store.Documents = (*Documents)(nil)

// Open opens the database in the folder dir, which it makes if need be, for
// this process alone. It returns a *store.LossError when confirmed documents are
// missing or damaged, and a store.ErrFull when the disk has no room to open them.
func Open(dir string, options Options) (*Documents, error) {
	return OpenContext(context.Background(), dir, options)
}

// OpenContext is Open that ends with the context.
func OpenContext(ctx context.Context, dir string, options Options) (*Documents, error) {
	options.complete()
	confirmed, err := options.confirmed(dir)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = losses(dir, confirmed)
	}
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the documents: %w", err)
	}
	mustExist := len(confirmed) > 0 || isMade(dir)
	if err := options.dropSettings(dir); err != nil {
		return nil, fmt.Errorf("open the documents in %s: %w", dir, err)
	}
	db, disk, err := open(ctx, dir, options, confirmed, mustExist)
	if err != nil {
		return nil, fmt.Errorf("open the documents in %s: %w", dir, err)
	}
	d := &Documents{db: db, disk: disk}
	if err := d.beginEpoch(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (o *Options) complete() {
	if o.Cache <= 0 {
		o.Cache = defaultCache
	}
	if o.MemTable <= 0 {
		o.MemTable = defaultMemTable
	}
	if o.MaxOpenFiles == 0 {
		o.MaxOpenFiles = defaultOpenFiles
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.fs == nil {
		o.fs = private{vfs.Default}
	}
}

// settings are the options of the database.
func (o Options) settings(fs vfs.FS) *pebble.Options {
	settings := &pebble.Options{
		FS: fs,
		// Pebble takes the memory of its memtables from the cache: without more, a
		// load of writes leaves no cache at all. While they are small, the cache
		// has the rest.
		CacheSize:          o.Cache + memTables*int64(o.MemTable),
		MemTableSize:       uint64(o.MemTable),
		MaxOpenFiles:       o.MaxOpenFiles,
		FormatMajorVersion: pebble.FormatValueSeparation,
	}
	// Pebble would end the process for a damaged table, each time that somebody reads
	// what lies in it. The reader gets the error anyway.
	settings.EventListener = &pebble.EventListener{DataCorruption: func(info pebble.DataCorruptionInfo) {
		if o.Damaged != nil {
			o.Damaged(fmt.Errorf("%s: %w", info.Path, info.Details))
		}
	}}
	for i := range settings.Levels {
		// Most conditional puts ask for keys that don't exist yet.
		settings.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return settings
}

// open opens the database. Pebble knows no context and does not give up for want
// of room: it is left alone then, and closed should it open after all.
func open(ctx context.Context, dir string, options Options, confirmed []journal, mustExist bool,
) (*pebble.DB, *disk, error) {
	full := make(chan error, 1)
	tell := options.Failing
	options.Failing = func(err error) {
		if tell != nil {
			tell(err)
		}
		if err != nil {
			select {
			case full <- err:
			default: // the first one tells enough
			}
		}
	}
	disk := newDisk(options.fs, options)
	if err := disk.journals.open(options.Mark, dir, confirmed, options.Logger); err != nil {
		return nil, nil, err
	}
	damaged := options.Damaged
	options.Damaged = func(err error) {
		if damaged != nil {
			damaged(err)
		}
		disk.pause(damagePause) // or a compaction of the table would be tried again without one
	}
	settings := options.settings(disk)
	settings.ErrorIfNotExists = mustExist
	log := &logger{slog: options.Logger}
	settings.Logger = log
	type result struct {
		db  *pebble.DB
		err error
	}
	opened, gone := make(chan result), make(chan struct{})
	go func() {
		db, err := pebble.Open(dir, settings)
		select {
		case opened <- result{db, err}:
		case <-gone:
			if err == nil {
				db.Close()
			}
			disk.journals.close()
		}
	}()
	select {
	case r := <-opened:
		if r.err != nil {
			return nil, nil, errors.Join(notOpened(dir, r.err), disk.journals.close())
		}
		return r.db, disk, nil
	case err := <-full:
		log.abandoned.Store(true)
		close(gone)
		return nil, nil, fmt.Errorf("%w: %w", store.ErrFull, err)
	case <-ctx.Done():
		log.abandoned.Store(true)
		close(gone)
		return nil, nil, ctx.Err()
	}
}

// epochKey starts with a zero byte and so lies in no collection.
var epochKey = []byte("\x00epoch")

// beginEpoch makes the revisions of this Open differ from those of all others.
func (d *Documents) beginEpoch() error {
	last, err := d.stored(epochKey)
	if err != nil {
		return fmt.Errorf("read the epoch of the documents: %w", err)
	}
	if last != nil {
		if len(last) != 4 {
			return &store.LossError{Of: "documents", Err: fmt.Errorf(
				"their epoch is damaged: %x. Restore the folder from the backup", last)}
		}
		d.epoch = binary.BigEndian.Uint32(last)
	}
	d.epoch++
	now := binary.BigEndian.AppendUint32(nil, d.epoch)
	batch := d.db.NewBatch()
	defer batch.Close()
	if err := errors.Join(batch.Set(epochKey, now, nil), d.openCounts(batch, last, now)); err != nil {
		return err
	}
	if err := batch.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("write the epoch of the documents: %w", err)
	}
	return nil
}

// stored returns what lies under a key of the engine's own, nil when nothing does.
func (d *Documents) stored(key []byte) ([]byte, error) {
	value, closer, err := d.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, asLoss(err)
	}
	return bytes.Clone(value), closer.Close()
}

// use lets a call use the database until it calls release.
func (d *Documents) use(ctx context.Context) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.open.RLock()
	if d.closed {
		d.open.RUnlock()
		return nil, store.ErrClosed
	}
	return d.open.RUnlock, nil
}

// Close implements store.Documents. It waits for calls under way.
func (d *Documents) Close() error {
	d.disk.end() // what waits for room would have to be waited for
	d.open.Lock()
	defer d.open.Unlock()
	if d.closed {
		return store.ErrClosed
	}
	d.closed = true
	err := d.db.Close()
	if err = errors.Join(err, d.disk.journals.close()); err != nil {
		return fmt.Errorf("close the documents: %w", err)
	}
	return nil
}
