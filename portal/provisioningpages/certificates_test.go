package provisioningpages

import (
	"encoding/base64"
	"encoding/pem"
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/portal/web"
)

// TestPrivateKeysDoNotComeBack sends what holds a private key, in PEM or in a container,
// to every form that takes a certificate: it is said what it is, and no page has it.
func TestPrivateKeysDoNotComeBack(t *testing.T) {
	h := newFixture(t)
	_, key, err := credential.NewDeviceCertificate(credential.DeviceCertificate{CommonName: "d1",
		KeyType:   credential.EC256,
		NotBefore: time.Now().Add(-time.Hour), Validity: time.Hour})
	h.Must(err)
	block, _ := pem.Decode(key)
	pkcs12 := "\x30\x80\x02\x01\x03\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01\xa0\x80\x24\x80" +
		strings.Repeat("\x04\x02secret", 20)
	for name, c := range map[string]struct{ text, says, french string }{
		"PEM": {string(key), "this holds a private key", "ceci contient une clé privée"},
		"DER": {base64.StdEncoding.EncodeToString(block.Bytes), "this holds a private key",
			"ceci contient une clé privée"},
		"PKCS #12": {base64.StdEncoding.EncodeToString([]byte(pkcs12)), "openssl pkcs12 -in FILE",
			"openssl pkcs12 -in FICHIER"},
	} {
		for path, form := range map[string]url.Values{
			"enrollments/new":  {"registrationId": {"d1"}, "mechanism": {"x509"}, "primary": {c.text}},
			"groups/new":       {"groupId": {"g"}, "mechanism": {"x509"}, "primary": {c.text}},
			"check":            {"chain": {c.text}},
			"certificates/new": {"name": {"a"}, "certificate": {c.text}},
		} {
			for language, says := range map[string]string{"en": c.says, "fr": c.french} {
				b := h.loggedIn(web.Operator)
				form.Set("csrf", b.Token())
				request, err := http.NewRequest(http.MethodPost, b.URL("")+path, strings.NewReader(form.Encode()))
				h.Must(err)
				request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				request.AddCookie(&http.Cookie{Name: "berth-language", Value: language})
				status, page := b.Do(request)
				page = html.UnescapeString(page)
				if status != http.StatusBadRequest || !strings.Contains(page, says) {
					t.Errorf("%s to %s in %s: %d, want %q", name, path, language, status, says)
				}
				if strings.Contains(page, strings.TrimSpace(c.text)) {
					t.Errorf("%s to %s comes back", name, path)
				}
			}
			b := h.Browser() // whose session has ended
			if _, page := b.Post(path, form); strings.Contains(html.UnescapeString(page), strings.TrimSpace(c.text)) {
				t.Errorf("%s to %s comes back with the page that asks to log in", name, path)
			}
		}
	}
}
