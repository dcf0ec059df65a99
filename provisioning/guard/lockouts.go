package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// Lockout is when a source that keeps failing attestation is locked out. A
// source is an IPv4 address, or an IPv6 network of 64 bits. The zero Lockout locks
// nobody out.
type Lockout struct {
	Failures int           // so many failures
	Within   time.Duration // in this time
	For      time.Duration // lock it out for so long
}

// LockedOut is a source that is locked out until a time, or until an operator lifts
// it.
type LockedOut struct {
	Source   string        `json:"source"`   // such as 192.0.2.1 or 2001:db8::/64
	Since    document.Time `json:"since"`    // when it was locked out
	Until    document.Time `json:"until"`    // when the lock-out ends
	Failures int           `json:"failures"` // that led to it
	Refused  int           `json:"refused"`  // how often it has come since, as far as this process knows
}

// Intact implements store.Checkable.
func (l *LockedOut) Intact() error {
	if l.Source == "" {
		return errors.New("it names no source")
	}
	return nil
}

// LockoutConfig says who is locked out and where that is kept.
type LockoutConfig struct {
	Documents store.Documents
	Rule      Lockout
	Audit     *audit.Log // nil keeps none
	Now       func() time.Time
	Trusted   func() bool // whether what is old by Now may be deleted
	Logger    *slog.Logger
}

// Lockouts counts failures by their source, and keeps who is locked out.
type Lockouts struct {
	config LockoutConfig
	table  store.Table[LockedOut]

	// stale says that the documents may differ from what is known: another node locks out
	// and lifts too.
	stale atomic.Bool

	mutex sync.Mutex
	// failures are of sources that may yet be locked out, the latest last. Each node counts
	// its own: a document changed by each failure would make failing expensive for the
	// service rather than for who fails. On n nodes a source has up to n times as many tries.
	failures map[string][]time.Time
	locked   map[string]*lockedSource
	next     time.Time // when to read the documents again at the earliest
}

// lockedSource is a source that is locked out. How often it has come since is counted by
// each node for itself: it is told to who looks and decides nothing.
type lockedSource struct {
	LockedOut
	unsaved bool // there is no document of it yet, or there could be none
}

// maxSources bounds the sources whose failures are counted.
const maxSources = 100_000

// readPause is the time between two readings of who is locked out, at least; and so many
// times as long as one takes, because each new lock-out asks for another.
const (
	readPause   = time.Second / 2
	readShare   = 20
	readTimeout = 5 * time.Second // one that takes longer is given up
)

// OpenLockouts reads who is locked out.
func OpenLockouts(ctx context.Context, config LockoutConfig) (*Lockouts, error) {
	l := &Lockouts{config: config, table: store.NewTable[LockedOut](config.Documents, "provisioning/lockouts"),
		failures: make(map[string][]time.Time), locked: make(map[string]*lockedSource)}
	config.Documents.Watch(context.Background(), func() { l.stale.Store(true) }, l.table.Collection)
	return l, l.read(ctx)
}

// read makes what is stored what counts from now on, and keeps what only this node knows.
func (l *Lockouts) read(ctx context.Context) error {
	l.stale.Store(false) // what changes while it is read is read the next time
	began := time.Now()
	entries, err := l.table.List(ctx, "", "", maxSources)
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.next = time.Now().Add(max(readPause, readShare*time.Since(began)))
	if err != nil {
		l.stale.Store(true)
		return fmt.Errorf("read the lock-outs: %w", err)
	}
	locked := make(map[string]*lockedSource, len(entries))
	for source, known := range l.locked {
		if known.unsaved {
			locked[source] = known
		}
	}
	for _, entry := range entries {
		known := l.locked[entry.Key]
		if known == nil || known.Since.Sub(entry.Value.Since.Time).Abs() > time.Millisecond { // written in fewer digits
			known = &lockedSource{LockedOut: entry.Value}
		}
		locked[entry.Key] = known
	}
	l.locked = locked
	return nil
}

// follow reads who is locked out if that has changed and was not read just now. What
// can't be read is not said to the device: what it wants can't be read either.
func (l *Lockouts) follow() {
	if !l.stale.Load() {
		return
	}
	l.mutex.Lock()
	due := !time.Now().Before(l.next)
	if due {
		l.next = time.Now().Add(readTimeout) // and nobody else reads meanwhile
	}
	l.mutex.Unlock()
	if !due {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	if err := l.read(ctx); err != nil {
		l.config.Logger.Warn("lock-outs of other nodes are not known", "error", err)
	}
}

// clockStep is how far a clock may be set back before what it said counts as wrong.
const clockStep = 5 * time.Minute

// ended reports whether the lock-out has ended. A lock-out that begins in the future is
// of a clock that was wrong, and would last for as long as that was ahead.
func (l *LockedOut) ended(now time.Time) bool {
	return !now.Before(l.Until.Time) || l.Since.Sub(now) > clockStep
}

// Check returns fault 429001 if the source of a remote address is locked out.
func (l *Lockouts) Check(remote string) error {
	l.follow()
	source := SourceOf(remote)
	l.mutex.Lock()
	defer l.mutex.Unlock()
	locked, ok := l.locked[source]
	if !ok {
		return nil
	}
	now := l.config.Now()
	if locked.ended(now) {
		delete(l.locked, source) // the record goes with the next sweep
		return nil
	}
	locked.Refused++
	return Throttled(locked.Until.Sub(now).Round(time.Second), fault.New(fault.Throttled,
		"Too many devices at the address %s failed to prove themselves. It is locked out until %s",
		source, locked.Until.UTC().Format(time.RFC3339)))
}

// CountFailure counts a failure of a source, and locks it out when there were too many.
func (l *Lockouts) CountFailure(ctx context.Context, remote string) {
	source, rule := SourceOf(remote), l.config.Rule
	if rule.Failures <= 0 || source == "" {
		return
	}
	now := l.config.Now()
	l.mutex.Lock()
	if len(l.failures) >= maxSources {
		l.failures = make(map[string][]time.Time)
	}
	times := append(l.failures[source], now)
	for len(times) > 0 && now.Sub(times[0]).Abs() > rule.Within {
		times = times[1:]
	}
	l.failures[source] = times
	if len(times) < rule.Failures {
		l.mutex.Unlock()
		return
	}
	delete(l.failures, source)
	if len(l.locked) >= maxSources {
		l.mutex.Unlock()
		l.config.Logger.WarnContext(ctx, "too many sources are locked out", "source", source)
		return
	}
	locked := &lockedSource{unsaved: true, LockedOut: LockedOut{Source: source, Failures: len(times),
		Since: document.Time{Time: now.UTC()}, Until: document.Time{Time: now.Add(rule.For).UTC()}}}
	l.locked[source] = locked
	stored := locked.LockedOut
	l.mutex.Unlock()
	l.config.Logger.WarnContext(ctx, "source locked out", "source", source,
		"failures", stored.Failures, "until", stored.Until)
	if _, err := l.config.Documents.Commit(ctx, l.table.Put(source, store.Always, stored)); err != nil {
		l.config.Logger.ErrorContext(ctx, "a lock-out would not survive a restart", "source", source, "error", err)
		return
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	locked.unsaved = false
}

// List returns the sources that are locked out now, and forgets the others.
func (l *Lockouts) List(ctx context.Context) ([]LockedOut, error) {
	entries, err := l.table.List(ctx, "", "", maxSources)
	if err != nil {
		return nil, err
	}
	found := []LockedOut{}
	if len(entries) == 0 {
		return found, nil
	}
	var over []store.Change
	now, trusted := l.config.Now(), l.config.Trusted()
	l.mutex.Lock()
	for _, entry := range entries {
		if entry.Value.ended(now) {
			if !trusted {
				continue
			}
			over = append(over, l.table.Delete(entry.Key, store.IfMatch(entry.ETag)))
			if locked := l.locked[entry.Key]; locked != nil && locked.ended(now) {
				delete(l.locked, entry.Key)
			}
			continue
		}
		if locked := l.locked[entry.Key]; locked != nil {
			entry.Value.Refused = locked.Refused
		}
		found = append(found, entry.Value)
	}
	l.mutex.Unlock()
	if len(over) > 0 {
		_, err = l.config.Documents.Commit(ctx, over...)
		if _, conflict := store.IsConflict(err); conflict {
			err = nil // it was locked out again this moment
		}
	}
	return found, err
}

// Lift ends the lock-out of a source. It returns fault 404000 when it is not
// locked out.
func (l *Lockouts) Lift(ctx context.Context, source string) error {
	if known := SourceOf(source); known != "" {
		source = known
	}
	changes := l.config.Audit.Change(ctx, audit.Deleted, audit.Lockout, source, nil, nil)
	_, err := l.config.Documents.Commit(ctx, append(changes, l.table.Delete(source, store.Present))...)
	if _, missing := store.IsConflict(err); missing {
		return fault.New(fault.NotFound, "The source %.64q is not locked out", source)
	}
	if err != nil {
		return err
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	delete(l.locked, source)
	return nil
}
