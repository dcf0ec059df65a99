// Package pebble keeps documents in a Pebble database: a log-structured store
// whose concurrent commits share their syncs.
package pebble

import (
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
}

// Documents implements store.Documents.
//
// A failed write to its log leaves the database in a state that nobody knows,
// so Pebble gives up then and the process ends; what it had confirmed is there
// at the next Open. Reads may see a change a moment before it is durable.
type Documents struct {
	db     *pebble.DB
	epoch  uint32        // grows by one at each Open
	count  atomic.Uint64 // revisions given since then
	locks  stripes
	counts counts

	// Pebble panics when it is used after Close, so every call holds open for
	// reading and Close holds it for writing.
	open   sync.RWMutex
	closed bool
}

var _ store.Documents = (*Documents)(nil)

// Open opens the database in the folder dir, which it makes if need be, for
// this process alone.
func Open(dir string, options Options) (*Documents, error) {
	if options.Cache <= 0 {
		options.Cache = defaultCache
	}
	if options.MemTable <= 0 {
		options.MemTable = defaultMemTable
	}
	if options.MaxOpenFiles == 0 {
		options.MaxOpenFiles = defaultOpenFiles
	}
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the documents: %w", err)
	}
	settings := &pebble.Options{
		// Pebble takes the memory of its memtables from the cache: without more, a
		// load of writes leaves no cache at all. While they are small, the cache
		// has the rest.
		CacheSize:          options.Cache + memTables*int64(options.MemTable),
		MemTableSize:       uint64(options.MemTable),
		MaxOpenFiles:       options.MaxOpenFiles,
		FormatMajorVersion: pebble.FormatValueSeparation,
		FS:                 private{vfs.Default},
		Logger:             logger{options.Logger},
	}
	for i := range settings.Levels {
		// Most conditional puts ask for keys that don't exist yet.
		settings.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	db, err := pebble.Open(dir, settings)
	if err != nil {
		return nil, fmt.Errorf("open the documents in %s: %w", dir, err)
	}
	d := &Documents{db: db}
	if err := d.beginEpoch(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return d, nil
}

// epochKey starts with a zero byte and so lies in no collection.
var epochKey = []byte("\x00epoch")

// beginEpoch makes the revisions of this Open differ from those of all others.
func (d *Documents) beginEpoch() error {
	stored, closer, err := d.db.Get(epochKey)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
	case err != nil:
		return fmt.Errorf("read the epoch of the documents: %w", err)
	default:
		if len(stored) != 4 {
			return errors.Join(fmt.Errorf("the epoch of the documents is damaged: %x", stored), closer.Close())
		}
		d.epoch = binary.BigEndian.Uint32(stored)
		if err := closer.Close(); err != nil {
			return err
		}
	}
	d.epoch++
	if err := d.db.Set(epochKey, binary.BigEndian.AppendUint32(nil, d.epoch), pebble.Sync); err != nil {
		return fmt.Errorf("write the epoch of the documents: %w", err)
	}
	return nil
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
	d.open.Lock()
	defer d.open.Unlock()
	if d.closed {
		return store.ErrClosed
	}
	d.closed = true
	if err := d.db.Close(); err != nil {
		return fmt.Errorf("close the documents: %w", err)
	}
	return nil
}
