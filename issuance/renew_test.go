package issuance

import (
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/store"
)

const year = 365 * 24 * time.Hour

// chain issues a certificate and holds its chain against the time as a client of the
// device does that trusts the root.
func (f *fixture) chain(id string) (leaf *x509.Certificate, root *x509.Certificate) {
	f.t.Helper()
	request, err := f.Check(f.t.Context(), DefaultPolicy, id, csr(f.t, id))
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
	var certificates []*x509.Certificate
	for _, der := range ders {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			f.t.Fatal(err)
		}
		certificates = append(certificates, certificate)
	}
	f.verifyChain(certificates)
	return certificates[0], certificates[2]
}

func (f *fixture) verifyChain(chain []*x509.Certificate) {
	f.t.Helper()
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	between.AddCert(chain[1])
	roots.AddCert(chain[2])
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: f.clock.Now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		f.t.Errorf("at %s: %v", f.clock.Now(), err)
	}
}

func (f *fixture) renew() {
	f.t.Helper()
	if err := f.Renew(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
}

// Over fifty years each certificate is for the whole time that its policy says, its
// chain can be verified, and its root was there before it was needed.
func TestAuthoritiesAreRenewed(t *testing.T) {
	f := newFixture(t)
	f.config.Audit = audit.Open(f.config.Documents, f.clock.Now)
	begin := f.clock.Now()
	if _, err := f.CreateAuthority(t.Context(), "gone", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := f.RevokeAuthority(t.Context(), "gone", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := f.PutPolicy(t.Context(), Policy{Name: DefaultPolicy, ValidityMinutes: maxValidity}, ""); err != nil {
		t.Fatal(err)
	}
	_, first := f.chain("d1")
	var latest *x509.Certificate
	for ; f.clock.Now().Before(begin.Add(50 * year)); f.clock.Advance(100 * 24 * time.Hour) {
		f.renew()
		leaf, root := f.chain("d1")
		if left := leaf.NotAfter.Sub(f.clock.Now()); left != maxValidity*time.Minute {
			t.Fatalf("at %s a certificate is good for %s", f.clock.Now(), left)
		}
		if err := f.verify(leaf, "d1"); err != nil {
			t.Fatal(err)
		}
		if root.Subject.String() != first.Subject.String() ||
			string(root.RawSubjectPublicKeyInfo) != string(first.RawSubjectPublicKeyInfo) {
			t.Fatalf("the root is another: %s", root.Subject)
		}
		if latest != nil {
			if err := latest.CheckSignatureFrom(f.signedBy(DefaultAuthority)); err != nil {
				t.Fatalf("what was issued before is not good under the authority of %s: %v", f.clock.Now(), err)
			}
		}
		latest = leaf
	}
	if gone, err := f.Authority(t.Context(), "gone"); err != nil || gone.NotAfter.After(begin.Add(authorityValidity)) {
		t.Errorf("an authority that was revoked is renewed: %+v, error %v", gone, err)
	}
	entries, _, err := f.config.Audit.Entries(t.Context(), audit.Filter{Kind: audit.Issuer, ID: DefaultAuthority})
	if err != nil || len(entries) == 0 || entries[0].Action != audit.Updated || entries[0].Actor != audit.Server.Name {
		t.Errorf("the audit has %+v, error %v", entries, err)
	}
}

func (f *fixture) signedBy(name string) *x509.Certificate {
	f.t.Helper()
	authority, err := f.Authority(f.t.Context(), name)
	if err != nil {
		f.t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(authority.Certificate))
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		f.t.Fatal(err)
	}
	return certificate
}

// What is renewed while the clock is wrong is good when it is right, and nothing is
// renewed that needs not be.
func TestAuthoritiesUnderAWrongClock(t *testing.T) {
	for _, wrong := range []time.Duration{400 * 24 * time.Hour, -400 * 24 * time.Hour, 15 * year, -15 * year,
		25 * year} {
		t.Run(wrong.String(), func(t *testing.T) {
			f := newFixture(t)
			right := f.clock.Now()
			f.clock.Set(right.Add(wrong))
			f.renew()
			f.chain("d1")
			f.clock.Set(right)
			f.renew()
			leaf, _ := f.chain("d1")
			if err := f.verify(leaf, "d1"); err != nil {
				t.Error(err)
			}
			before := f.signedBy(DefaultAuthority)
			if f.renew(); !f.signedBy(DefaultAuthority).Equal(before) {
				t.Error("an authority is renewed at each look")
			}
		})
	}
}

// An authority whose key can't be read is told of, and the others are renewed.
func TestOneAuthorityThatCannotBeRenewed(t *testing.T) {
	f := newFixture(t)
	if _, err := f.CreateAuthority(t.Context(), "broken", ""); err != nil { // before default, as they are read
		t.Fatal(err)
	}
	stored, _, err := f.authorities.Get(t.Context(), "broken")
	if err != nil {
		t.Fatal(err)
	}
	stored.Key = "no key"
	if _, err := f.config.Documents.Commit(t.Context(), f.authorities.Put("broken", store.Always, stored)); err != nil {
		t.Fatal(err)
	}
	before := f.signedBy(DefaultAuthority)
	f.clock.Advance(9 * year)
	f.Service.opened = make(map[string]openedAuthority) // as after a restart
	if err := f.Renew(t.Context()); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("the error is %v", err)
	}
	if after := f.signedBy(DefaultAuthority); !after.NotAfter.After(before.NotAfter) {
		t.Errorf("the other authority is good until %s as before", after.NotAfter)
	}
}
