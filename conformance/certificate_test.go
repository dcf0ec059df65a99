//go:build conformance

package conformance

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// quickstartCertificate makes the certificate of the quickstart with the
// quickstart's own line: RSA 4096, the key encrypted with the pass phrase 1234.
func quickstartCertificate(t *testing.T, folder string) {
	t.Helper()
	openssl := exec.Command("openssl", "req", "-outform", "PEM", "-x509", "-sha256", "-newkey", "rsa:4096",
		"-keyout", "./python-device.key.pem", "-out", "./python-device.pem", "-days", "365",
		"-extensions", "usr_cert", "-subj", "/CN=Python-device-01", "-passout", "pass:1234")
	openssl.Dir = folder
	if output, err := openssl.CombinedOutput(); err != nil {
		t.Fatalf("openssl req: %v\n%s", err, output)
	}
}

// deviceCertificates makes the certificates of the other devices, self-signed
// and with EC keys, under the names that the programs in python and node use.
func deviceCertificates(t *testing.T, folder string) {
	t.Helper()
	now := time.Now()
	for name, commonName := range map[string]string{
		"python-scope":       "python-scope",
		"python-unknown":     "python-unknown",
		"python-wrong":       "python-wrong",
		"python-wrong-other": "python-wrong",
		"python-name":        "python-name",
		"python-disabled":    "python-disabled",
		"node-enrolled":      "node-enrolled",
		"node-unknown":       "node-unknown",
		"node-wrong":         "node-wrong",
		"node-wrong-other":   "node-wrong",
		"node-disabled":      "node-disabled",
	} {
		deviceCertificate(t, folder, name, commonName, now.Add(-time.Hour), now.Add(24*time.Hour))
	}
	deviceCertificate(t, folder, "python-expired", "python-expired", now.Add(-48*time.Hour), now.Add(-24*time.Hour))
	deviceCertificate(t, folder, "python-early", "python-early", now.Add(24*time.Hour), now.Add(48*time.Hour))
}

func deviceCertificate(t *testing.T, folder, name, commonName string, notBefore, notAfter time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: commonName},
		NotBefore:    notBefore,
		NotAfter:     notAfter,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for suffix, block := range map[string]*pem.Block{
		".pem":     {Type: "CERTIFICATE", Bytes: certificate},
		".key.pem": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(folder, name+suffix), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
