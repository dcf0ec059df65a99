package provisioning

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/guard"
	"github.com/berth-iot/berth/provisioning/inject"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

func (h *fixture) limited(limits Limits) *fixture {
	h.t.Helper()
	h.limits = limits
	h.reopen()
	return h
}

// comeBack says whether the error is a fault 429001 that names this time.
func comeBack(err error, after time.Duration) bool {
	var problem *fault.Error
	return errors.As(err, &problem) && problem.Code == fault.Throttled && problem.RetryAfter == after
}

func TestRegistrationsAreThrottled(t *testing.T) {
	h := newFixture(t, "hub.local").limited(Limits{RegistrationsPerMinute: 4, DevicePerMinute: 2})
	one, two := valid(t, "one"), valid(t, "two")
	h.enroll(one.enrollment())
	h.enroll(two.enrollment())
	ctx := context.Background()
	register := func(d deviceIdentity) error {
		_, err := h.OpenSession(scope, d.evidence.Certificates[0].Subject.CommonName, d.evidence).Register(ctx, nil)
		return err
	}
	for i, c := range []struct {
		device deviceIdentity
		after  time.Duration // 0 is let in
	}{{one, 0}, {one, 0}, {one, 30 * time.Second}, {two, 0}, {two, 15 * time.Second}} {
		if err := register(c.device); c.after == 0 && err != nil || c.after != 0 && !comeBack(err, c.after) {
			t.Errorf("registration %d of %s is answered %v, want 429 after %s", i,
				c.device.evidence.Certificates[0].Subject.CommonName, err, c.after)
		}
	}
	if attempt := h.lastAttempt("two"); attempt.Code != int(fault.Throttled) {
		t.Errorf("the operator sees %+v", attempt)
	}
	h.clock.Advance(15 * time.Second)
	if err := register(two); err != nil {
		t.Errorf("after the time that was named it is answered %v", err)
	}
}

func TestPollsAndOperationsAreThrottled(t *testing.T) {
	h := newFixture(t, "hub.local").limited(AzureLimits)
	device := valid(t, "d1")
	h.enroll(device.enrollment())
	state := h.mustRegister(device)
	session := h.OpenSession(scope, "d1", device.evidence)
	for i := range 6 {
		if _, err := session.Lookup(context.Background(), nil); i < 5 && err != nil || i == 5 &&
			!comeBack(err, 2*time.Second) {
			t.Errorf("look-up %d of %s is answered %v", i, state.RegistrationID, err)
		}
	}
	for i := range 1001 {
		if err := h.ThrottleOperation(); i < 1000 && err != nil || i == 1000 && !comeBack(err, time.Second) {
			t.Errorf("operation %d is answered %v", i, err)
		}
	}
}

// The limits that Azure documents (iot-dps-limits), one by one.
func TestAzureLimits(t *testing.T) {
	for _, c := range []struct {
		of          string
		limit, want int
	}{
		{"registrations", AzureLimits.Registrations, 1_000_000},
		{"individual enrollments", AzureLimits.Enrollments, 1_000_000},
		{"enrollment groups (X.509)", AzureLimits.X509Groups, 100},
		{"enrollment groups (symmetric key)", AzureLimits.KeyGroups, 100},
		{"CAs", AzureLimits.Authorities, 25},
		{"linked hubs", AzureLimits.LinkedHubs, 50},
		{"size of a message", maxRequest, 96 << 10},
		{"operations a minute", AzureLimits.OperationsPerMinute, 1000},
		{"registrations a minute", AzureLimits.RegistrationsPerMinute, 1000},
		{"polls of a device in 10 seconds", AzureLimits.PollsPer10Seconds, 5},
		{"enrollments of a bulk operation", AzureLimits.BulkItems, 10},
		{"registrations of a device a minute", AzureLimits.DevicePerMinute, 0}, // Azure has none
	} {
		if c.limit != c.want {
			t.Errorf("%s: %d, want %d", c.of, c.limit, c.want)
		}
	}
	if (AzureLimits.Lockout != guard.Lockout{}) {
		t.Errorf("Azure locks nobody out, and this does: %+v", AzureLimits.Lockout)
	}
}

// Of what there may be two there is no third; what is there can still be changed, and
// when one goes another may come.
func TestThereMayBeNoMore(t *testing.T) {
	ctx := context.Background()
	root := certify(t, "Root", nil, true)
	keys := enroll.AttestationMechanism{Type: enroll.SymmetricKey}
	names := []string{"one", "two", "three"}
	ids := map[string]deviceIdentity{}
	for _, name := range names {
		ids[name] = valid(t, name)
	}
	authorities := map[string][]byte{}
	for _, name := range names {
		authorities[name] = []byte(certify(t, "Root "+name, nil, true).pem)
	}
	for _, c := range []struct {
		of     string
		limits Limits
		put    func(h *fixture, name string) error // makes it, or changes it when it is there
		remove func(h *fixture, name string) error
	}{
		{"enrollments", Limits{Enrollments: 2}, func(h *fixture, name string) error {
			_, err := h.Enrollments().Put(ctx, ids[name].enrollment(), "")
			return err
		}, func(h *fixture, name string) error { return h.Enrollments().Delete(ctx, name, "") }},
		{"groups with X.509", Limits{X509Groups: 2, KeyGroups: 1}, func(h *fixture, name string) error {
			_, err := h.Groups().Put(ctx,
				enroll.Group{EnrollmentGroupID: name,
					Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: enroll.X509,
						X509: &enroll.X509Attestation{SigningCertificates: &enroll.X509Certificates{Primary: &enroll.X509Certificate{Certificate: root.pem}}}}}}, "")
			return err
		}, func(h *fixture, name string) error { return h.Groups().Delete(ctx, name, "") }},
		{"groups with keys", Limits{X509Groups: 1, KeyGroups: 2}, func(h *fixture, name string) error {
			_, err := h.Groups().Put(ctx,
				enroll.Group{EnrollmentGroupID: name, Settings: enroll.Settings{Attestation: keys}}, "")
			return err
		}, func(h *fixture, name string) error { return h.Groups().Delete(ctx, name, "") }},
		{"certificate authorities", Limits{Authorities: 2}, func(h *fixture, name string) error {
			_, err := h.Authorities().Put(ctx, name, authorities[name], true, "")
			return err
		}, func(h *fixture, name string) error { return h.Authorities().Delete(ctx, name, "", false) }},
		{"linked hubs", Limits{LinkedHubs: 2}, func(h *fixture, name string) error {
			_, err := h.Links().Put(ctx, linkedhub.Link{HostName: name + ".local"}, "")
			return err
		}, func(h *fixture, name string) error { return h.Links().Delete(ctx, name+".local", "", true) }},
		{"registrations", Limits{Registrations: 2}, func(h *fixture, name string) error {
			h.enroll(ids[name].enrollment())
			_, err := h.OpenSession(scope, name, ids[name].evidence).Register(ctx, nil)
			return err
		}, func(h *fixture, name string) error { return h.Registrations().Delete(ctx, name, "") }},
	} {
		t.Run(c.of, func(t *testing.T) {
			h := newFixture(t, "one.local", "two.local", "three.local")
			if c.of == "linked hubs" {
				if err := h.Links().Delete(ctx, "three.local", "", true); err != nil {
					t.Fatal(err)
				}
			}
			h.limited(c.limits)
			for _, name := range []string{"one", "two", "one", "two"} {
				if err := c.put(h, name); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			if err := c.put(h, "three"); !errors.Is(err, fault.QuotaExceeded) ||
				!strings.Contains(err.Error(), "There are 2 ") {
				t.Errorf("the third is answered %v", err)
			}
			if err := c.remove(h, "one"); err != nil {
				t.Fatal(err)
			}
			if err := c.put(h, "three"); err != nil {
				t.Errorf("when one is gone the third is answered %v", err)
			}
		})
	}
}

// A device that finds no room is an attempt that says so.
func TestRegistrationsThatFindNoRoom(t *testing.T) {
	h, one, two := newFixture(t, "hub.local").limited(Limits{Registrations: 1}), valid(t, "one"), valid(t, "two")
	h.enroll(one.enrollment())
	h.enroll(two.enrollment())
	h.mustRegister(one)
	if _, err := h.OpenSession(scope, "two", two.evidence).Register(context.Background(), nil); !errors.Is(err,
		fault.QuotaExceeded) {
		t.Errorf("the second device is told %v", err)
	}
	attempt := h.lastAttempt("two")
	if check, _ := attempt.Checks.Failed(); check.Name != "registrations" ||
		!strings.Contains(check.Advice, "Delete the registration records") {
		t.Errorf("the operator sees %+v", attempt)
	}
}

// A source that keeps failing is not heard, over a restart too, until its time is
// over or an operator lifts it. Others are heard.
func TestLockout(t *testing.T) {
	h := newFixture(t,
		"hub.local").limited(Limits{Lockout: guard.Lockout{Failures: 3, Within: time.Minute, For: 10 * time.Minute}})
	ctx := context.Background()
	good, stranger := valid(t, "good"), valid(t, "stranger")
	h.enroll(good.enrollment())
	register := func(d deviceIdentity, from string) error {
		evidence := d.evidence
		evidence.RemoteAddr = from
		_, err := h.OpenSession(scope, d.evidence.Certificates[0].Subject.CommonName, evidence).Register(ctx, nil)
		return err
	}
	const bad, other = "[2001:db8::1]:4711", "[2001:db8:0:1::1]:4711"
	for range 2 {
		register(stranger, bad)
		h.clock.Advance(40 * time.Second)
	}
	if err := register(good, bad); err != nil {
		t.Fatalf("after two failures, one of them long ago, a good device is answered %v", err)
	}
	register(stranger, bad)
	register(stranger, "[2001:db8::2]:1") // of the same network
	if err := register(good, bad); !comeBack(err, 10*time.Minute) {
		t.Fatalf("from a source that is locked out it is answered %v", err)
	}
	if err := register(good, other); err != nil {
		t.Errorf("from elsewhere it is answered %v", err)
	}
	h.reopen()
	if err := register(good, bad); !comeBack(err, 10*time.Minute) {
		t.Errorf("after a restart it is answered %v", err)
	}
	locked, err := h.Lockouts().List(ctx)
	if err != nil || len(locked) != 1 || locked[0].Source != "2001:db8::/64" || locked[0].Failures != 3 ||
		locked[0].Refused != 1 {
		t.Errorf("locked out are %+v, error %v", locked, err)
	}
	if err := h.Lockouts().Lift(ctx, "2001:db8::1"); err != nil {
		t.Fatal(err)
	}
	if err := register(good, bad); err != nil {
		t.Errorf("after it was lifted it is answered %v", err)
	}
	if err := h.Lockouts().Lift(ctx, "2001:db8::1"); !errors.Is(err, fault.NotFound) {
		t.Errorf("lifting it again is answered %v", err)
	}
	for range 3 {
		register(stranger, bad)
	}
	h.clock.Advance(10 * time.Minute)
	if err := register(good, bad); err != nil {
		t.Errorf("when its time is over it is answered %v", err)
	}
	if locked, err := h.Lockouts().List(ctx); err != nil || len(locked) != 0 {
		t.Errorf("then locked out are %+v, error %v", locked, err)
	}
	// A clock that was ahead for a moment locks nobody out until it gets there.
	right := h.clock.Now()
	h.clock.Set(right.Add(400 * 24 * time.Hour))
	for range 3 {
		register(stranger, bad)
	}
	if locked, err := h.Lockouts().List(ctx); err != nil || len(locked) != 1 {
		t.Errorf("while the clock is ahead locked out are %+v, error %v", locked, err)
	}
	h.clock.Set(right)
	if locked, err := h.Lockouts().List(ctx); err != nil || len(locked) != 0 {
		t.Errorf("when it is right locked out are %+v, error %v", locked, err)
	}
	if err := register(good, bad); err != nil {
		t.Errorf("when it is right a good device is answered %v", err)
	}
}

// Every change is in the audit, with who made it, and no secret is.
func TestAudit(t *testing.T) {
	h := newFixture(t, "hub.local", "hub2.local")
	ctx := audit.WithActor(context.Background(), audit.Actor{Name: "policy someone", Remote: "192.0.2.7:1"})
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	device := valid(t, "d1")
	must(h.Enrollments().Put(ctx, device.enrollment(), ""))
	changed := device.enrollment()
	changed.ProvisioningStatus, changed.Hubs = enroll.Disabled, []string{"hub2.local"}
	must(h.Enrollments().Put(ctx, changed, ""))
	must(nil, h.Enrollments().Delete(ctx, "d1", ""))
	keys := enroll.AttestationMechanism{Type: enroll.SymmetricKey}
	must(h.Groups().Put(ctx, enroll.Group{EnrollmentGroupID: "g1", Settings: enroll.Settings{Attestation: keys}}, ""))
	rolled := enroll.AttestationMechanism{Type: enroll.SymmetricKey,
		SymmetricKey: &enroll.SymmetricKeyAttestation{PrimaryKey: "c2VjcmV0c2VjcmV0c2VjcmV0",
			SecondaryKey: "c2VjcmV0c2VjcmV0c2VjcmV0"}}
	must(h.Groups().Put(ctx, enroll.Group{EnrollmentGroupID: "g1", Settings: enroll.Settings{Attestation: rolled}}, ""))
	must(nil, h.Groups().Delete(ctx, "g1", ""))
	must(h.Networks().Put(ctx, allocation.Network{Prefix: "10.0.0.0/8", Latencies: map[string]float64{"x": 1}}, ""))
	must(nil, h.Networks().Delete(ctx, "10.0.0.0/8", ""))
	weight := 5
	must(h.Links().Put(ctx, linkedhub.Link{HostName: "hub.local", AllocationWeight: &weight}, ""))
	must(nil, h.Links().Delete(ctx, "hub.local", "", true))
	must(h.Injector().Add(ctx, inject.Fault{Kind: inject.Fail}))
	must(nil, h.Injector().Remove(ctx, ""))
	if _, err := h.Enrollments().Put(ctx, changed, `"nothing"`); err == nil {
		t.Error("a wrong ETag is taken")
	}
	h.reopen()
	entries, next, err := h.audit.Entries(ctx, audit.Filter{Actor: "SOMEONE"})
	if err != nil || next != "" {
		t.Fatal(next, err)
	}
	var story []string
	for _, entry := range entries {
		if entry.Actor != "policy someone" || entry.Remote != "192.0.2.7:1" {
			t.Errorf("the actor of %+v", entry)
		}
		id, _, _ := strings.Cut(entry.ID, " ")
		if entry.Kind == audit.Misbehaviour {
			id = "one"
		}
		story = append(story, fmt.Sprintf("%s %s %s", entry.Kind, id, entry.Action))
	}
	want := []string{"misbehaviour one deleted", "misbehaviour one created", "linkedHub hub.local deleted",
		"linkedHub hub.local updated",
		"network 10.0.0.0/8 deleted", "network 10.0.0.0/8 created", "enrollmentGroup g1 deleted",
		"enrollmentGroup g1 updated", "enrollmentGroup g1 created",
		"enrollment d1 deleted", "enrollment d1 updated", "enrollment d1 created"}
	if fmt.Sprint(story) != fmt.Sprint(want) {
		t.Errorf("the audit is %q, want %q", story, want)
	}
	if text := fmt.Sprint(entries); strings.Contains(text, "c2Vjcm") ||
		!strings.Contains(text, "primaryKey (hidden) (hidden)") {
		t.Errorf("the change of a key is told as %s", text)
	}
	if update := entries[len(entries)-2]; fmt.Sprint(
		update.Changes) != `[{iotHubs  ["hub2.local"]} {provisioningStatus "enabled" "disabled"}]` {
		t.Errorf("the change of an enrollment is told as %v", update.Changes)
	}
	first, next, err := h.audit.Entries(ctx, audit.Filter{Kind: audit.Enrollment, Max: 2})
	if err != nil || len(first) != 2 || next == "" {
		t.Fatalf("the first page is %+v, next %q, error %v", first, next, err)
	}
	rest, next, err := h.audit.Entries(ctx, audit.Filter{Kind: audit.Enrollment, Max: 2, After: next})
	if err != nil || len(rest) != 1 || rest[0].Action != audit.Created || next != "" {
		t.Errorf("the second page is %+v, next %q, error %v", rest, next, err)
	}
	h.clock.Advance(401 * 24 * time.Hour)
	if err := h.audit.Prune(ctx); err != nil {
		t.Fatal(err)
	}
	if left, _, err := h.audit.Entries(ctx, audit.Filter{}); err != nil || len(left) != 0 {
		t.Errorf("after 401 days there are %+v, error %v", left, err)
	}
}
