package contract

import (
	"slices"
	"testing"
)

func TestPaths(t *testing.T) {
	for path, want := range map[Path]Path{
		DevicesPath:                            "/devices",
		DevicePath.With("a b/c%"):              "/devices/a%20b%2Fc%25",
		DevicePath.With("{id}"):                "/devices/%7Bid%7D",
		EnrollmentMechanismPath.With("d1"):     "/enrollments/d1/attestationmechanism",
		OperationStatusPath.With("s", "d", ""): "/s/registrations/d/operations/",
		NetworkPath.With("10.1.0.0/16"):        "/berth/provisioning/networks/10.1.0.0%2F16",
	} {
		if path != want {
			t.Errorf("a path is %s, want %s", path, want)
		}
	}
	if got := AttemptPath.Segments(); !slices.Equal(got, []string{"berth", "provisioning", "attempts", "{sequence}"}) {
		t.Errorf("%s has the segments %q", AttemptPath, got)
	}
	if !TelemetryPath.IsOwn() || TwinPath.IsOwn() {
		t.Error("whose a path is, is not told")
	}
}
