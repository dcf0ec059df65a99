package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// Lockout is when a source that keeps failing attestation is no longer heard. A
// source is an IPv4 address, or an IPv6 network of 64 bits. The zero Lockout locks
// nobody out.
type Lockout struct {
	Failures int           // so many failures
	Within   time.Duration // in this time
	For      time.Duration // lock it out for so long
}

// LockedOut is a source that is not heard until a time, or until an operator lifts
// it.
type LockedOut struct {
	Source   string        `json:"source"`   // such as 192.0.2.1 or 2001:db8::/64
	Since    document.Time `json:"since"`    // when it was locked out
	Until    document.Time `json:"until"`    // when it is heard again
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

	mutex    sync.Mutex
	failures map[string][]time.Time // of sources that may yet be locked out, the latest last
	locked   map[string]*LockedOut
}

// maxSources bounds the sources whose failures are counted.
const maxSources = 100_000

// OpenLockouts reads who is locked out.
func OpenLockouts(ctx context.Context, config LockoutConfig) (*Lockouts, error) {
	l := &Lockouts{config: config, table: store.NewTable[LockedOut](config.Documents, "provisioning/lockouts"),
		failures: make(map[string][]time.Time), locked: make(map[string]*LockedOut)}
	entries, err := l.table.List(ctx, "", "", maxSources)
	if err != nil {
		return nil, fmt.Errorf("read the lock-outs: %w", err)
	}
	for _, entry := range entries {
		l.locked[entry.Key] = &entry.Value
	}
	return l, nil
}

// clockStep is how far a clock may be set back before what it said counts as wrong.
const clockStep = 5 * time.Minute

// over reports whether a source is heard again. A lock-out that begins in the future is
// of a clock that was wrong, and would last for as long as that was ahead.
func (l *LockedOut) over(now time.Time) bool {
	return !now.Before(l.Until.Time) || l.Since.Sub(now) > clockStep
}

// Check returns fault 429001 if the source of a remote address is locked out.
func (l *Lockouts) Check(remote string) error {
	source := SourceOf(remote)
	l.mutex.Lock()
	defer l.mutex.Unlock()
	locked, ok := l.locked[source]
	if !ok {
		return nil
	}
	now := l.config.Now()
	if locked.over(now) {
		delete(l.locked, source) // the record goes with the next sweep
		return nil
	}
	locked.Refused++
	return Throttled(locked.Until.Sub(now).Round(time.Second), fault.New(fault.Throttled,
		"Too many devices at the address %s failed to prove themselves. It is heard again at %s", source, locked.Until.UTC().Format(time.RFC3339)))
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
	locked := &LockedOut{Source: source, Since: document.Time{Time: now.UTC()}, Until: document.Time{Time: now.Add(rule.For).UTC()}, Failures: len(times)}
	l.locked[source] = locked
	stored := *locked
	l.mutex.Unlock()
	l.config.Logger.WarnContext(ctx, "source locked out", "source", source, "failures", stored.Failures, "until", stored.Until)
	if _, err := l.config.Documents.Commit(ctx, l.table.Put(source, store.Always, stored)); err != nil {
		l.config.Logger.ErrorContext(ctx, "a lock-out would not survive a restart", "source", source, "error", err)
	}
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
		if entry.Value.over(now) {
			if !trusted {
				continue
			}
			over = append(over, l.table.Delete(entry.Key, store.ETag(entry.ETag)))
			if locked := l.locked[entry.Key]; locked != nil && locked.over(now) {
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

// Lift lets a source be heard again. It returns fault 404000 when it is not
// locked out.
func (l *Lockouts) Lift(ctx context.Context, source string) error {
	if known := SourceOf(source); known != "" {
		source = known
	}
	_, err := l.config.Documents.Commit(ctx, append(l.config.Audit.Change(ctx, audit.Deleted, audit.Lockout, source, nil, nil), l.table.Delete(source, store.Present))...)
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
