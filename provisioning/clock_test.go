package provisioning

import (
	"context"
	"testing"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/provisioning/guard"
)

// TestNothingGoesByAWrongClock sweeps while the clock is 400 days ahead and not
// trusted: the audit and the lock-outs stay. When it is trusted again, what is old
// by then goes.
func TestNothingGoesByAWrongClock(t *testing.T) {
	h := newFixture(t,
		"hub.local").limited(Limits{Lockout: guard.Lockout{Failures: 1, Within: time.Minute, For: 10 * time.Minute}})
	ctx := context.Background()
	good, stranger := valid(t, "good"), valid(t, "stranger")
	h.enroll(good.enrollment())
	register := func(d deviceIdentity) error {
		evidence := d.evidence
		evidence.RemoteAddr = "192.0.2.1:1"
		_, err := h.OpenSession(scope, d.evidence.Certificates[0].Subject.CommonName, evidence).Register(ctx, nil)
		return err
	}
	entries := func() int {
		t.Helper()
		found, _, err := h.audit.Entries(ctx, audit.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	register(stranger)
	before := entries()
	if before == 0 {
		t.Fatal("the audit is empty")
	}
	asked := make(chan struct{}, 100)
	h.close() // what sweeps reads the clock
	h.trusted = func() bool {
		asked <- struct{}{}
		return false
	}
	right := h.clock.Now()
	h.clock.Advance(401 * 24 * time.Hour)
	h.open()
	for range 2 { // the audit's turn and that of the lock-outs, of the sweep at the start
		<-asked
	}
	h.close() // waits for the sweep
	h.clock.Set(right)
	h.open()
	if got := entries(); got != before {
		t.Errorf("the audit has %d entries of %d", got, before)
	}
	if err := register(good); !comeBack(err, 10*time.Minute) {
		t.Errorf("the source that was locked out is answered %v", err)
	}
	h.close()
	h.trusted = nil
	h.clock.Set(right.Add(401 * 24 * time.Hour))
	h.open()
	for entries() > 0 && t.Context().Err() == nil { // the sweep at the start
		time.Sleep(time.Millisecond)
	}
	if locked, err := h.Lockouts().List(ctx); err != nil || len(locked) != 0 {
		t.Errorf("locked out are %+v, %v", locked, err)
	}
}

// TestLockoutWhileTheClockIsAhead does not outlast it.
func TestLockoutWhileTheClockIsAhead(t *testing.T) {
	h := newFixture(t,
		"hub.local").limited(Limits{Lockout: guard.Lockout{Failures: 1, Within: time.Minute, For: 10 * time.Minute}})
	good, stranger := valid(t, "good"), valid(t, "stranger")
	h.enroll(good.enrollment())
	right := h.clock.Now()
	h.clock.Advance(400 * 24 * time.Hour)
	evidence := stranger.evidence
	evidence.RemoteAddr = "192.0.2.1:1"
	h.OpenSession(scope, "stranger", evidence).Register(t.Context(), nil)
	if locked, err := h.Lockouts().List(t.Context()); err != nil || len(locked) != 1 {
		t.Fatalf("locked out are %+v, %v", locked, err)
	}
	h.clock.Set(right)
	evidence = good.evidence
	evidence.RemoteAddr = "192.0.2.1:1"
	if _, err := h.OpenSession(scope, "good", evidence).Register(t.Context(), nil); err != nil {
		t.Errorf("when the clock is right again it is answered %v", err)
	}
}
