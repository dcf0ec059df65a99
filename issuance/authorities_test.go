package issuance

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// company is an authority of an operator's own, with one below it that signs.
type company struct {
	t             *testing.T
	root, between *x509.Certificate
	rootKey, key  crypto.Signer // of the root, and of the one in between
	now           time.Time
}

func newCompany(t *testing.T, now time.Time) *company {
	t.Helper()
	root, err := credential.NewAuthority("Company root", now.Add(-time.Hour), 10*year)
	if err != nil {
		t.Fatal(err)
	}
	c := &company{t: t, root: root.Certificate, rootKey: root.Key, now: now}
	if c.key, err = credential.NewPrivateKey(credential.EC256); err != nil {
		t.Fatal(err)
	}
	c.between = c.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "Company issuing"}, NotAfter: now.Add(5 * year),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true}, c.key.Public(), c.root, c.rootKey)
	return c
}

func (c *company) sign(template *x509.Certificate, public crypto.PublicKey, parent *x509.Certificate,
	key crypto.Signer) *x509.Certificate {
	c.t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		c.t.Fatal(err)
	}
	template.SerialNumber = serial
	if template.NotBefore.IsZero() {
		template.NotBefore = c.now.Add(-time.Hour)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = c.now.Add(year)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		c.t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		c.t.Fatal(err)
	}
	return certificate
}

// signRequest signs an authority's request, as change makes the certificate.
func (c *company) signRequest(requestPEM string, change func(*x509.Certificate)) *x509.Certificate {
	c.t.Helper()
	block, _ := pem.Decode([]byte(requestPEM))
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		c.t.Fatal(err)
	}
	template := &x509.Certificate{Subject: request.Subject, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true}
	if change != nil {
		change(template)
	}
	return c.sign(template, request.PublicKey, c.between, c.key)
}

func encoded(certificates ...*x509.Certificate) []byte {
	var text []byte
	for _, certificate := range certificates {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})...)
	}
	return text
}

// An authority under one of the operator's own: Berth makes the request, the operator
// brings the chain, devices get all of it, and it is renewed with the same key.
func TestAnAuthorityOfTheOperatorsOwn(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	company := newCompany(t, f.clock.Now())
	made, err := f.RequestAuthority(ctx, "Factory", "Factory issuing", "")
	if err != nil || made.Certificate != "" || made.Name != "factory" {
		t.Fatalf("made is %+v, error %v", made, err)
	}
	shown, err := json.Marshal(made)
	for _, absent := range []string{"certificate", "root", "notAfter", "0001"} {
		if err != nil || strings.Contains(string(shown), `"`+absent) {
			t.Errorf("what is not there is shown: %s, error %v", shown, err)
		}
	}
	for _, name := range []string{"a\x00", "a\n", "\u0085", "é\x7f"} {
		if _, err := f.RequestAuthority(ctx, "other", name, ""); !errors.Is(err, fault.ArgumentInvalid) {
			t.Errorf("the common name %q is answered %v", name, err)
		}
	}
	block, _ := pem.Decode([]byte(made.Request))
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || request.CheckSignature() != nil || request.Subject.CommonName != "Factory issuing" ||
		len(request.Extensions) != 2 {
		t.Fatalf("the request is %+v, error %v", request, err)
	}
	if _, err := f.PutPolicy(ctx, Policy{Name: "made", Authority: "factory"}, ""); !errors.Is(err,
		fault.ArgumentInvalid) {
		t.Errorf("a policy of one that can't sign is answered %v", err)
	}
	own := company.signRequest(made.Request, nil)
	stranger := newCompany(t, f.clock.Now())
	for name, c := range map[string]struct {
		chain []byte
		says  string
	}{
		"nothing":                    {[]byte("hello"), ""},
		"without the root":           {encoded(own, company.between), "root is missing"},
		"without the one in between": {encoded(own, company.root), "does not lead to the root"},
		"with another's root":        {encoded(own, company.between, stranger.root), "does not lead to the root"},
		"of another":                 {encoded(company.between, company.root), "none of the certificates"},
		"that is no authority": {encoded(company.signRequest(made.Request, func(c *x509.Certificate) {
			c.IsCA, c.MaxPathLenZero, c.KeyUsage = false, false, x509.KeyUsageDigitalSignature
		}), company.between, company.root), "basicConstraints"},
		"that may not sign": {encoded(company.signRequest(made.Request, func(c *x509.Certificate) {
			c.KeyUsage = x509.KeyUsageDigitalSignature
		}), company.between, company.root), "keyCertSign"},
		"that has expired": {encoded(company.signRequest(made.Request, func(c *x509.Certificate) {
			c.NotAfter = company.now.Add(-time.Minute)
		}), company.between, company.root), "Have the request signed again"},
	} {
		if _, err := f.ActivateAuthority(ctx, "factory", c.chain, ""); !errors.Is(err, fault.ArgumentInvalid) ||
			!strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "x509:") {
			t.Errorf("a chain %s is answered %v, want a fault that says %q", name, err, c.says)
		}
	}
	active, err := f.ActivateAuthority(ctx, "factory", encoded(company.root, own, company.between), "") // in any order
	if err != nil || !active.NotAfter.Equal(own.NotAfter) {
		t.Fatalf("activated is %+v, error %v", active, err)
	}
	if _, err := f.PutPolicy(ctx, Policy{Name: "made", Authority: "factory"}, ""); err != nil {
		t.Fatal(err)
	}
	chain := f.chainOf("made", "d1")
	if len(chain) != 4 || !chain[1].Equal(own) || !chain[2].Equal(company.between) || !chain[3].Equal(company.root) {
		t.Fatalf("a device gets a chain of %d", len(chain))
	}
	leaf := chain[0]
	if err := f.verify(leaf, "d1"); err != nil {
		t.Error(err)
	}
	// Renew leaves it to its operator, who has another request signed, for the same key.
	f.renew()
	again, err := f.RequestAuthority(ctx, "factory", "", "")
	if err != nil || again.Request == made.Request || again.Certificate != active.Certificate {
		t.Fatalf("asked again it is %+v, error %v", again, err)
	}
	if name := requestedName(again.Request); name != "Factory issuing" {
		t.Errorf("asked again it is called %q", name)
	}
	renewed := company.signRequest(again.Request, func(c *x509.Certificate) { c.NotAfter = company.now.Add(2 * year) })
	if _, err := f.ActivateAuthority(ctx, "factory", encoded(renewed, company.between, company.root), ""); err != nil {
		t.Fatal(err)
	}
	if err := f.verify(leaf, "d1"); err != nil {
		t.Errorf("what it has signed before: %v", err)
	}
	if chain := f.chainOf("made", "d1"); !chain[1].Equal(renewed) {
		t.Error("it signs with the former certificate")
	}
	// Its certificate is not Berth's to renew: once it has expired it signs no more.
	f.clock.Set(renewed.NotAfter.Add(time.Hour))
	if _, err := f.Check(ctx, "made", "d1", csr(t, "d1")); !errors.Is(err, fault.Unavailable) {
		t.Errorf("an authority that has expired is answered %v", err)
	}
	for name, err := range map[string]error{
		"a request of one of Berth's": second(f.RequestAuthority(ctx, DefaultAuthority, "", "")),
		"a chain for one of Berth's":  second(f.ActivateAuthority(ctx, DefaultAuthority, encoded(own), "")),
		"a name of Berth's root":      second(f.RequestAuthority(ctx, "root", "", "")),
	} {
		if !errors.Is(err, fault.Conflict) {
			t.Errorf("%s is answered %v", name, err)
		}
	}
}

func second[A, B any](_ A, b B) B { return b }

// chainOf issues a certificate and returns its chain.
func (f *fixture) chainOf(policy, id string) (chain []*x509.Certificate) {
	f.t.Helper()
	request, err := f.Check(f.t.Context(), policy, id, csr(f.t, id))
	if err != nil {
		f.t.Fatal(err)
	}
	ders, changes, err := f.Issue(f.t.Context(), request)
	if err == nil {
		_, err = f.config.Documents.Commit(f.t.Context(), changes...)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for i, der := range ders {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			f.t.Fatal(err)
		}
		if chain = append(chain, certificate); i > 0 && i < len(ders)-1 {
			between.AddCert(certificate)
		}
	}
	roots.AddCert(chain[len(chain)-1])
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: f.clock.Now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		f.t.Errorf("the chain of %s: %v", id, err)
	}
	return chain
}

// Revoked and rotated in one step: what the former authority signed is void, and its
// policies go on with the other, which is made when there is none.
func TestAuthoritiesAreRotated(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	if _, err := f.PutPolicy(ctx, Policy{Name: "short", ValidityMinutes: 60}, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := f.CreateAuthority(ctx, "third", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := f.PutPolicy(ctx, Policy{Name: "apart", Authority: "third"}, ""); err != nil {
		t.Fatal(err)
	}
	old := f.issue("short", "d1")
	if _, err := f.RotateAuthority(ctx, DefaultAuthority, "second", ""); err != nil {
		t.Fatal(err)
	}
	if err := f.verify(old, "d1"); !errors.Is(err, fault.UnauthorizedAccess) {
		t.Errorf("what the former one signed is answered %v", err)
	}
	policies, err := f.Policies(ctx)
	got := map[string]string{}
	for _, policy := range policies {
		got[policy.Name] = policy.Authority
	}
	if want := fmt.Sprint(map[string]string{"default": "second", "short": "second", "apart": "third"}); err != nil ||
		fmt.Sprint(got) != want {
		t.Errorf("the policies name %v, want %s, error %v", got, want, err)
	}
	if err := f.verify(f.issue("short", "d1"), "d1"); err != nil {
		t.Errorf("what the other one signs: %v", err)
	}
	pending, err := f.RequestAuthority(ctx, "pending", "", "")
	if err != nil {
		t.Fatal(err)
	}
	for to, code := range map[string]fault.Code{"second": fault.ArgumentInvalid, DefaultAuthority: fault.Conflict,
		pending.Name: fault.Conflict, "no name": fault.ArgumentInvalid, "root": fault.Conflict} {
		if _, err := f.RotateAuthority(ctx, "second", to, ""); !errors.Is(err, code) {
			t.Errorf("to %s it is answered %v", to, err)
		}
	}
	if authority, err := f.Authority(ctx, "second"); err != nil || !authority.Revoked.IsZero() {
		t.Errorf("after refusals it is %+v, error %v", authority, err)
	}
}

// What is in use is not deleted unless that is forced, and a deleted authority's name
// and certificates never come to life again.
func TestDeleteInUse(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	users := &users{by: PolicyUser{ID: "meters", Group: true}}
	f.Follow(users)
	if err := f.DeletePolicy(ctx, "nothing", "", false); !errors.Is(err, fault.NotFound) {
		t.Errorf("a policy that is not there is answered %v", err)
	}
	for _, by := range []PolicyUser{{ID: "meters", Group: true}, {ID: "d1"}} {
		users.by = by
		if err := f.DeletePolicy(ctx, DefaultPolicy, "", false); !errors.Is(err, fault.Conflict) ||
			!strings.Contains(err.Error(), by.ID) {
			t.Errorf("a policy that %+v names is answered %v", by, err)
		}
	}
	certificate := f.issue(DefaultPolicy, "d1")
	if err := f.DeleteAuthority(ctx, DefaultAuthority, "", false); !errors.Is(err, fault.Conflict) ||
		!strings.Contains(err.Error(), "credential policy default") {
		t.Errorf("an authority that a policy names is answered %v", err)
	}
	if err := f.DeletePolicy(ctx, DefaultPolicy, "", true); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Check(ctx, DefaultPolicy, "d1", csr(t, "d1")); !errors.Is(err, fault.Unavailable) {
		t.Errorf("a policy that is gone is answered %v", err)
	}
	if err := f.DeleteAuthority(ctx, DefaultAuthority, "", false); !errors.Is(err, fault.Conflict) ||
		!strings.Contains(err.Error(), "good until") {
		t.Errorf("an authority whose certificates are good is answered %v", err)
	}
	var told []Revocation
	f.OnRevoke(func(r Revocation) { told = append(told, r) })
	if err := f.DeleteAuthority(ctx, DefaultAuthority, "", true); err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || told[0].Authority != DefaultAuthority {
		t.Errorf("told were %+v", told)
	}
	if authorities, err := f.Authorities(ctx); err != nil || len(authorities) != 0 {
		t.Errorf("there are %+v, error %v", authorities, err)
	}
	for name, err := range map[string]error{
		"to create it":  second(f.CreateAuthority(ctx, DefaultAuthority, "")),
		"to request it": second(f.RequestAuthority(ctx, DefaultAuthority, "", "")),
		"to rotate to it": func() error {
			if _, err := f.CreateAuthority(ctx, "second", ""); err != nil {
				return err
			}
			return second(f.RotateAuthority(ctx, "second", DefaultAuthority, ""))
		}(),
	} {
		if !errors.Is(err, fault.Conflict) {
			t.Errorf("%s again is answered %v", name, err)
		}
	}
	if err := f.verify(certificate, "d1"); !errors.Is(err, fault.UnauthorizedAccess) {
		t.Errorf("what it signed is answered %v", err)
	}
	f.renew() // and leaves it as it is
	// One that nobody needs goes without force.
	if err := f.DeleteAuthority(ctx, "second", "", false); err != nil {
		t.Error(err)
	}
	users.by = PolicyUser{}
	if _, err := f.CreateAuthority(ctx, "fourth", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := f.PutPolicy(ctx, Policy{Name: "unused", Authority: "fourth"}, ""); err != nil {
		t.Fatal(err)
	}
	if err := f.DeletePolicy(ctx, "unused", "", false); err != nil {
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
	f, ctx := newFixture(t), t.Context()
	const many = revokedAtOnce + 20
	var own []*x509.Certificate
	for range many {
		own = append(own, f.issue(DefaultPolicy, "Meter"))
		f.clock.Advance(time.Second)
	}
	other := f.issue(DefaultPolicy, "meter-2")
	if _, err := f.Revoke(ctx, thumbprint(own[0])); err != nil {
		t.Fatal(err)
	}
	var told []Revocation
	f.OnRevoke(func(r Revocation) { told = append(told, r) })
	if revoked, err := f.RevokeDevice(ctx, "meter"); err != nil || revoked != many-1 {
		t.Fatalf("%d were revoked, error %v", revoked, err)
	}
	if len(told) != 1 || told[0] != (Revocation{RegistrationID: "meter"}) {
		t.Errorf("told were %+v", told)
	}
	for i, certificate := range own {
		if err := f.verify(certificate, "Meter"); !errors.Is(err, fault.UnauthorizedAccess) {
			t.Fatalf("certificate %d is answered %v", i, err)
		}
	}
	if err := f.verify(other, "meter-2"); err != nil {
		t.Errorf("another device: %v", err)
	}
	if revoked, err := f.RevokeDevice(ctx, "meter"); err != nil || revoked != 0 {
		t.Errorf("again %d were revoked, error %v", revoked, err)
	}
	if _, err := f.RevokeDevice(ctx, "nobody"); !errors.Is(err, fault.NotFound) {
		t.Errorf("a device without certificates is answered %v", err)
	}
	if err := f.verify(f.issue(DefaultPolicy, "meter"), "meter"); err != nil {
		t.Errorf("a new one: %v", err)
	}
}

// A list ends only where there is nothing more: page by page it has every certificate
// of a device, the latest first.
func TestIssuedInPages(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	var want []string
	for range 23 {
		want = append(want, thumbprint(f.issue(DefaultPolicy, "meter")))
		f.clock.Advance(time.Second)
	}
	f.issue(DefaultPolicy, "meter-2")
	for _, size := range []int{1, 5, 22, 23, 24, 100} {
		var got []string
		pages := 0
		for after := ""; ; pages++ {
			some, next, err := f.Issued(ctx, "meter", after, size)
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
	f, ctx := newFixture(t), t.Context()
	const many = listStride + 5
	var changes []store.Change
	for i := range many {
		name := fmt.Sprintf("policy-%04d", i)
		changes = append(changes,
			f.policies.Put(name, store.Absent,
				Policy{Name: name, Authority: DefaultAuthority, ValidityMinutes: 1, KeyTypes: KeyTypes}))
	}
	if _, err := f.config.Documents.Commit(ctx, changes...); err != nil {
		t.Fatal(err)
	}
	if policies, err := f.Policies(ctx); err != nil || len(policies) != many+1 {
		t.Errorf("%d of %d policies are listed, error %v", len(policies), many+1, err)
	}
}

// With Exact a request is base64 of DER and nothing else.
func TestExactRequests(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	plain := csr(t, "d1")
	lines := plain[:40] + "\n" + plain[40:]
	armoured := "-----BEGIN CERTIFICATE REQUEST-----\n" + lines + "\n-----END CERTIFICATE REQUEST-----\n"
	for _, exact := range []bool{false, true} {
		f.config.Exact = exact
		for name, text := range map[string]string{"plain": plain, "with a line break": lines, "with a space": " " +
			plain, "armoured": armoured} {
			_, err := f.Check(ctx, DefaultPolicy, "d1", text)
			if taken := !exact || name == "plain"; taken && err != nil || !taken &&
				!errors.Is(err, fault.ArgumentInvalid) {
				t.Errorf("exact %t, %s: %v", exact, name, err)
			}
		}
	}
}
