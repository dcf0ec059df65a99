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
func (h *fixture) chain(id string) (leaf *x509.Certificate, root *x509.Certificate) {
	h.t.Helper()
	request, err := h.Check(h.t.Context(), DefaultPolicy, id, csr(h.t, id))
	if err != nil {
		h.t.Fatal(err)
	}
	ders, changes, err := h.Issue(h.t.Context(), request)
	if err == nil {
		_, err = h.config.Documents.Commit(h.t.Context(), changes...)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	var certificates []*x509.Certificate
	for _, der := range ders {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			h.t.Fatal(err)
		}
		certificates = append(certificates, certificate)
	}
	h.verifyChain(certificates)
	return certificates[0], certificates[2]
}

func (h *fixture) verifyChain(chain []*x509.Certificate) {
	h.t.Helper()
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	between.AddCert(chain[1])
	roots.AddCert(chain[2])
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: h.now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		h.t.Errorf("at %s: %v", h.now, err)
	}
}

func (h *fixture) renew() {
	h.t.Helper()
	if err := h.Renew(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

// Over fifty years each certificate is for the whole time that its policy says, its
// chain can be verified, and its root was there before it was needed.
func TestAuthoritiesAreRenewed(t *testing.T) {
	h := newFixture(t)
	h.config.Audit = audit.Open(h.config.Documents, func() time.Time { return h.now })
	begin := h.now
	if _, err := h.CreateAuthority(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.RevokeAuthority(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.PutPolicy(t.Context(), Policy{Name: DefaultPolicy, ValidityMinutes: maxValidity}, ""); err != nil {
		t.Fatal(err)
	}
	_, first := h.chain("d1")
	var latest *x509.Certificate
	for ; h.now.Before(begin.Add(50 * year)); h.now = h.now.Add(100 * 24 * time.Hour) {
		h.renew()
		leaf, root := h.chain("d1")
		if left := leaf.NotAfter.Sub(h.now); left != maxValidity*time.Minute {
			t.Fatalf("at %s a certificate is good for %s", h.now, left)
		}
		if err := h.verify(leaf, "d1"); err != nil {
			t.Fatal(err)
		}
		if root.Subject.String() != first.Subject.String() || string(root.RawSubjectPublicKeyInfo) != string(first.RawSubjectPublicKeyInfo) {
			t.Fatalf("the root is another: %s", root.Subject)
		}
		if latest != nil {
			if err := latest.CheckSignatureFrom(h.signedBy(DefaultAuthority)); err != nil {
				t.Fatalf("what was issued before is not good under the authority of %s: %v", h.now, err)
			}
		}
		latest = leaf
	}
	if gone, err := h.Authority(t.Context(), "gone"); err != nil || gone.NotAfter.After(begin.Add(authorityValidity)) {
		t.Errorf("an authority that was revoked is renewed: %+v, error %v", gone, err)
	}
	entries, _, err := h.config.Audit.Entries(t.Context(), audit.Filter{Kind: audit.Issuer, ID: DefaultAuthority})
	if err != nil || len(entries) == 0 || entries[0].Action != audit.Updated || entries[0].Actor != audit.Server.Name {
		t.Errorf("the audit has %+v, error %v", entries, err)
	}
}

func (h *fixture) signedBy(name string) *x509.Certificate {
	h.t.Helper()
	authority, err := h.Authority(h.t.Context(), name)
	if err != nil {
		h.t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(authority.Certificate))
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		h.t.Fatal(err)
	}
	return certificate
}

// What is renewed while the clock is wrong is good when it is right, and nothing is
// renewed that needs not be.
func TestAuthoritiesUnderAWrongClock(t *testing.T) {
	for _, wrong := range []time.Duration{400 * 24 * time.Hour, -400 * 24 * time.Hour, 15 * year, -15 * year, 25 * year} {
		t.Run(wrong.String(), func(t *testing.T) {
			h := newFixture(t)
			right := h.now
			h.now = right.Add(wrong)
			h.renew()
			h.chain("d1")
			h.now = right
			h.renew()
			leaf, _ := h.chain("d1")
			if err := h.verify(leaf, "d1"); err != nil {
				t.Error(err)
			}
			before := h.signedBy(DefaultAuthority)
			if h.renew(); !h.signedBy(DefaultAuthority).Equal(before) {
				t.Error("an authority is renewed at each look")
			}
		})
	}
}

// An authority whose key can't be read is told of, and the others are renewed.
func TestOneAuthorityThatCannotBeRenewed(t *testing.T) {
	h := newFixture(t)
	if _, err := h.CreateAuthority(t.Context(), "broken"); err != nil { // before default, as they are read
		t.Fatal(err)
	}
	stored, _, err := h.authorities.Get(t.Context(), "broken")
	if err != nil {
		t.Fatal(err)
	}
	stored.Key = "no key"
	if _, err := h.config.Documents.Commit(t.Context(), h.authorities.Put("broken", store.Always, stored)); err != nil {
		t.Fatal(err)
	}
	before := h.signedBy(DefaultAuthority)
	h.now = h.now.Add(9 * year)
	h.Service.opened = make(map[string]openedAuthority) // as after a restart
	if err := h.Renew(t.Context()); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("the error is %v", err)
	}
	if after := h.signedBy(DefaultAuthority); !after.NotAfter.After(before.NotAfter) {
		t.Errorf("the other authority is good until %s as before", after.NotAfter)
	}
}
