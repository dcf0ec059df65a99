package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-iot/berth/access"
	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/server"
)

// TestPolicy gives a dashboard a policy of its own, and changes the owner's key
// under the command line that uses it.
func TestPolicy(t *testing.T) {
	s := newShell(t)
	s.run(2, "policy", "create", "dashboard")
	made := read[access.Policy](s, "policy", "create", "dashboard", "--keys", "--rights",
		"EnrollmentRead,registrationStatusRead")
	stdout, _ := s.run(0, "policy", "show", "dashboard", "--keys")
	if !strings.Contains(stdout, "SharedAccessKeyName=dashboard;SharedAccessKey="+made.PrimaryKey) ||
		!strings.Contains(stdout, "EnrollmentRead, RegistrationStatusRead") {
		t.Errorf("berth policy show: %s", stdout)
	}
	if stdout, _ := s.run(0, "policy", "list"); !strings.Contains(stdout, "dashboard") ||
		!strings.Contains(stdout, "provisioningserviceowner") || strings.Contains(stdout, made.PrimaryKey) {
		t.Errorf("berth policy list: %s", stdout)
	}

	for _, args := range [][]string{{"policy", "list", "-o", "json"},
		{"policy", "rights", "dashboard", "--rights", "EnrollmentRead,RegistrationStatusRead", "-o", "json"},
		{"policy", "rights", "dashboard", "--rights", "EnrollmentRead,RegistrationStatusRead"}} {
		if stdout, _ := s.run(0, args...); !strings.Contains(stdout, "EnrollmentRead") ||
			strings.Contains(stdout, made.PrimaryKey) || strings.Contains(stdout, made.SecondaryKey) {
			t.Errorf("berth %v: %s", args, stdout)
		}
	}
	made = read[access.Policy](s, "policy", "show", "dashboard", "--keys")

	// The policy's own connection string reads enrollments and shows no policy.
	info := read[server.Info](s, "info")
	theirs := func(key string) []string {
		return []string{"--connection-string", "HostName=" + info.ProvisioningHost +
			";SharedAccessKeyName=dashboard;SharedAccessKey=" + key,
			"--address", cli.Loopback(info.Ports.HTTPS), "--ca-file", info.CAFile}
	}
	runLine(t, 0, append([]string{"enrollment", "list"}, theirs(made.PrimaryKey)...)...)
	file := filepath.Join(t.TempDir(), "dashboard.txt")
	if err := os.WriteFile(file, []byte(theirs(made.PrimaryKey)[1]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fromFile := append([]string{"enrollment", "list", "--connection-string", "@" + file}, theirs("")[2:]...)
	runLine(t, 0, fromFile...)
	for _, args := range [][]string{{"policy", "list"}, {"policy", "show", "dashboard"},
		{"policy", "regenerate-key", "dashboard", "primary"}} {
		if stdout, stderr := runLine(t, 1, append(args, theirs(made.PrimaryKey)...)...); !strings.Contains(stderr,
			"ServiceConfig") || strings.Contains(stdout, made.SecondaryKey) {
			t.Errorf("berth %v without the right: %s%s", args, stdout, stderr)
		}
	}

	fresh := read[access.Policy](s, "policy", "regenerate-key", "dashboard", "primary", "--keys", "--etag", made.ETag)
	runLine(t, 1, append([]string{"enrollment", "list"}, theirs(made.PrimaryKey)...)...)
	runLine(t, 0, append([]string{"enrollment", "list"}, theirs(fresh.PrimaryKey)...)...)
	if _, stderr := s.run(1, "policy", "delete", "dashboard", "--etag", made.ETag); !strings.Contains(stderr,
		"412001") {
		t.Errorf("berth policy delete with an old ETag: %s", stderr)
	}
	s.run(0, "policy", "rights", "dashboard", "--rights", "EnrollmentWrite")
	runLine(t, 1, append([]string{"enrollment", "list"}, theirs(fresh.PrimaryKey)...)...)

	// The data folder has the owner's new key at once, and a new owner's.
	s.run(0, "policy", "regenerate-key", "provisioningserviceowner", "primary")
	s.run(0, "policy", "delete", "dashboard")
	if _, stderr := s.run(1, "policy", "delete", "provisioningserviceowner"); !strings.Contains(stderr, "409000") {
		t.Errorf("the last owner: %s", stderr)
	}
	s.run(0, "policy", "create", "heir", "--rights", strings.Join(made.Rights, ",")+
		",ServiceConfig,EnrollmentWrite,RegistrationStatusWrite")
	s.run(0, "policy", "delete", "provisioningserviceowner")
	if now := read[server.Info](s, "info"); !strings.Contains(now.ProvisioningConnectionString,
		"SharedAccessKeyName=heir;") {
		t.Errorf("berth info has %s", now.ProvisioningConnectionString)
	}
	if _, stderr := s.run(1, "policy", "show", "provisioningserviceowner"); !strings.Contains(stderr, "404000") {
		t.Errorf("what was deleted: %s", stderr)
	}
}
