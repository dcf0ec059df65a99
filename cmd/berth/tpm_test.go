package main

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/berth-iot/berth/provisioning/enroll"
)

// An endorsement key is given as SDKs show it, or as the tpm2 tools write it.
func TestEnrollmentByTPM(t *testing.T) {
	s := newShell(t)
	public := tpm2.RSAEKTemplate
	public.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA,
		&tpm2.TPM2BPublicKeyRSA{Buffer: bytes.Repeat([]byte{0xff}, 256)})
	encoded := tpm2.Marshal(tpm2.New2B(public))
	key := base64.StdEncoding.EncodeToString(encoded)
	file := func(name, content string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for id, given := range map[string]string{
		"as-text": key, "as-file": file("ek.pub", string(encoded)),
		"as-text-file": file("ek.txt", key[:76]+"\n"+key[76:]+"\n"),
	} {
		if created := read[enroll.Enrollment](s, "enrollment", "create", id, "--tpm",
			given); created.Attestation.Type != "tpm" || created.Attestation.TPM.EndorsementKey != key {
			t.Errorf("%s: created %+v", id, created)
		}
	}
	s.run(0, "enrollment", "update", "as-text", "--tpm-storage-root-key", key)
	if updated := read[enroll.Enrollment](s, "enrollment", "show",
		"as-text"); *updated.Attestation.TPM != (enroll.TPMAttestation{EndorsementKey: key, StorageRootKey: key}) {
		t.Errorf("updated: %+v", updated.Attestation.TPM)
	}
	if stdout, _ := s.run(0, "enrollment", "show", "as-text"); !strings.Contains(stdout, "Endorsement key") ||
		!strings.Contains(stdout, key) {
		t.Errorf("shown: %s", stdout)
	}
	if _, stderr := s.run(1, "enrollment", "create", "wrong", "--tpm", "no such file"); !strings.Contains(stderr,
		"neither base64 nor a file") {
		t.Errorf("a file that is not there: %s", stderr)
	}
	if _, stderr := s.run(1, "enrollment", "create", "wrong", "--tpm", "AAAA"); !strings.Contains(stderr,
		"TPM2B_PUBLIC") {
		t.Errorf("no key: %s", stderr)
	}
}
