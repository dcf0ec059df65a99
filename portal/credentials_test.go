package portal

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"strings"
	"testing"
	"time"
)

// issue gives a device a certificate.
func (h *house) issue(id string) {
	h.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	h.must(err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: id}}, key)
	h.must(err)
	request, err := h.config.Issuer.Check(ctx, "default", id, base64.StdEncoding.EncodeToString(der))
	h.must(err)
	_, changes, err := h.config.Issuer.Issue(ctx, request)
	h.must(err)
	_, err = h.config.Documents.Commit(ctx, changes...)
	h.must(err)
}

// The page of a device's certificates says that there are more than it shows.
func TestOlderCertificatesOfADevice(t *testing.T) {
	h := newHouse(t)
	for range pageSize {
		h.issue("d1")
		h.advance(time.Minute)
	}
	b := h.loggedIn(Reader)
	for older, says := range []string{"", "1 older one is not shown", "2 older ones are not shown"} {
		_, page := b.get("credentials?prefix=d1")
		if rows := strings.Count(page, `?prefix=d1#issued`); rows != pageSize {
			t.Errorf("of %d certificates %d are shown", pageSize+older, rows)
		}
		if says == "" && strings.Contains(page, "older one") || !strings.Contains(page, says) {
			t.Errorf("of %d certificates the page does not say %q", pageSize+older, says)
		}
		if older > 0 && !strings.Contains(page, "berth credential list --device d1") {
			t.Error("the page does not say how to see them")
		}
		h.issue("d1")
		h.advance(time.Minute)
	}
}
