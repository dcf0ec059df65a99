package portal

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/provisioning"
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

// A device's certificates are all there, page by page, the latest first.
func TestCertificatesOfADeviceInPages(t *testing.T) {
	h := newHouse(t)
	for range pageSize + 1 {
		h.issue("d1")
		h.advance(time.Minute)
	}
	h.issue("d2")
	b := h.loggedIn(Reader)
	_, page := b.get("credentials?prefix=d1")
	if rows := strings.Count(page, `<td class="id"><a href="?prefix=d1#issued">`); rows != pageSize {
		t.Errorf("the first page shows %d certificates", rows)
	}
	next := nextPage.FindStringSubmatch(page)
	if next == nil {
		t.Fatalf("the first page leads nowhere:\n%s", page)
	}
	_, page = b.get("credentials" + html.UnescapeString(strings.TrimSuffix(next[1], "#issued")))
	if rows := strings.Count(page, `<td class="id"><a href="?prefix=d1#issued">`); rows != 1 || nextPage.MatchString(page) {
		t.Errorf("the second page shows %d certificates", rows)
	}
	if strings.Contains(page, "Revoke all certificates") {
		t.Error("a reader is offered to revoke")
	}
}

var nextPage = regexp.MustCompile(`<a href="([^"]+)" rel="next">`)

// All certificates of a device are revoked by one button, which the ticked boxes beside
// it have no part in.
func TestRevokeADevice(t *testing.T) {
	h := newHouse(t)
	h.issue("d1")
	h.issue("d1")
	h.issue("d2")
	b := h.loggedIn(Operator)
	if _, page := b.get("credentials?prefix=D1"); !strings.Contains(page,
		`formaction="/portal/credentials/devices/revoke" name="device" value="d1"`) {
		t.Errorf("there is no button:\n%s", page)
	}
	other, _, err := h.config.Issuer.Issued(ctx, "d2", "", 1)
	h.must(err)
	status, page := b.post("credentials/devices/revoke",
		url.Values{"csrf": {b.token()}, "device": {"d1"}, "id": {other[0].Thumbprint}})
	if status != http.StatusOK || !strings.Contains(page, `name="id" value="d1"`) ||
		strings.Contains(page, other[0].Thumbprint) {
		t.Fatalf("it is answered %d:\n%s", status, page)
	}
	if status, page = b.post("credentials/devices/revoke",
		url.Values{"csrf": {b.token()}, "id": {"d1"}, "confirm": {"yes"}}); status != http.StatusOK ||
		!strings.Contains(page, "all certificates of 1 device were revoked") {
		t.Errorf("confirmed it is answered %d:\n%s", status, page)
	}
	for id, revoked := range map[string]bool{"d1": true, "d2": false} {
		issued, _, err := h.config.Issuer.Issued(ctx, id, "", 10)
		h.must(err)
		for _, one := range issued {
			if one.Revoked.IsZero() == revoked {
				t.Errorf("that of %s: %+v", id, one)
			}
		}
	}
}

// A policy and an authority in use are deleted only when the box is ticked.
func TestForcedDeletion(t *testing.T) {
	h := newHouse(t)
	_, err := h.config.Provisioning.PutGroup(ctx, provisioning.EnrollmentGroup{EnrollmentGroupID: "meters",
		Attestation: provisioning.AttestationMechanism{Type: "symmetricKey"}, CredentialPolicyName: "default"}, "")
	h.must(err)
	b := h.loggedIn(Operator)
	for _, path := range []string{"credentials/authorities/delete", "credentials/delete"} {
		form := url.Values{"csrf": {b.token()}, "id": {"default"}}
		if status, page := b.post(path, form); status != http.StatusOK || !strings.Contains(page, `name="force"`) {
			t.Errorf("%s has no box: %d\n%s", path, status, page)
		}
		form.Set("confirm", "yes")
		if status, page := b.post(path, form); status != http.StatusConflict ||
			!strings.Contains(page, "force the deletion") {
			t.Errorf("%s without force is answered %d:\n%s", path, status, page)
		}
		form.Set("force", "yes")
		if status, page := b.post(path, form); status != http.StatusOK || !strings.Contains(page, "was deleted") {
			t.Errorf("%s by force is answered %d:\n%s", path, status, page)
		}
	}
	policies, err := h.config.Issuer.Policies(ctx)
	h.must(err)
	authorities, err := h.config.Issuer.Authorities(ctx)
	h.must(err)
	if len(policies)+len(authorities) > 0 {
		t.Errorf("left are %+v and %+v", policies, authorities)
	}
}
