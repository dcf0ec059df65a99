package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// TestStaticWithoutAHub has an enrollment and a group take static allocation before a hub
// is named, by flags and by import, and a device be told what is missing.
func TestStaticWithoutAHub(t *testing.T) {
	s := newShell(t)
	const says = "none yet: name it with --hub"
	enrollment := read[enroll.Enrollment](s, "enrollment", "create", "d1", "--symmetric",
		"--allocation-policy", "static")
	if enrollment.AllocationPolicy != allocation.Static {
		t.Errorf("enrolled is %+v", enrollment)
	}
	if shown, _ := s.run(0, "enrollment", "show", "d1"); !strings.Contains(shown, says) {
		t.Errorf("the enrollment is shown as\n%s", shown)
	}
	s.run(0, "group", "create", "meters", "--symmetric", "--allocation-policy", "static")
	if shown, _ := s.run(0, "group", "show", "meters"); !strings.Contains(shown, says) {
		t.Errorf("the group is shown as\n%s", shown)
	}
	file := filepath.Join(t.TempDir(), "enrollments.json")
	if err := os.WriteFile(file,
		[]byte(`[{"registrationId":"d2","attestation":{"type":"symmetricKey"},"allocationPolicy":"Static"}]`),
		0o600); err != nil {
		t.Fatal(err)
	}
	s.run(0, "enrollment", "import", file)
	if imported := read[enroll.Enrollment](s, "enrollment", "show",
		"d2"); imported.AllocationPolicy != allocation.Static {
		t.Errorf("imported is %+v", imported)
	}
	if preview, _ := s.run(0, "allocate", "d1", "--dry-run"); !strings.Contains(preview,
		"the enrollment names no hub") || !strings.Contains(preview, "There is no hub for it") {
		t.Errorf("the preview is\n%s", preview)
	}
	s.run(0, "enrollment", "update", "d1", "--hub", "berth")
	if shown, _ := s.run(0, "enrollment", "show", "d1"); strings.Contains(shown, says) {
		t.Errorf("with a hub the enrollment is shown as\n%s", shown)
	}
}
