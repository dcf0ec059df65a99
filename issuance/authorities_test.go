package issuance

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

func second[A, B any](_ A, b B) B { return b }

// Revoked and rotated in one step: what the former authority signed is void, and its
// policies go on with the other, which is made when there is none.
func TestAuthoritiesAreRotated(t *testing.T) {
	h, ctx := newHouse(t), t.Context()
	if _, err := h.PutPolicy(ctx, Policy{Name: "short", ValidityMinutes: 60}, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := h.CreateAuthority(ctx, "third"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.PutPolicy(ctx, Policy{Name: "apart", Authority: "third"}, ""); err != nil {
		t.Fatal(err)
	}
	old := h.issue("short", "d1")
	if _, err := h.RotateAuthority(ctx, DefaultAuthority, "second"); err != nil {
		t.Fatal(err)
	}
	if err := h.verify(old, "d1"); !errors.Is(err, fault.UnauthorizedAccess) {
		t.Errorf("what the former one signed is answered %v", err)
	}
	policies, err := h.Policies(ctx)
	got := map[string]string{}
	for _, policy := range policies {
		got[policy.Name] = policy.Authority
	}
	if want := fmt.Sprint(map[string]string{"default": "second", "short": "second", "apart": "third"}); err != nil ||
		fmt.Sprint(got) != want {
		t.Errorf("the policies name %v, want %s, error %v", got, want, err)
	}
	if err := h.verify(h.issue("short", "d1"), "d1"); err != nil {
		t.Errorf("what the other one signs: %v", err)
	}
	for to, code := range map[string]fault.Code{"second": fault.ArgumentInvalid, DefaultAuthority: fault.Conflict, "no name": fault.ArgumentInvalid, "root": fault.Conflict} {
		if _, err := h.RotateAuthority(ctx, "second", to); !errors.Is(err, code) {
			t.Errorf("to %s it is answered %v", to, err)
		}
	}
	if authority, err := h.Authority(ctx, "second"); err != nil || !authority.Revoked.IsZero() {
		t.Errorf("after refusals it is %+v, error %v", authority, err)
	}
}

// What is in use is not deleted unless that is forced, and a deleted authority's name
// and certificates never come to life again.
func TestWhatIsInUseIsNotDeleted(t *testing.T) {
	h, ctx := newHouse(t), t.Context()
	users := &users{by: PolicyUser{ID: "meters", Group: true}}
	h.Follow(users)
	if err := h.DeletePolicy(ctx, "nothing", false); !errors.Is(err, fault.NotFound) {
		t.Errorf("a policy that is not there is answered %v", err)
	}
	for _, by := range []PolicyUser{{ID: "meters", Group: true}, {ID: "d1"}} {
		users.by = by
		if err := h.DeletePolicy(ctx, DefaultPolicy, false); !errors.Is(err, fault.Conflict) ||
			!strings.Contains(err.Error(), by.ID) {
			t.Errorf("a policy that %+v names is answered %v", by, err)
		}
	}
	certificate := h.issue(DefaultPolicy, "d1")
	if err := h.DeleteAuthority(ctx, DefaultAuthority, false); !errors.Is(err, fault.Conflict) ||
		!strings.Contains(err.Error(), "credential policy default") {
		t.Errorf("an authority that a policy names is answered %v", err)
	}
	if err := h.DeletePolicy(ctx, DefaultPolicy, true); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Check(ctx, DefaultPolicy, "d1", csr(t, "d1")); !errors.Is(err, fault.Unavailable) {
		t.Errorf("a policy that is gone is answered %v", err)
	}
	if err := h.DeleteAuthority(ctx, DefaultAuthority, false); !errors.Is(err, fault.Conflict) ||
		!strings.Contains(err.Error(), "good until") {
		t.Errorf("an authority whose certificates are good is answered %v", err)
	}
	var told []Revocation
	h.OnRevoke(func(r Revocation) { told = append(told, r) })
	if err := h.DeleteAuthority(ctx, DefaultAuthority, true); err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || told[0].Authority != DefaultAuthority {
		t.Errorf("told were %+v", told)
	}
	if authorities, err := h.Authorities(ctx); err != nil || len(authorities) != 0 {
		t.Errorf("there are %+v, error %v", authorities, err)
	}
	for name, err := range map[string]error{
		"to create it": second(h.CreateAuthority(ctx, DefaultAuthority)),
		"to rotate to it": func() error {
			if _, err := h.CreateAuthority(ctx, "second"); err != nil {
				return err
			}
			return second(h.RotateAuthority(ctx, "second", DefaultAuthority))
		}(),
	} {
		if !errors.Is(err, fault.Conflict) {
			t.Errorf("%s again is answered %v", name, err)
		}
	}
	if err := h.verify(certificate, "d1"); !errors.Is(err, fault.UnauthorizedAccess) {
		t.Errorf("what it signed is answered %v", err)
	}
	h.renew() // and leaves it as it is
	// One that nobody needs goes without force.
	if err := h.DeleteAuthority(ctx, "second", false); err != nil {
		t.Error(err)
	}
	users.by = PolicyUser{}
	if _, err := h.CreateAuthority(ctx, "fourth"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.PutPolicy(ctx, Policy{Name: "unused", Authority: "fourth"}, ""); err != nil {
		t.Fatal(err)
	}
	if err := h.DeletePolicy(ctx, "unused", false); err != nil {
		t.Error(err)
	}
}

// users are enrollments of which one names every policy.
type users struct{ by PolicyUser }

func (*users) ThrottleRenewal(string) error { return nil }
func (*users) MayRenew(context.Context, string, string) ([]store.Change, error) {
	return nil, nil
}
func (u *users) PolicyUser(context.Context, string) (PolicyUser, error) { return u.by, nil }

// All certificates of a device are revoked at once, those of others are not, and who
// holds its connection is told.
func TestRevokeDevice(t *testing.T) {
	h, ctx := newHouse(t), t.Context()
	const many = revokedAtOnce + 20
	var own []*x509.Certificate
	for range many {
		own = append(own, h.issue(DefaultPolicy, "Meter"))
		h.now = h.now.Add(time.Second)
	}
	other := h.issue(DefaultPolicy, "meter-2")
	if _, err := h.Revoke(ctx, thumbprint(own[0])); err != nil {
		t.Fatal(err)
	}
	var told []Revocation
	h.OnRevoke(func(r Revocation) { told = append(told, r) })
	if revoked, err := h.RevokeDevice(ctx, "meter"); err != nil || revoked != many-1 {
		t.Fatalf("%d were revoked, error %v", revoked, err)
	}
	if len(told) != 1 || told[0] != (Revocation{RegistrationID: "meter"}) {
		t.Errorf("told were %+v", told)
	}
	for i, certificate := range own {
		if err := h.verify(certificate, "Meter"); !errors.Is(err, fault.UnauthorizedAccess) {
			t.Fatalf("certificate %d is answered %v", i, err)
		}
	}
	if err := h.verify(other, "meter-2"); err != nil {
		t.Errorf("another device: %v", err)
	}
	if revoked, err := h.RevokeDevice(ctx, "meter"); err != nil || revoked != 0 {
		t.Errorf("again %d were revoked, error %v", revoked, err)
	}
	if _, err := h.RevokeDevice(ctx, "nobody"); !errors.Is(err, fault.NotFound) {
		t.Errorf("a device without certificates is answered %v", err)
	}
	if err := h.verify(h.issue(DefaultPolicy, "meter"), "meter"); err != nil {
		t.Errorf("a new one: %v", err)
	}
}

// A list ends only where there is nothing more: page by page it has every certificate
// of a device, the latest first.
func TestIssuedInPages(t *testing.T) {
	h, ctx := newHouse(t), t.Context()
	var want []string
	for range 23 {
		want = append(want, thumbprint(h.issue(DefaultPolicy, "meter")))
		h.now = h.now.Add(time.Second)
	}
	h.issue(DefaultPolicy, "meter-2")
	for _, size := range []int{1, 5, 22, 23, 24, 100} {
		var got []string
		pages := 0
		for after := ""; ; pages++ {
			some, next, err := h.Issued(ctx, "meter", after, size)
			if err != nil {
				t.Fatal(err)
			}
			for _, issued := range some {
				got = append(got, issued.Thumbprint)
			}
			if after = next; next == "" {
				break
			}
		}
		if len(got) != len(want) || pages != (len(want)-1)/size {
			t.Fatalf("pages of %d have %d of %d, in %d pages", size, len(got), len(want), pages+1)
		}
		for i := range got {
			if got[i] != want[len(want)-1-i] {
				t.Fatalf("pages of %d: certificate %d is another", size, i)
			}
		}
	}
}

// However many policies and authorities there are, all are listed, and all renewed.
func TestListsHaveNoSilentEnd(t *testing.T) {
	h, ctx := newHouse(t), t.Context()
	const many = listStride + 5
	var changes []store.Change
	for i := range many {
		name := fmt.Sprintf("policy-%04d", i)
		changes = append(changes,
			h.policies.Put(name, store.Absent,
				Policy{Name: name, Authority: DefaultAuthority, ValidityMinutes: 1, KeyTypes: KeyTypes}))
	}
	if _, err := h.config.Documents.Commit(ctx, changes...); err != nil {
		t.Fatal(err)
	}
	if policies, err := h.Policies(ctx); err != nil || len(policies) != many+1 {
		t.Errorf("%d of %d policies are listed, error %v", len(policies), many+1, err)
	}
}

// With Exact a request is base64 of DER and nothing else.
func TestExactRequests(t *testing.T) {
	h, ctx := newHouse(t), t.Context()
	plain := csr(t, "d1")
	lines := plain[:40] + "\n" + plain[40:]
	armoured := "-----BEGIN CERTIFICATE REQUEST-----\n" + lines + "\n-----END CERTIFICATE REQUEST-----\n"
	for _, exact := range []bool{false, true} {
		h.config.Exact = exact
		for name, text := range map[string]string{"plain": plain, "with a line break": lines, "with a space": " " +
			plain, "armoured": armoured} {
			_, err := h.Check(ctx, DefaultPolicy, "d1", text)
			if taken := !exact || name == "plain"; taken && err != nil || !taken &&
				!errors.Is(err, fault.ArgumentInvalid) {
				t.Errorf("exact %t, %s: %v", exact, name, err)
			}
		}
	}
}
