package provisioning

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/berth-iot/berth/audit"
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
	Source   string `json:"source"`   // such as 192.0.2.1 or 2001:db8::/64
	Since    Time   `json:"since"`    // when it was locked out
	Until    Time   `json:"until"`    // when it is heard again
	Failures int    `json:"failures"` // that led to it
	Refused  int    `json:"refused"`  // how often it has come since, as far as this process knows
}

// lockouts counts failures by their source, and keeps who is locked out.
type lockouts struct {
	store.Table[LockedOut]
	rule Lockout

	mutex    sync.Mutex
	failures map[string][]time.Time // of sources that may yet be locked out, the latest last
	locked   map[string]*LockedOut
}

// maxSources bounds the sources whose failures are counted.
const maxSources = 100_000

// openLockouts reads who is locked out.
func (s *Service) openLockouts(ctx context.Context) error {
	l := &s.lockouts
	l.rule = s.config.Limits.Lockout
	l.failures, l.locked = make(map[string][]time.Time), make(map[string]*LockedOut)
	entries, err := l.List(ctx, "", "", maxSources)
	if err != nil {
		return fmt.Errorf("read the lock-outs: %w", err)
	}
	for _, entry := range entries {
		l.locked[entry.Key] = &entry.Value
	}
	return nil
}

// sourceOf is the source that a remote address belongs to, "" for none.
func sourceOf(remote string) string {
	address := addressOf(remote)
	switch {
	case !address.IsValid():
		return ""
	case address.Is4():
		return address.String()
	}
	return netip.PrefixFrom(address, 64).Masked().String()
}

// clockStep is how far a clock may be set back before what it said counts as wrong.
const clockStep = 5 * time.Minute

// over reports whether a source is heard again. A lock-out that begins in the future is
// of a clock that was wrong, and would last for as long as that was ahead.
func (l *LockedOut) over(now time.Time) bool {
	return !now.Before(l.Until.Time) || l.Since.Sub(now) > clockStep
}

// heard says whether a source is heard: fault 429001 if it is locked out.
func (s *Service) heard(remote string) error {
	l, source := &s.lockouts, sourceOf(remote)
	l.mutex.Lock()
	defer l.mutex.Unlock()
	locked, ok := l.locked[source]
	if !ok {
		return nil
	}
	now := s.config.Now()
	if locked.over(now) {
		delete(l.locked, source) // the record goes with the next sweep
		return nil
	}
	locked.Refused++
	return throttled(locked.Until.Sub(now).Round(time.Second), fault.New(fault.Throttled,
		"Too many devices at the address %s failed to prove themselves. It is heard again at %s", source, locked.Until.UTC().Format(time.RFC3339)))
}

// failed counts a failure of a source, and locks it out when there were too many.
func (s *Service) failed(ctx context.Context, remote string) {
	l, source := &s.lockouts, sourceOf(remote)
	if l.rule.Failures <= 0 || source == "" {
		return
	}
	now := s.config.Now()
	l.mutex.Lock()
	if len(l.failures) >= maxSources {
		l.failures = make(map[string][]time.Time)
	}
	times := append(l.failures[source], now)
	for len(times) > 0 && now.Sub(times[0]).Abs() > l.rule.Within {
		times = times[1:]
	}
	l.failures[source] = times
	if len(times) < l.rule.Failures {
		l.mutex.Unlock()
		return
	}
	delete(l.failures, source)
	if len(l.locked) >= maxSources {
		l.mutex.Unlock()
		s.config.Logger.WarnContext(ctx, "too many sources are locked out", "source", source)
		return
	}
	locked := &LockedOut{Source: source, Since: Time{Time: now.UTC()}, Until: Time{Time: now.Add(l.rule.For).UTC()}, Failures: len(times)}
	l.locked[source] = locked
	stored := *locked
	l.mutex.Unlock()
	s.config.Logger.WarnContext(ctx, "source locked out", "source", source, "failures", stored.Failures, "until", stored.Until)
	if _, err := s.config.Documents.Commit(ctx, l.Put(source, store.Always, stored)); err != nil {
		s.config.Logger.ErrorContext(ctx, "a lock-out would not survive a restart", "source", source, "error", err)
	}
}

// LockedOut returns the sources that are locked out now, and forgets the others.
func (s *Service) LockedOut(ctx context.Context) ([]LockedOut, error) {
	entries, err := s.lockouts.List(ctx, "", "", maxSources)
	if err != nil {
		return nil, err
	}
	found := []LockedOut{}
	if len(entries) == 0 {
		return found, nil
	}
	var over []store.Change
	now, trusted := s.config.Now(), s.config.trusted()
	s.lockouts.mutex.Lock()
	for _, entry := range entries {
		if entry.Value.over(now) {
			if !trusted {
				continue
			}
			over = append(over, s.lockouts.Delete(entry.Key, store.ETag(entry.ETag)))
			if locked := s.lockouts.locked[entry.Key]; locked != nil && locked.over(now) {
				delete(s.lockouts.locked, entry.Key)
			}
			continue
		}
		if locked := s.lockouts.locked[entry.Key]; locked != nil {
			entry.Value.Refused = locked.Refused
		}
		found = append(found, entry.Value)
	}
	s.lockouts.mutex.Unlock()
	if len(over) > 0 {
		_, err = s.config.Documents.Commit(ctx, over...)
		if _, conflict := store.IsConflict(err); conflict {
			err = nil // it was locked out again this moment
		}
	}
	return found, err
}

// LiftLockout lets a source be heard again. It returns fault 404000 when it is not
// locked out.
func (s *Service) LiftLockout(ctx context.Context, source string) error {
	if known := sourceOf(source); known != "" {
		source = known
	}
	_, err := s.config.Documents.Commit(ctx, append(s.config.Audit.Change(ctx, audit.Deleted, audit.Lockout, source, nil, nil), s.lockouts.Delete(source, store.Present))...)
	if _, missing := store.IsConflict(err); missing {
		return fault.New(fault.NotFound, "The source %.64q is not locked out", source)
	}
	if err != nil {
		return err
	}
	s.lockouts.mutex.Lock()
	defer s.lockouts.mutex.Unlock()
	delete(s.lockouts.locked, source)
	return nil
}
