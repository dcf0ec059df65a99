package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/authority"
)

// TestAuthority proves possession of an authority's key on the command line.
func TestAuthority(t *testing.T) {
	s, folder := newShell(t), t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Factory"},
		NotBefore: time.Now().Add(-time.Hour),
		NotAfter:  time.Now().Add(10 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign}
	write := func(name string, template *x509.Certificate, encode bool) string {
		der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		if encode {
			der = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
		}
		file := filepath.Join(folder, name)
		if err := os.WriteFile(file, der, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	root := write("ca.pem", ca, true)

	if stdout, _ := s.run(0, "authority", "list"); !strings.Contains(stdout, "berth authority create") {
		t.Errorf("the list of none is %q", stdout)
	}
	if stdout, _ := s.run(0, "authority", "create", "factory", "--file", root); !strings.Contains(stdout,
		"CN=Factory") || !strings.Contains(stdout, "berth authority code factory") ||
		!strings.Contains(stdout, "expiresSoon") {
		t.Errorf("created: %s", stdout)
	}
	if _, stderr := s.run(1, "authority", "verify", "factory", "--file", root); !strings.Contains(stderr,
		"no verification code") {
		t.Errorf("verified without a code: %s", stderr)
	}
	if _, stderr := s.run(1, "group", "create", "line-7", "--authority", "factory"); !strings.Contains(stderr,
		"berth authority code factory") {
		t.Errorf("a group of an authority that is not verified: %s", stderr)
	}
	asked := read[authority.Authority](s, "authority", "code", "factory")
	proof := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: asked.VerificationCode},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	if stdout, _ := s.run(0, "authority", "verify", "factory", "--file",
		write("proof.cer", proof, false)); !strings.Contains(stdout, "yes") {
		t.Errorf("verified: %s", stdout)
	}
	if stdout, _ := s.run(0, "authority", "list"); !strings.Contains(stdout, "factory") ||
		!strings.Contains(stdout, "true") {
		t.Errorf("the list: %s", stdout)
	}
	s.run(0, "authority", "delete", "factory")
	if _, stderr := s.run(1, "authority", "show", "factory"); !strings.Contains(stderr, "404000") {
		t.Errorf("after the deletion: %s", stderr)
	}
	if trusted := read[authority.Authority](s, "authority", "create", "factory", "--file", root,
		"--trust"); !trusted.IsVerified {
		t.Errorf("trusted on upload: %+v", trusted)
	}
	if _, stderr := s.run(1, "authority", "create", "none", "--file",
		filepath.Join(folder, "nothing.pem")); !strings.Contains(stderr, "nothing.pem") {
		t.Errorf("a file that is not there: %s", stderr)
	}
	s.run(2, "authority", "create", "factory")
}
