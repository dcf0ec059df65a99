package provisioningpages

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"html"
	"math/big"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// issue gives a device a certificate.
func (h *fixture) issue(id string) {
	h.T.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	h.Must(err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: id}},
		key)
	h.Must(err)
	request, err := h.Issuer.Check(ctx, "default", id, base64.StdEncoding.EncodeToString(der))
	h.Must(err)
	_, changes, err := h.Issuer.Issue(ctx, request)
	h.Must(err)
	_, err = h.Documents.Commit(ctx, changes...)
	h.Must(err)
}

// A device's certificates are all there, page by page, the latest first.
func TestCertificatesOfADeviceInPages(t *testing.T) {
	h := newFixture(t)
	for range web.PageSize + 1 {
		h.issue("d1")
		h.Advance(time.Minute)
	}
	h.issue("d2")
	b := h.loggedIn(web.Reader)
	_, page := b.Get("credentials?prefix=d1")
	if rows := strings.Count(page, `<td class="id"><a href="?prefix=d1#issued">`); rows != web.PageSize {
		t.Errorf("the first page shows %d certificates", rows)
	}
	next := nextPage.FindStringSubmatch(page)
	if next == nil {
		t.Fatalf("the first page leads nowhere:\n%s", page)
	}
	_, page = b.Get("credentials" + html.UnescapeString(strings.TrimSuffix(next[1], "#issued")))
	if rows := strings.Count(page, `<td class="id"><a href="?prefix=d1#issued">`); rows != 1 ||
		nextPage.MatchString(page) {
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
	h := newFixture(t)
	h.issue("d1")
	h.issue("d1")
	h.issue("d2")
	b := h.loggedIn(web.Operator)
	if _, page := b.Get("credentials?prefix=D1"); !strings.Contains(page,
		`formaction="/portal/credentials/devices/revoke" name="device" value="d1"`) {
		t.Errorf("there is no button:\n%s", page)
	}
	other, _, err := h.Issuer.Issued(ctx, "d2", "", 1)
	h.Must(err)
	status, page := b.Post("credentials/devices/revoke",
		url.Values{"csrf": {b.Token()}, "device": {"d1"}, "id": {other[0].Thumbprint}})
	if status != http.StatusOK || !strings.Contains(page, `name="id" value="d1"`) ||
		strings.Contains(page, other[0].Thumbprint) {
		t.Fatalf("it is answered %d:\n%s", status, page)
	}
	if status, page = b.Post("credentials/devices/revoke",
		url.Values{"csrf": {b.Token()}, "id": {"d1"}, "confirm": {"yes"}}); status != http.StatusOK ||
		!strings.Contains(page, "all certificates of 1 device were revoked") {
		t.Errorf("confirmed it is answered %d:\n%s", status, page)
	}
	for id, revoked := range map[string]bool{"d1": true, "d2": false} {
		issued, _, err := h.Issuer.Issued(ctx, id, "", 10)
		h.Must(err)
		for _, one := range issued {
			if one.Revoked.IsZero() == revoked {
				t.Errorf("that of %s: %+v", id, one)
			}
		}
	}
}

// A policy and an authority in use are deleted only when the box is ticked.
func TestForcedDeletion(t *testing.T) {
	h := newFixture(t)
	_, err := h.Provisioning.Groups().Put(ctx, enroll.Group{EnrollmentGroupID: "meters",
		Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "symmetricKey"},
			CredentialPolicyName: "default"}}, "")
	h.Must(err)
	b := h.loggedIn(web.Operator)
	for _, path := range []string{"credentials/authorities/delete", "credentials/delete"} {
		form := url.Values{"csrf": {b.Token()}, "id": {"default"}}
		if status, page := b.Post(path, form); status != http.StatusOK || !strings.Contains(page, `name="force"`) {
			t.Errorf("%s has no box: %d\n%s", path, status, page)
		}
		form.Set("confirm", "yes")
		if status, page := b.Post(path, form); status != http.StatusConflict ||
			!strings.Contains(page, "force the deletion") {
			t.Errorf("%s without force is answered %d:\n%s", path, status, page)
		}
		form.Set("force", "yes")
		if status, page := b.Post(path, form); status != http.StatusOK || !strings.Contains(page, "was deleted") {
			t.Errorf("%s by force is answered %d:\n%s", path, status, page)
		}
	}
	policies, err := h.Issuer.Policies(ctx)
	h.Must(err)
	authorities, err := h.Issuer.Authorities(ctx)
	h.Must(err)
	if len(policies)+len(authorities) > 0 {
		t.Errorf("left are %+v and %+v", policies, authorities)
	}
}

// An authority under one of the operator's own is requested, activated and replaced in
// the portal.
func TestIssuingAuthorityOfTheOperators(t *testing.T) {
	h := newFixture(t)
	b := h.loggedIn(web.Operator)
	status, page := b.Post("credentials/authorities/request", url.Values{"csrf": {b.Token()}, "name": {"factory"}})
	if status != http.StatusOK || !strings.Contains(page, "BEGIN CERTIFICATE REQUEST") ||
		!strings.Contains(page, "not activated") {
		t.Fatalf("requesting is answered %d:\n%s", status, page)
	}
	if _, page := b.Get("credentials"); !strings.Contains(page, `<a href="/portal/issuer/factory">`) ||
		!strings.Contains(page, "not activated") {
		t.Errorf("the list does not lead there:\n%s", page)
	}
	authority, err := h.Issuer.Authority(ctx, "factory")
	h.Must(err)
	block, _ := pem.Decode([]byte(authority.Request))
	request, err := x509.ParseCertificateRequest(block.Bytes)
	h.Must(err)
	root, err := credential.NewAuthority("Company root", h.Now().Add(-time.Hour), 24*time.Hour)
	h.Must(err)
	der, err := x509.CreateCertificate(rand.Reader,
		&x509.Certificate{SerialNumber: big.NewInt(7), Subject: request.Subject,
			NotBefore: h.Now().Add(-time.Hour), NotAfter: h.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
			BasicConstraintsValid: true, IsCA: true}, root.Certificate, request.PublicKey, root.Key)
	h.Must(err)
	rootPEM, keyPEM, err := root.PEM()
	h.Must(err)
	own := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	for chain, says := range map[string]string{"": "The chain is missing",
		own: "The chain is refused: the root is missing", own + string(keyPEM): "The chain is refused"} {
		status, page = b.Post("issuer/factory/activate", url.Values{"csrf": {b.Token()}, "chain": {chain}})
		if status != http.StatusBadRequest || !strings.Contains(page, says) || strings.Contains(page, "PRIVATE KEY") {
			t.Errorf("a chain of %d bytes is answered %d, want what says %q:\n%s", len(chain), status, says, page)
		}
	}
	status, page = b.Post("issuer/factory/activate", url.Values{"csrf": {b.Token()}, "chain": {own + string(rootPEM)}})
	if status != http.StatusOK || !strings.Contains(page, "The issuing authority signs from now on") {
		t.Fatalf("activating is answered %d:\n%s", status, page)
	}
	_, err = h.Issuer.PutPolicy(ctx, issuance.Policy{Name: "default", Authority: "factory"}, "")
	h.Must(err)
	h.issue("d1")
	rotate := url.Values{"csrf": {b.Token()}, "replacement": {"factory-2"}}
	if status, page = b.Post("issuer/factory/rotate", rotate); status != http.StatusBadRequest ||
		!strings.Contains(page, "Tick the box") {
		t.Errorf("replacing it unawares is answered %d:\n%s", status, page)
	}
	rotate.Set("confirm", "yes")
	if status, page = b.Post("issuer/factory/rotate", rotate); status != http.StatusOK ||
		!strings.Contains(page, "its policies name the other one") {
		t.Errorf("replacing it is answered %d:\n%s", status, page)
	}
	policy, err := h.Issuer.Policy(ctx, "default")
	h.Must(err)
	if policy.Authority != "factory-2" {
		t.Errorf("the policy names %s", policy.Authority)
	}
	for _, path := range []string{"issuer/factory", "issuer/factory-2", "issuer/default"} {
		if status, page := h.loggedIn(web.Reader).Get(path); status != http.StatusOK ||
			strings.Contains(page, "Revoke and replace") {
			t.Errorf("%s is answered a reader %d:\n%s", path, status, page)
		}
	}
}
