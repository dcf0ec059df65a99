package provisioningpages

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"html"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/portal/portaltest"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning/attempts"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// TestAttemptsInFrench shows the attempts of devices that are refused at one check
// after the other: what each check says is in the reader's language, and data stays as
// it is.
func TestAttemptsInFrench(t *testing.T) {
	h := newFixture(t)
	b := h.loggedIn(web.Operator)
	own, factory := h.DeviceCertificate("own"), h.AuthorityCertificate("Factory")
	evidence := func(chain ...string) credential.Evidence {
		shown := credential.Evidence{Protocol: "mqtt", RemoteAddr: "127.0.0.1:4711"}
		for _, text := range chain {
			block, _ := pem.Decode([]byte(text))
			certificate, err := x509.ParseCertificate(block.Bytes)
			h.Must(err)
			shown.Certificates = append(shown.Certificates, certificate)
		}
		return shown
	}
	for _, example := range []struct {
		scope, id string
		evidence  credential.Evidence
		after     time.Duration
		want      string
	}{
		{"0ne2", "own", evidence(own), 0, "Donnez à l'appareil (PROVISIONING_IDSCOPE)"},
		{"0ne1", "own", evidence(), 0, "aucun, et pas de jeton non plus"},
		{"0ne1", "other", evidence(own), 0, `"other", l'ID d'inscription`},
		{"0ne1", "own", evidence(own), 0, "pas de groupe pour un certificat qui se signe lui-même"},
		{"0ne1", "own", evidence(own), 500 * 24 * time.Hour, "une période qui contient"},
		{"0ne1", "own", evidence(own, factory), 0, "une inscription individuelle own"},
	} {
		h.Advance(example.after)
		_, err := h.Provisioning.OpenSession(example.scope, example.id, example.evidence).Register(ctx, nil)
		h.Advance(-example.after)
		if err == nil {
			t.Fatalf("%+v is let in", example)
		}
		attempts, err := h.Provisioning.Attempts().Find(ctx, attempts.Filter{Max: 1})
		h.Must(err)
		attempt := attempts[0]
		address := fmt.Sprintf("%s%sattempts/%d", h.Origin(), web.Root, attempt.Sequence)
		request, err := http.NewRequest(http.MethodGet, address, nil)
		h.Must(err)
		request.Header.Set("Accept-Language", "fr")
		status, page := b.Do(request)
		page = html.UnescapeString(page)
		if status != http.StatusOK || !strings.Contains(page, example.want) {
			t.Errorf("the attempt of %s is answered %d, without %q:\n%s", example.id, status, example.want, page)
		}
		for _, check := range attempt.Checks {
			for _, english := range []string{check.Expected, check.Advice} {
				if strings.Contains(english, " ") && strings.Contains(page, ">"+english) {
					t.Errorf("the page in French says %q", english)
				}
			}
		}
	}
}

// A check that quotes why a certificate is refused has the reason in French as well.
func TestReasonOfACheckInFrench(t *testing.T) {
	h := newFixture(t)
	b := h.loggedIn(web.Operator)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	h.Must(err)
	issue := func(template, parent *x509.Certificate) (*x509.Certificate, string) {
		template.SerialNumber = big.NewInt(1)
		template.NotBefore = portaltest.Start
		template.NotAfter = portaltest.Start.Add(24 * time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, key)
		h.Must(err)
		made, err := x509.ParseCertificate(der)
		h.Must(err)
		return made, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	authority := &x509.Certificate{Subject: pkix.Name{CommonName: "Factory"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, PermittedDNSDomains: []string{"factory.example"},
		PermittedDNSDomainsCritical: true}
	authority, text := issue(authority, authority)
	device, _ := issue(&x509.Certificate{Subject: pkix.Name{CommonName: "d1"}, DNSNames: []string{"d1.other.example"}},
		authority)
	_, err = h.Provisioning.Groups().Create(ctx, enroll.Group{EnrollmentGroupID: "line",
		Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "x509", X509: &enroll.X509Attestation{
			SigningCertificates: &enroll.X509Certificates{Primary: &enroll.X509Certificate{Certificate: text}}}}}})
	h.Must(err)
	shown := credential.Evidence{Protocol: "mqtt", RemoteAddr: "127.0.0.1:4711",
		Certificates: []*x509.Certificate{device, authority}}
	if _, err := h.Provisioning.OpenSession("0ne1", "d1", shown).Register(ctx, nil); err == nil {
		t.Fatal("the device is let in")
	}
	attempts, err := h.Provisioning.Attempts().Find(ctx, attempts.Filter{Max: 1})
	h.Must(err)
	request, err := http.NewRequest(http.MethodGet,
		fmt.Sprintf("%s%sattempts/%d", h.Origin(), web.Root, attempts[0].Sequence), nil)
	h.Must(err)
	request.Header.Set("Accept-Language", "fr")
	_, page := b.Do(request)
	if page = html.UnescapeString(page); !strings.Contains(page, `ne permet pas le nom DNS "d1.other.example"`) ||
		strings.Contains(page, "does not allow") {
		t.Errorf("the page says:\n%s", page)
	}
}

// A check of an earlier version, which has its texts in English only, is shown as it is.
func TestAttemptOfEarlierVersion(t *testing.T) {
	check := attest.Check{Name: "enrollment", Saw: "none",
		Advice: "Let the device register again"}.In(languages[1].Translate)
	if check.Saw != "none" || check.Advice == "Let the device register again" {
		t.Errorf("it is shown as %+v", check)
	}
}
