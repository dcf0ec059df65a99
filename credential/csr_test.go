package credential

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"
	"time"
)

// What is wrong with a request is said in a sentence that says what to do, and never in
// the words of a library.
func TestRequestsThatCannotBeRead(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "d1"}}
	good, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	if request, err := ParseCSR(base64.StdEncoding.EncodeToString(good)); err != nil ||
		request.Subject.CommonName != "d1" {
		t.Fatalf("a good one: %v", err)
	}
	forged := append([]byte(nil), good...)
	forged[len(forged)-1] ^= 1
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, _, err := NewDeviceCertificate(DeviceCertificate{CommonName: "d1", KeyType: EC256,
		NotBefore: time.Now(), Validity: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(certificate)
	large, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := x509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{Subject: pkix.Name{CommonName: "d1"}, SignatureAlgorithm: x509.SHA256WithRSA}, large)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseCSR(base64.StdEncoding.EncodeToString(weak)); err != nil {
		t.Errorf("a short key is for a policy to refuse: %v", err)
	}
	for _, padding := range []string{"\x00", "\xff\xff\xff", "\xff\x00", strings.Repeat("\xff", 1000)} {
		padded := base64.StdEncoding.EncodeToString(append(append([]byte(nil), good...), padding...))
		if request, err := ParseCSR(padded); err != nil || !bytes.Equal(request.Raw, good) {
			t.Errorf("a request that is followed by %.8q: %v", padding, err)
		}
	}
	for says, der := range map[string][]byte{
		"not signed with its own key": forged,
		"it breaks off":               good[:len(good)-7],
		"3 bytes follow its end":      append(append([]byte(nil), good...), 0, 1, 0xff),
		"RFC 2986":                    {0x30, 3, 2, 1, 7},
		"this is a private key":       private,
		"this is a certificate":       block.Bytes,
		"this is PEM in base64":       []byte("-----BEGIN CERTIFICATE REQUEST-----\n"),
		"or is not DER":               []byte("hello"),
	} {
		_, err := ParseCSR(base64.StdEncoding.EncodeToString(der))
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want what says %q", err, says)
		}
		for _, library := range []string{"asn1", "x509", "structure error", "verification failure"} {
			if err != nil && strings.Contains(err.Error(), library) {
				t.Errorf("%v has the words of a library", err)
			}
		}
	}
	armoured := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: good}))
	if _, err := ParseCSR(armoured); err != nil {
		t.Errorf("armoured: %v", err)
	}
	for text, says := range map[string]string{armoured: "PEM armour", "": "is empty", "!!": "not base64",
		strings.Repeat("A", MaxCSR+1): "the limit is"} {
		if err := CheckCSREncoding(text, true); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.20q: %v, want what says %q", text, err, says)
		}
	}
}
