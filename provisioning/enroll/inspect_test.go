package enroll

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
)

func newKey(t *testing.T, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// quickstart is what `openssl req -x509` makes: an authority by its extensions.
func quickstart() *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Python-device-01"},
		NotBefore: noon.Add(-time.Hour), NotAfter: noon.AddDate(1, 0, 0),
		BasicConstraintsValid: true, IsCA: true,
	}
}

// issue signs a template with another's key, or with its own when issuer is nil.
func issue(t *testing.T, template *x509.Certificate, key crypto.Signer, issuer *x509.Certificate,
	issuerKey crypto.Signer) []byte {
	t.Helper()
	if issuer == nil {
		issuer, issuerKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), issuerKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func codes(warnings []Warning) []string {
	codes := []string{}
	for _, warning := range warnings {
		codes = append(codes, warning.Code)
	}
	return codes
}

func TestCertificatesAreInspected(t *testing.T) {
	p256 := newKey(t, elliptic.P256())
	long, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	authority := quickstart()
	authority.Subject.CommonName = "Fleet CA"
	for _, c := range []struct {
		name   string
		key    crypto.Signer
		change func(*x509.Certificate)
		issued bool // by the authority
		id     string
		want   []string
	}{
		{name: "as in the quickstart", id: "Python-device-01"},
		{name: "RSA of 2048 bits", key: long, id: "Python-device-01"},
		{name: "expired",
			change: func(c *x509.Certificate) { c.NotAfter = noon.Add(-time.Second) },
			id:     "Python-device-01", want: []string{"expired"}},
		{name: "not yet valid",
			change: func(c *x509.Certificate) { c.NotBefore = noon.Add(time.Second) },
			id:     "Python-device-01", want: []string{"notYetValid"}},
		{name: "its last second", change: func(c *x509.Certificate) { c.NotAfter = noon }, id: "Python-device-01",
			want: []string{"expiresSoon"}},
		{name: "not quite thirty days",
			change: func(c *x509.Certificate) { c.NotAfter = noon.Add(credential.ExpiresSoon - time.Second) },
			id:     "Python-device-01", want: []string{"expiresSoon"}},
		{name: "thirty days",
			change: func(c *x509.Certificate) { c.NotAfter = noon.Add(credential.ExpiresSoon) },
			id:     "Python-device-01"},
		{name: "no common name",
			change: func(c *x509.Certificate) { c.Subject = pkix.Name{Organization: []string{"Contoso"}} },
			want:   []string{"noCommonName"}},
		{name: "common name with a space", change: func(c *x509.Certificate) { c.Subject.CommonName = "my device" },
			want: []string{"commonNameNotRegistrationID"}},
		{name: "issued to a device", issued: true,
			change: func(c *x509.Certificate) { c.IsCA = false },
			id:     "Python-device-01"},
		{name: "issued to an authority", issued: true, id: "Python-device-01", want: []string{"certificateAuthority"}},
		{name: "issued to an authority, for its new key", issued: true,
			change: func(c *x509.Certificate) { c.Subject.CommonName = "Fleet CA" },
			want:   []string{"commonNameNotRegistrationID", "certificateAuthority"}},
		{name: "P-224", key: newKey(t, elliptic.P224()), id: "Python-device-01", want: []string{"weakKey"}},
		{name: "SHA-1", key: long,
			change: func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA },
			id:     "Python-device-01", want: []string{"weakSignature"}},
		{name: "for servers",
			change: func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} },
			id:     "Python-device-01", want: []string{"notClientAuth"}},
		{name: "for servers and clients", change: func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		}, id: "Python-device-01"},
		{name: "for anything",
			change: func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} },
			id:     "Python-device-01"},
		{name: "for a purpose that has no name here",
			change: func(c *x509.Certificate) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 3}} },
			id:     "Python-device-01", want: []string{"notClientAuth"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			template, key := quickstart(), c.key
			if c.change != nil {
				c.change(template)
			}
			if key == nil {
				key = p256
			}
			var text []byte
			if c.issued {
				text = issue(t, template, key, authority, long)
			} else {
				text = issue(t, template, key, nil, nil)
			}
			report, err := Inspect(text, noon)
			if err != nil {
				t.Fatal(err)
			}
			if got := codes(report.Warnings); !slices.Equal(got, append([]string{}, c.want...)) {
				t.Errorf("warns of %v, want %v", got, c.want)
			}
			if report.RegistrationID != c.id || report.PEM != string(text) || len(report.Others) != 0 {
				t.Errorf("reports %+v", report)
			}
			for _, warning := range report.Warnings {
				if !strings.Contains(warning.Text, " ") || strings.HasSuffix(warning.Text, ".") {
					t.Errorf("%s says %q", warning.Code, warning.Text)
				}
			}
		})
	}
}

func TestWhatIsNoCertificate(t *testing.T) {
	certificate, key, err := credential.NewDeviceCertificate(credential.DeviceCertificate{CommonName: "d1",
		KeyType: credential.EC256, NotBefore: noon, Validity: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, data, says, reason string }{
		{"nothing", " \n", "empty", ""},
		{"something else", "hello", "no certificate", ""},
		{"a private key", string(key), "private key", "privateKey"},
		{"a private key after the certificate", string(certificate) + string(key), "private key", "privateKey"},
		{"half of it", string(certificate[:len(certificate)/2]), "no whole certificate", ""},
		{"too much", strings.Repeat("x", 1<<20), "too large", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Inspect([]byte(c.data), noon)
			if !errors.Is(err, fault.ArgumentInvalid) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("answered %v, want a fault 400004 that says %q", err, c.says)
			}
			if reason := fault.From(err).Info["reason"]; reason != c.reason {
				t.Errorf("the reason is %q, want %q", reason, c.reason)
			}
		})
	}
}
