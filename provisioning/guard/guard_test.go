package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/memory"
	"github.com/berth-iot/berth/store/storetest"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestSourceOf(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:4711": "192.0.2.1", "192.0.2.1": "192.0.2.1", "[2001:db8::1:2]:8883": "2001:db8::/64",
		"2001:db8::ffff": "2001:db8::/64", "[::ffff:192.0.2.1]:1": "192.0.2.1", "fe80::1%eth0": "fe80::/64",
		"pipe": "", "": "",
	} {
		if got := SourceOf(remote); got != want {
			t.Errorf("%q is of the source %q, want %q", remote, got, want)
		}
	}
}

func TestRates(t *testing.T) {
	now := noon
	r := NewRates(RateLimits{RegistrationsPerMinute: 4, OperationsPerMinute: 1, DevicePerMinute: 2,
		PollsPer10Seconds: 1},
		func() time.Time { return now })
	check := func(what string, err error, wait time.Duration) {
		t.Helper()
		if wait == 0 && err != nil || wait > 0 &&
			(!errors.Is(err, fault.Throttled) || fault.From(err).RetryAfter != wait) {
			t.Errorf("%s: %v, come back after %v; want %v", what, err, fault.From(err).RetryAfter, wait)
		}
	}
	check("first", r.Registration("d1"), 0)
	check("second", r.Registration("D1"), 0)
	check("third of one device", r.Registration("d1"), 30*time.Second)
	check("another device", r.Registration("d2"), 0)
	check("a fifth of all", r.Registration("d3"), 15*time.Second)
	check("poll", r.Poll("d1"), 0)
	check("poll of another", r.Poll("d2"), 0)
	check("poll again", r.Poll("d1"), 10*time.Second)
	check("operation", r.Operation(), 0)
	check("operation again", r.Operation(), time.Minute)
	now = now.Add(time.Minute)
	check("later", r.Registration("d1"), 0)
	check("operation later", r.Operation(), 0)

	unlimited := NewRates(RateLimits{}, func() time.Time { return now })
	for range 10_000 {
		check("without limits", errors.Join(unlimited.Registration("d1"), unlimited.Poll("d1"), unlimited.Operation()),
			0)
	}
	kept := 0
	for range 100 {
		if unlimited.Unconnected("192.0.2.1:1") {
			kept++
		}
	}
	if kept != unconnectedKept || !unlimited.Unconnected("192.0.2.2:1") {
		t.Errorf("%d of one source are kept", kept)
	}
}

// Strangers who come under ever other names do not take ever more memory.
func TestRatesForget(t *testing.T) {
	now := noon
	p := perKey{most: 1, time: time.Minute}
	for i := range 3 * maxLimiters {
		p.limiter(fmt.Sprint(i), now)
		if len(p.byKey) > 2*maxLimiters {
			t.Fatalf("%d names are remembered", len(p.byKey))
		}
	}
}

func newLockouts(t *testing.T, documents store.Documents, now *time.Time) *Lockouts {
	t.Helper()
	l, err := OpenLockouts(context.Background(), LockoutConfig{Documents: documents,
		Rule: Lockout{Failures: 3, Within: time.Minute, For: time.Hour}, Now: func() time.Time { return *now },
		Trusted: func() bool { return true }, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Who fails too often is locked out for a while, also after a restart, and others are not.
func TestLockouts(t *testing.T) {
	documents := memory.New().Open()
	t.Cleanup(func() { documents.Close() })
	ctx, now := context.Background(), noon
	l := newLockouts(t, documents, &now)
	const bad, good = "192.0.2.1:1", "192.0.2.2:1"
	for range 2 {
		l.CountFailure(ctx, bad)
	}
	now = now.Add(2 * time.Minute) // those count no more
	for range 2 {
		l.CountFailure(ctx, bad)
	}
	if err := l.Check(bad); err != nil {
		t.Errorf("after two failures: %v", err)
	}
	l.CountFailure(ctx, "192.0.2.1:2") // another port is the same source
	for range 2 {
		if err := l.Check(bad); !errors.Is(err, fault.Throttled) || fault.From(err).RetryAfter != time.Hour {
			t.Errorf("after three failures: %v, %v", err, fault.From(err).RetryAfter)
		}
		if err := l.Check(good); err != nil {
			t.Errorf("another source: %v", err)
		}
		l = newLockouts(t, documents, &now)
	}
	listed, err := l.List(ctx)
	if err != nil || len(listed) != 1 || listed[0].Source != "192.0.2.1" || listed[0].Failures != 3 {
		t.Errorf("locked out are %+v, %v", listed, err)
	}
	if err := l.Lift(ctx, "192.0.2.9"); !errors.Is(err, fault.NotFound) {
		t.Errorf("one that is not locked out: %v", err)
	}
	if err := errors.Join(l.Lift(ctx, "192.0.2.1"), l.Check(bad)); err != nil {
		t.Errorf("lifted: %v", err)
	}
	for range 3 {
		l.CountFailure(ctx, bad)
	}
	now = now.Add(time.Hour)
	if err := l.Check(bad); err != nil {
		t.Errorf("after an hour: %v", err)
	}
	if listed, err := l.List(ctx); err != nil || len(listed) != 0 {
		t.Errorf("after an hour there are %+v, %v", listed, err)
	}
}

// Who is locked out by one node is locked out by the others soon, and lifted likewise. A
// lock-out that can't be stored counts where it was made.
func TestLockoutsOfAnotherNode(t *testing.T) {
	ctx, now, shared := context.Background(), noon, memory.New()
	documents := shared.Open()
	here, elsewhere := newLockouts(t, documents, &now), newLockouts(t, shared.Open(), &now)
	const bad, worse = "192.0.2.1:1", "192.0.2.2:1"
	for range 3 {
		here.CountFailure(ctx, bad)
	}
	eventually := func(what string, condition func() bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("it is not so after 10 s: %s", what)
			}
		}
	}
	eventually("it is locked out elsewhere", func() bool { return errors.Is(elsewhere.Check(bad), fault.Throttled) })
	if err := elsewhere.Lift(ctx, "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	eventually("the lock-out is over here", func() bool { return here.Check(bad) == nil })

	if err := documents.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		here.CountFailure(ctx, worse)
	}
	if here.Check(worse) == nil || elsewhere.Check(worse) != nil {
		t.Error("a lock-out that can't be stored counts nowhere, or everywhere")
	}
}

func TestRoundTrip(t *testing.T) { storetest.RoundTrip[LockedOut](t) }
