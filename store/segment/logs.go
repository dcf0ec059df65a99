// Package segment keeps logs in files that only grow, and makes many records
// durable with one sync.
//
// A log has one goroutine that commits: while it writes and syncs one batch of
// all partitions, the next collects, so the rate follows the load and nobody
// waits for company. Files of a fixed size, reserved ahead, follow each other;
// block.go and segment.go describe what is in them.
//
// A sync is a blocking system call. With GOMAXPROCS=1 the Go runtime takes its
// time to run anything else meanwhile, which costs most of the throughput:
// leave it at one more than the processors meant for the work.
package segment

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/store"
)

// Options tune the engine. The zero value suits a small server.
type Options struct {
	SegmentSize int64            // bytes of a file; 64 MiB when zero
	Queue       int              // bytes that may wait for the disk in each log; 16 MiB when zero
	Now         func() time.Time // time.Now when nil
	Logger      *slog.Logger     // gets what goes wrong while old records are dropped; slog.Default() when nil
	Panics      *panics.Recorder // gets the panics of who is told of commits, and the engine's own
	Marks       string           // folder outside of the logs' for how far each one was; no marks when empty

	// Trusted says whether Now can be trusted to tell what is too old: while it does
	// not, nothing is dropped for its age. Now is trusted when nil.
	Trusted func() bool

	// Room is asked before a file of so many bytes is made; its error keeps the
	// log from growing further. There is room when nil.
	Room func(bytes int64) error

	// Failing is told that a log can't put records on disk, and why; and with a nil
	// error that it can again. It must return quickly. When nil, Logger gets it.
	Failing func(log string, err error)

	// Damaged is told, once for each file, that records of a log can't be read and
	// are passed over. When nil, Logger gets it.
	Damaged func(log string, err error)

	open         opener
	retryTimeout time.Duration // the constant when zero
}

// Logs implements store.Logs.
type Logs struct {
	dir     string
	options Options
	lock    *os.File

	mu     sync.Mutex
	logs   map[string]*Log
	closed bool
}

var _ store.Logs = (*Logs)(nil)

// Open opens the logs in the folder dir, which it makes if need be, for this
// process alone.
func Open(dir string, options Options) (*Logs, error) {
	options.complete()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the logs: %w", err)
	}
	lock, err := lockLogs(dir)
	if err != nil {
		return nil, err
	}
	return &Logs{dir: dir, options: options, lock: lock, logs: map[string]*Log{}}, nil
}

func (o *Options) complete() {
	if o.SegmentSize <= 0 {
		o.SegmentSize = 64 << 20
	}
	if o.Queue <= 0 {
		o.Queue = 16 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.retryTimeout <= 0 {
		o.retryTimeout = retryTimeout
	}
	if o.open == nil {
		o.open = openDisk
	}
}

// lockLogs takes the logs in the folder dir for this process.
func lockLogs(dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the folder of the logs: %w", err)
	}
	if err := lockFile(lock); err != nil {
		return nil, errors.Join(fmt.Errorf("the logs in %s are in use by another process: %w", dir, err), lock.Close())
	}
	return lock, nil
}

// Open implements store.Logs.
func (l *Logs) Open(name string, options store.LogOptions) (store.Log, error) {
	if err := store.CheckLogName(name); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, store.ErrClosed
	}
	if log, ok := l.logs[name]; ok {
		log.retain(options.Retention)
		return log, nil
	}
	log, err := openLog(filepath.Join(l.dir, name), options, l.options)
	if err = asLoss(name, err); errors.As(err, new(*store.LossError)) {
		return nil, err // it names the log
	}
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", name, err)
	}
	l.logs[name] = log
	return log, nil
}

// Close implements store.Logs.
func (l *Logs) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return store.ErrClosed
	}
	l.closed = true
	var errs []error
	for name, log := range l.logs {
		if err := log.close(); err != nil {
			errs = append(errs, fmt.Errorf("close log %s: %w", name, err))
		}
	}
	return errors.Join(append(errs, l.lock.Close())...)
}
