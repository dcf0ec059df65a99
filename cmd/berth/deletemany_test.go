package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// deleted is what came of a deletion, as JSON has it.
type deleted struct{ Deleted, Failed int }

// TestDeleteMany deletes by prefix and by file what there is, and nothing else, and says
// what is still there.
func TestDeleteMany(t *testing.T) {
	s := newShell(t)
	ids := func(kind string) (found []string) {
		stdout, _ := s.run(0, kind, "list", "-o", "json")
		var items []map[string]any
		if err := json.Unmarshal([]byte(stdout), &items); err != nil {
			t.Fatal(err)
		}
		for _, item := range items {
			for _, name := range []string{"registrationId", "enrollmentGroupId", "deviceId"} {
				if id, ok := item[name].(string); ok {
					found = append(found, id)
					break
				}
			}
		}
		return found
	}
	at := cli.Target{Data: s.data}
	service, err := at.Provisioning()
	if err != nil {
		t.Fatal(err)
	}
	hubClient, err := at.Hub("")
	if err != nil {
		t.Fatal(err)
	}
	var enrollments []enroll.Enrollment
	for i := range 250 {
		enrollments = append(enrollments, enroll.Enrollment{RegistrationID: fmt.Sprintf("line-%03d", i),
			Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "symmetricKey",
				SymmetricKey: &enroll.SymmetricKeyAttestation{}}}})
	}
	for begin := 0; begin < len(enrollments); begin += backend.MaxBulk {
		some := enrollments[begin:min(begin+backend.MaxBulk, len(enrollments))]
		if failed, err := service.BulkEnrollments(t.Context(), backend.BulkCreate, some); err != nil ||
			len(failed) > 0 {
			t.Fatal(failed, err)
		}
	}
	for _, id := range []string{"g-1", "g-2", "other"} {
		s.run(0, "group", "create", id, "--symmetric")
		if _, err := hubClient.CreateDevice(t.Context(), identity.Device{DeviceID: "G#" + id}); err != nil {
			t.Fatal(err)
		}
	}
	if _, stderr := s.run(2, "enrollment", "delete", "--prefix", "line-"); !strings.Contains(stderr, "--yes") {
		t.Errorf("without a terminal and --yes it says %s", stderr)
	}
	for _, wrong := range [][]string{{}, {"line-001", "--prefix", "l"}, {"--prefix", "l", "--file", "f"}} {
		s.run(2, append([]string{"enrollment", "delete", "--yes"}, wrong...)...)
	}
	if n := len(ids("enrollment")); n != 250 {
		t.Fatalf("%d enrollments are left before any was deleted", n)
	}

	if result := read[deleted](s, "enrollment", "delete", "--prefix", "LINE-1", "--yes"); result != (deleted{100, 0}) {
		t.Errorf("by prefix: %+v", result)
	}
	if left := ids("enrollment"); len(left) != 150 || left[100] != "line-200" {
		t.Errorf("%d enrollments are left: %v", len(left), left)
	}
	file := filepath.Join(t.TempDir(), "ids.txt")
	text := "\ufeffline-000\r\n\r\n  line-001\nnobody\nline-000\nline-249"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, stderr := s.run(1, "enrollment", "delete", "--file", file, "-y")
	if !strings.Contains(stdout, "3 enrollments deleted, 1 failed") || !strings.Contains(stderr, "nobody: ") {
		t.Errorf("by file: %s%s", stdout, stderr)
	}
	if n := len(ids("enrollment")); n != 147 {
		t.Errorf("%d enrollments are left", n)
	}
	if result := read[deleted](s, "group", "delete", "--prefix", "g-", "--yes"); result != (deleted{2, 0}) {
		t.Errorf("groups: %+v", result)
	}
	if left := ids("group"); len(left) != 1 || left[0] != "other" {
		t.Errorf("the groups %v are left", left)
	}
	if err := os.WriteFile(file, []byte("G#g-1\nG#nobody\nG#other\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr := s.run(1, "device", "delete", "--file", file, "--yes"); !strings.Contains(stdout,
		"2 devices deleted, 1 failed") || !strings.Contains(stderr, "G#nobody: ") {
		t.Errorf("devices: %s%s", stdout, stderr)
	}
	if left := ids("device"); len(left) != 1 || left[0] != "G#g-2" {
		t.Errorf("the devices %v are left", left)
	}
	if stdout, _ := s.run(0, "registration", "delete", "--prefix", "", "--yes"); !strings.Contains(stdout,
		"no such registrations") {
		t.Errorf("where there are none: %s", stdout)
	}
}

// TestDeleteRegistrations deletes what no bulk operation of the service does.
func TestDeleteRegistrations(t *testing.T) {
	s := newShell(t)
	folder := t.TempDir()
	for i := range 5 {
		id := fmt.Sprint("device-", i)
		s.run(0, "cert", "device", id, "--key-type", "ec256", "--out", folder)
		certificate, key := filepath.Join(folder, id+".pem"), filepath.Join(folder, id+".key.pem")
		s.run(0, "enrollment", "create", id, "--x509", certificate)
		s.run(0, "device", "simulate", "--messages", "0", "--cert", certificate, "--key", key, "--registration-id", id)
	}
	if result := read[deleted](s, "registration", "delete", "--prefix", "device-", "--yes"); result != (deleted{5, 0}) {
		t.Errorf("deleted %+v", result)
	}
	if left := read[[]provisioning.Registration](s, "registration", "list"); len(left) != 0 {
		t.Errorf("%d registrations are left", len(left))
	}
	if devices := read[[]identity.Device](s, "device", "list"); len(devices) != 5 {
		t.Errorf("%d devices are left of 5, who keep their places", len(devices))
	}
}
