package credential

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func deviceCertificate(t testing.TB, name, passPhrase string) (certificatePEM, keyPEM []byte) {
	t.Helper()
	certificatePEM, keyPEM, err := NewDeviceCertificate(DeviceCertificate{
		CommonName: name, KeyType: EC256, NotBefore: noon, Validity: 365 * 24 * time.Hour, PassPhrase: passPhrase})
	if err != nil {
		t.Fatal(err)
	}
	return certificatePEM, keyPEM
}

func TestCertificateForms(t *testing.T) {
	text, _ := deviceCertificate(t, "d1", "")
	block, _ := pem.Decode(text)
	encoded := base64.StdEncoding.EncodeToString(block.Bytes)
	for name, form := range map[string][]byte{
		"PEM": text,
		"PEM of Windows": append([]byte("\xef\xbb\xbf"),
			bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))...),
		"PEM behind its text":     append([]byte("Certificate:\n    Version: 3\n"), text...),
		"DER":                     block.Bytes,
		"base64 of DER":           []byte(encoded),
		"base64 of DER, in lines": []byte(encoded[:64] + "\r\n" + encoded[64:] + "\n"),
		"base64 of PEM":           []byte(base64.StdEncoding.EncodeToString(text)),
	} {
		t.Run(name, func(t *testing.T) {
			certificates, err := ParseCertificates(form)
			if err != nil {
				t.Fatal(err)
			}
			if len(certificates) != 1 || !bytes.Equal(certificates[0].Raw, block.Bytes) {
				t.Fatalf("read %d certificates, not the one", len(certificates))
			}
		})
	}
	certificate, _ := x509.ParseCertificate(block.Bytes)
	sum := sha256.Sum256(block.Bytes)
	if _, got := Thumbprints(certificate); got != strings.ToUpper(hex.EncodeToString(sum[:])) {
		t.Errorf("the SHA-256 thumbprint is %s", got)
	}
}

func TestParseCertificatesRefuses(t *testing.T) {
	text, key := deviceCertificate(t, "d1", "")
	_, encrypted := deviceCertificate(t, "d1", "1234")
	keyBlock, _ := pem.Decode(key)
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":                {nil, "empty"},
		"words":                  {[]byte("my certificate"), "no certificate"},
		"a private key":          {key, "private key"},
		"an encrypted key":       {encrypted, "private key"},
		"certificate and key":    {append(bytes.Clone(text), key...), "private key"},
		"a private key in DER":   {keyBlock.Bytes, "private key"},
		"a key in base64 of DER": {[]byte(base64.StdEncoding.EncodeToString(keyBlock.Bytes)), "private key"},
		"a request": {[]byte(
			"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"), "CERTIFICATE REQUEST"},
		"half of one":    {text[:len(text)/2], "whole certificate"},
		"garbage inside": {[]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "can't be read"},
		"too many":       {bytes.Repeat(text, maxCertificates+1), "more than"},
		"five megabytes": {bytes.Repeat([]byte("A"), 5<<20), "too large"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseCertificates(c.data)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("the error is %q, want it to say %q", err, c.want)
			}
		})
	}
}

func TestLoadKeyPair(t *testing.T) {
	folder := t.TempDir()
	write := func(name string, text []byte) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	certificate, key := deviceCertificate(t, "d1", "1234")
	_, other := deviceCertificate(t, "d1", "")
	certificateFile := write("d1.pem", certificate)
	keyFile := write("d1.key.pem", key)

	pair, err := LoadKeyPair(certificateFile, keyFile, "1234")
	if err != nil {
		t.Fatal(err)
	}
	if pair.Leaf.Subject.CommonName != "d1" {
		t.Errorf("loaded %s", pair.Leaf.Subject)
	}
	for name, c := range map[string]struct{ certificate, key, passPhrase, want string }{
		"wrong pass phrase": {certificateFile, keyFile, "4321", "pass phrase is wrong"},
		"no pass phrase":    {certificateFile, keyFile, "", "encrypted"},
		"key of another":    {certificateFile, write("other.pem", other), "", "does not hold the private key"},
		"files exchanged":   {keyFile, certificateFile, "1234", "private key"},
		"no such file":      {certificateFile, filepath.Join(folder, "none"), "", "no such file"},
		"legacy encryption": {certificateFile,
			write("legacy.pem",
				[]byte(
					"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: DES-EDE3-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n")), "1234", "openssl pkcs8"},
		"key of no use here": {certificateFile,
			write("dh.pem", []byte("-----BEGIN DSA PRIVATE KEY-----\nAAAA\n-----END DSA PRIVATE KEY-----\n")), "",
			"DSA"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := LoadKeyPair(c.certificate, c.key, c.passPhrase)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("the error is %v, want it to say %q", err, c.want)
			}
			if strings.Contains(err.Error(), "4321") {
				t.Errorf("the error shows the pass phrase: %v", err)
			}
		})
	}
}

func TestAuthorityIssuesServerCertificates(t *testing.T) {
	authority, err := NewAuthority("Berth test authority", noon, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	certificatePEM, keyPEM, err := authority.PEM()
	if err != nil {
		t.Fatal(err)
	}
	if authority, err = ParseAuthority(certificatePEM, keyPEM); err != nil {
		t.Fatal(err)
	}
	serverPEM, _, err := authority.IssueServer([]string{"localhost", "127.0.0.1", "hub.example"}, noon, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	server, err := ParseCertificates(serverPEM)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority.Certificate)
	for _, host := range []string{"localhost", "127.0.0.1", "hub.example"} {
		if _, err := server[0].Verify(x509.VerifyOptions{DNSName: host, Roots: roots,
			CurrentTime: noon.Add(time.Minute)}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if _, err := server[0].Verify(x509.VerifyOptions{DNSName: "elsewhere", Roots: roots,
		CurrentTime: noon.Add(time.Minute)}); err == nil {
		t.Error("the certificate is good for elsewhere")
	}
}

func FuzzParseCertificates(f *testing.F) {
	text, key := deviceCertificate(f, "d1", "")
	block, _ := pem.Decode(text)
	f.Add(text)
	f.Add(key)
	f.Add(block.Bytes)
	f.Add([]byte(base64.StdEncoding.EncodeToString(text)))
	f.Fuzz(func(t *testing.T, data []byte) {
		certificates, err := ParseCertificates(data)
		if err == nil && (len(certificates) == 0 || len(certificates) > maxCertificates) {
			t.Errorf("%d certificates without an error", len(certificates))
		}
	})
}

// DER is binary: a last byte that would be a space in text belongs to it.
func TestDERThatEndsLikeASpace(t *testing.T) {
	for {
		text, _, err := NewDeviceCertificate(DeviceCertificate{CommonName: "d1", KeyType: EC256, NotBefore: time.Now(),
			Validity: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		if len(bytes.TrimSpace(block.Bytes)) == len(block.Bytes) {
			continue
		}
		certificates, err := ParseCertificates(block.Bytes)
		if err != nil || len(certificates) != 1 || !bytes.Equal(certificates[0].Raw, block.Bytes) {
			t.Errorf("a certificate that ends with %#x is read as %v, error %v", block.Bytes[len(block.Bytes)-1],
				certificates, err)
		}
		return
	}
}
