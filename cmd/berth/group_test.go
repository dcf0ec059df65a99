package main

import (
	"strings"
	"testing"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
)

func TestGroup(t *testing.T) {
	s := newShell(t)
	if stdout, _ := s.run(0, "group", "list"); !strings.Contains(stdout, "berth group create") {
		t.Errorf("the list of none: %s", stdout)
	}
	s.run(2, "group", "create", "meters")
	created := read[enroll.Group](s, "group", "create", "meters", "--symmetric", "--keys", "--initial-twin",
		`{"tags":{"site":"harbour"}}`)
	if created.Attestation.SymmetricKey == nil || created.Attestation.SymmetricKey.PrimaryKey == "" {
		t.Fatalf("created: %+v", created)
	}
	if _, stderr := s.run(1, "group", "create", "METERS", "--symmetric"); !strings.Contains(stderr,
		"berth group update") {
		t.Errorf("created twice: %s", stderr)
	}
	if stdout, _ := s.run(0, "group", "show", "meters"); strings.Contains(stdout,
		created.Attestation.SymmetricKey.PrimaryKey) || !strings.Contains(stdout, "harbour") {
		t.Errorf("shown: %s", stdout)
	}
	if stdout, _ := s.run(0, "group", "show", "meters", "--keys"); !strings.Contains(stdout,
		created.Attestation.SymmetricKey.SecondaryKey) {
		t.Errorf("shown with its keys: %s", stdout)
	}
	if stdout, _ := s.run(0, "group", "device-key", "meters",
		"meter-1"); strings.TrimSpace(stdout) != attest.DeriveKey(created.Attestation.SymmetricKey.PrimaryKey,
		"meter-1") {
		t.Errorf("the device's key: %s", stdout)
	}

	for id, says := range map[string]string{"a b": `the character ' '`, "": "is empty", "m-": ""} {
		code := 2
		if says == "" {
			code = 0
		}
		if _, stderr := s.run(code, "group", "device-key", "meters", id); !strings.Contains(stderr, says) {
			t.Errorf("the key of %q: %s", id, stderr)
		}
	}

	s.run(0, "group", "update", "meters", "--provisioning-status", "disabled", "--webhook",
		"https://allocate.example/hook")
	updated := read[enroll.Group](s, "group", "show", "meters", "--keys")
	if updated.ProvisioningStatus != enroll.Disabled || updated.AllocationPolicy != allocation.Custom ||
		*updated.Attestation.SymmetricKey != *created.Attestation.SymmetricKey {
		t.Errorf("updated: %+v", updated)
	}
	if updated.ReplaceExistingDevices != nil {
		t.Errorf("a group may replace existing devices unasked: %+v", updated)
	}
	s.run(0, "group", "update", "meters", "--replace-existing-devices")
	s.run(0, "group", "update", "meters", "--edge-enabled")
	if stdout, _ := s.run(0, "group", "show", "meters"); !strings.Contains(stdout, "are replaced") {
		t.Errorf("shown: %s", stdout)
	}
	s.run(0, "group", "update", "meters", "--replace-existing-devices=false")
	if stdout, _ := s.run(0, "group", "show", "meters"); strings.Contains(stdout, "are replaced") {
		t.Errorf("shown: %s", stdout)
	}
	s.run(2, "group", "update", "meters")
	if stdout, _ := s.run(0, "group", "list"); !strings.Contains(stdout, "meters") ||
		!strings.Contains(stdout, "disabled") {
		t.Errorf("the list: %s", stdout)
	}
	s.run(0, "group", "delete", "meters")
	if _, stderr := s.run(1, "group", "show", "meters"); !strings.Contains(stderr, "404204") {
		t.Errorf("after the deletion: %s", stderr)
	}
}

func TestEnrollmentByKey(t *testing.T) {
	s := newShell(t)
	created := read[enroll.Enrollment](s, "enrollment", "create", "meter-1", "--symmetric", "--keys")
	if keys := created.Attestation.SymmetricKey; keys == nil || keys.PrimaryKey == "" || keys.SecondaryKey == "" {
		t.Fatalf("created: %+v", created)
	}
	if stdout, _ := s.run(0, "enrollment", "show", "meter-1"); !strings.Contains(stdout, "symmetricKey") ||
		strings.Contains(stdout, created.Attestation.SymmetricKey.PrimaryKey) {
		t.Errorf("shown: %s", stdout)
	}
	if _, stderr := s.run(1, "enrollment", "create", "meter-2", "--primary-key", "c2hvcnQ="); !strings.Contains(stderr,
		"16 to 64 bytes") {
		t.Errorf("a short key: %s", stderr)
	}
	s.run(2, "enrollment", "create", "meter-3")
}
