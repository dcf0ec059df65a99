package issuance

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/clock/clocktest"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store/memory"
)

// fixture is a service whose clock the test sets.
type fixture struct {
	*Service
	clock clocktest.Clock
	t     *testing.T
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	documents := memory.New().Open()
	t.Cleanup(func() { documents.Close() })
	f := &fixture{t: t}
	f.clock.Set(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))
	var err error
	if f.Service, err = Open(t.Context(), Config{Documents: documents, Now: f.clock.Now}); err != nil {
		t.Fatal(err)
	}
	return f
}

func csr(t *testing.T, name string, dnsNames ...string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{Subject: pkix.Name{CommonName: name}, DNSNames: dnsNames}, key)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

// issue gives a device a certificate.
func (f *fixture) issue(policy, id string) *x509.Certificate {
	f.t.Helper()
	request, err := f.Check(f.t.Context(), policy, id, csr(f.t, id))
	if err != nil {
		f.t.Fatal(err)
	}
	chain, changes, err := f.Issue(f.t.Context(), request)
	if err == nil {
		_, err = f.config.Documents.Commit(f.t.Context(), changes...)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(chain[0])
	if err != nil {
		f.t.Fatal(err)
	}
	return certificate
}

func (f *fixture) verify(certificate *x509.Certificate, id string) error {
	_, err := f.Verify(f.t.Context(), certificate, id)
	return err
}

// A certificate is good for its device and its time, until it or its authority is
// revoked; whoever holds connections is told.
func TestVerify(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	var told []Revocation
	f.OnRevoke(func(r Revocation) { told = append(told, r) })
	if _, err := f.CreateAuthority(ctx, "second", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := f.PutPolicy(ctx, Policy{Name: "short", Authority: "second", ValidityMinutes: 60}, ""); err != nil {
		t.Fatal(err)
	}
	one, other, short := f.issue("default", "one"), f.issue("default", "other"), f.issue("short", "one")
	refused := func(name string, certificate *x509.Certificate, id string) {
		t.Helper()
		if err := f.verify(certificate, id); !errors.Is(err, fault.UnauthorizedAccess) {
			t.Errorf("%s is answered %v", name, err)
		}
	}
	good := func(certificates ...*x509.Certificate) {
		t.Helper()
		for _, certificate := range certificates {
			if err := f.verify(certificate, certificate.Subject.CommonName); err != nil {
				t.Errorf("the certificate of %s: %v", certificate.Subject.CommonName, err)
			}
		}
	}
	good(one, other, short)
	refused("another's", one, "other")
	if _, err := f.Revoke(ctx, thumbprint(one)); err != nil {
		t.Fatal(err)
	}
	refused("a revoked one", one, "one")
	good(other, short)
	if _, err := f.RevokeAuthority(ctx, "second", ""); err != nil {
		t.Fatal(err)
	}
	refused("one of a revoked authority", short, "one")
	good(other)
	if want := []Revocation{{Thumbprint: thumbprint(one)}, {Authority: "second"}}; !slices.Equal(told, want) {
		t.Errorf("told were %+v, want %+v", told, want)
	}
	if f.Good(ctx, thumbprint(one)) || f.Good(ctx, thumbprint(short)) || !f.Good(ctx, thumbprint(other)) ||
		f.Good(ctx, "00") {
		t.Error("what is good is not what is verified")
	}
	f.clock.Advance(31 * 24 * time.Hour)
	refused("an expired one", other, "other")
	if _, err := f.Check(ctx, "short", "one", csr(t, "one")); !errors.Is(err, fault.Unavailable) {
		t.Errorf("a revoked authority signs: %v", err)
	}
}

// The names that a request may ask for are those of the policy's patterns, label by
// label.
func TestNames(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	named := Policy{Name: "named", DNSNames: []string{"{registrationId}.example.com", "*.plant.example.com"}}
	if _, err := f.PutPolicy(ctx, named, ""); err != nil {
		t.Fatal(err)
	}
	for name, allowed := range map[string]bool{
		"meter.example.com": true, "METER.Example.com": true, "other.example.com": false, "x.plant.example.com": true,
		"x.y.plant.example.com": false, "plant.example.com": false, "meter.example.com.evil.org": false,
	} {
		if _, err := f.Check(ctx, "named", "meter", csr(t, "meter", name)); (err == nil) != allowed {
			t.Errorf("%s is answered %v", name, err)
		}
		if _, err := f.Check(ctx, "default", "meter", csr(t, "meter", name)); err == nil {
			t.Errorf("%s is allowed by a policy without names", name)
		}
	}
}

// TestPatterns refuses patterns that no name can match, for which an operator would wait in
// vain.
func TestPatterns(t *testing.T) {
	f := newFixture(t)
	for taken, patterns := range map[bool][]string{
		true: {"{registrationId}", "a-{registrationId}.x.example", "*.example.com", "node-?.example", "[a-c]1.example",
			"_sip.example", strings.Repeat("a", 63) + ".example", "{registrationId}.{registrationId}"},
		false: {"", "{deviceId}.x", "{registrationid}.x", "a{.x", "a..b", ".a", "a.", ".", "[a.b]", "a/b.example",
			"a b.example", "é.example", "a\x00.example", strings.Repeat("a", 64) + ".example",
			strings.Repeat("a.", 127)},
	} {
		for _, pattern := range patterns {
			_, err := f.PutPolicy(t.Context(), Policy{Name: "named", DNSNames: []string{pattern}}, "")
			if (err == nil) != taken || err != nil && !errors.Is(err, fault.ArgumentInvalid) {
				t.Errorf("%q is answered %v", pattern, err)
			}
		}
	}
}

// The list of a device's certificates begins with the latest, and those that expired
// long ago go.
func TestOldCertificatesGo(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	if _, err := f.PutPolicy(ctx, Policy{Name: "daily", ValidityMinutes: 24 * 60}, ""); err != nil {
		t.Fatal(err)
	}
	neighbour := f.issue("daily", "meter-2")
	const days = 120
	var last *x509.Certificate
	for range days {
		f.clock.Advance(24 * time.Hour)
		last = f.issue("daily", "meter")
	}
	issued, _, err := f.Issued(ctx, "Meter", "", 100)
	if err != nil || issued[0].Thumbprint != thumbprint(last) ||
		!slices.IsSortedFunc(issued, func(a, b Certificate) int { return b.Issued.Compare(a.Issued) }) {
		t.Fatalf("the latest is %+v, error %v", issued[0], err)
	}
	// Those of today and yesterday, and those of the ninety days before.
	if len(issued) < 91 || len(issued) > 92 ||
		f.clock.Now().Sub(issued[len(issued)-1].NotAfter) > expiredKept+24*time.Hour {
		t.Errorf("%d are kept, the oldest expired at %s", len(issued), issued[len(issued)-1].NotAfter)
	}
	if kept, _, err := f.Certificates(ctx, "", "", 1000); err != nil || len(kept) != len(issued)+1 {
		t.Errorf("%d are kept in all, error %v", len(kept), err)
	}
	if _, err := f.Certificate(ctx, thumbprint(neighbour)); err != nil {
		t.Errorf("that of another device: %v", err)
	}
	if err := f.verify(last, "meter"); err != nil {
		t.Error(err)
	}
	if _, _, err := f.Issued(context.Background(), "nobody", "", 100); err != nil {
		t.Error(err)
	}
}

// TestClockAhead issues while the clock is 400 days ahead and not trusted: no
// certificate is forgotten, and what is issued is good when the clock is right again.
func TestClockAhead(t *testing.T) {
	f := newFixture(t)
	right := f.clock.Now()
	for range 3 {
		f.issue(DefaultPolicy, "d1")
		f.clock.Advance(time.Minute)
	}
	trusted := true
	f.config.Trusted = func() bool { return trusted }
	f.config.Earliest = func() time.Time {
		if trusted {
			return f.clock.Now()
		}
		return right
	}
	trusted = false
	f.clock.Set(right.Add(400 * 24 * time.Hour))
	issued := f.issue(DefaultPolicy, "d1")
	if issued.NotBefore.After(right) || issued.NotAfter.Before(f.clock.Now()) {
		t.Errorf("it is good from %v to %v, and it is %v or %v", issued.NotBefore, issued.NotAfter, right,
			f.clock.Now())
	}
	if all, _, err := f.Issued(t.Context(), "d1", "", 100); err != nil || len(all) != 4 {
		t.Errorf("there are %d certificates of 4, %v", len(all), err)
	}
	trusted = true
	f.issue(DefaultPolicy, "d1")
	if all, _, err := f.Issued(t.Context(), "d1", "", 100); err != nil || len(all) != 3 {
		t.Errorf("there are %d certificates, want those two that are young and one that is not yet cleared away, %v",
			len(all), err)
	}
}
