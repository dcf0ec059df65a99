package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-iot/berth/provisioning/enroll"
)

// TestSimulateWithKeys lets devices with symmetric keys come in: one with an enrollment of
// its own, one of a group, by flags, a file and the variables of Azure's samples.
func TestSimulateWithKeys(t *testing.T) {
	s := newShell(t)
	t.Setenv("PROVISIONING_SYMMETRIC_KEY", "")
	t.Setenv("PROVISIONING_REGISTRATION_ID", "")
	enrolled := read[enroll.Enrollment](s, "enrollment", "create", "alone", "--symmetric", "--keys")
	s.run(0, "group", "create", "meters", "--symmetric")
	derived, _ := s.run(0, "group", "device-key", "meters", "meter-17")
	file := filepath.Join(t.TempDir(), "meter-17.key")
	if err := os.WriteFile(file, []byte(derived), 0o600); err != nil {
		t.Fatal(err)
	}
	simulate := func(code int, args ...string) (stdout, stderr string) {
		t.Helper()
		return s.run(code, append([]string{"device", "simulate", "--messages", "1"}, args...)...)
	}
	key := enrolled.Attestation.SymmetricKey.SecondaryKey
	for id, args := range map[string][]string{
		"alone":    {"--registration-id", "alone", "--symmetric-key", key, "--payload", `{"a":1}`},
		"meter-17": {"--registration-id", "meter-17", "--symmetric-key", "@" + file, "--websocket"},
	} {
		stdout, _ := simulate(0, args...)
		if !strings.Contains(stdout, "\n"+id+"\n") || !strings.Contains(stdout, "done sending message #1\n") {
			t.Errorf("berth device simulate %v prints\n%s", args, stdout)
		}
	}

	s.run(0, "group", "update", "meters", "--credential-policy", "default")
	other, _ := s.run(0, "group", "device-key", "meters", "meter-21")
	if stdout, _ := simulate(0, "--registration-id", "meter-21", "--symmetric-key", strings.TrimSpace(other),
		"--csr"); !strings.Contains(stdout, "done sending message #1\n") {
		t.Errorf("with an operational certificate:\n%s", stdout)
	}
	if stdout, _ := s.run(0, "credential", "list", "--device", "meter-21"); !strings.Contains(stdout, "ec-p256") {
		t.Errorf("berth credential list:\n%s", stdout)
	}
	s.run(0, "inject", "wrong-hub", "--hub-host", "hub.invalid")
	if _, stderr := simulate(1, "--registration-id", "alone", "--symmetric-key", key); strings.Contains(stderr, "log") {
		t.Errorf("a hub that is not there: %s", stderr)
	}

	// A device that is gone, or was never there, is waited for, and that is said.
	s.run(0, "device", "delete", "meter-21")
	stdout, said := s.run(0, "telemetry", "tail", "--from", "earliest", "--max", "1", "--device", "meter-21")
	if !strings.Contains(stdout, "test wind speed") || !strings.Contains(said, `no device "meter-21"`) {
		t.Errorf("the telemetry of a device that is gone:\n%s%s", stdout, said)
	}
	_, refused := simulate(1, "--registration-id", "alone", "--symmetric-key", key, "--csr")
	if !strings.Contains(refused, "names no credential policy") {
		t.Errorf("without a credential policy: %s", refused)
	}

	for want, args := range map[string][]string{
		"--symmetric-key must be a key in base64": {"--registration-id", "alone", "--symmetric-key", "a b"},
		"choose one":                 {"--cert", "x.pem", "--key", "x.key", "--symmetric-key", key},
		"needs --registration-id ID": {"--symmetric-key", key},
		"--cert FILE --key FILE, or --symmetric-key KEY": {},
		"--payload can't be taken": {"--registration-id", "a", "--symmetric-key", key,
			"--payload", "{"},
		"--csr is for a device with a certificate or a key": {"--tpm", "/dev/tpm0", "--csr"},
		"are three ways in which a device proves itself":    {"--tpm", "/dev/tpm0", "--symmetric-key", key},
	} {
		if _, stderr := simulate(2, args...); !strings.Contains(stderr, want) || strings.Contains(stderr, key) {
			t.Errorf("berth device simulate %v says\n%sand not %q", args, stderr, want)
		}
	}

	t.Setenv("PROVISIONING_SYMMETRIC_KEY", strings.TrimSpace(derived))
	t.Setenv("PROVISIONING_REGISTRATION_ID", "meter-17")
	simulate(0)
	_, stderr := simulate(1, "--registration-id", "meter-18") // whose key is another
	if !strings.Contains(stderr, "berth attempts meter-18") {
		t.Errorf("a device with another's key is told\n%s", stderr)
	}
}
