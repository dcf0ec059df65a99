//go:build conformance

package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if err := installSDKs(); err != nil {
		fmt.Fprintln(os.Stderr, "conformance: set-up:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// TestSDKs is one life of a data folder: a server that answers at once and
// everything that the SDKs do with it, a stop while a device is connected, the
// same server back with Azure's pace, the quickstarts again, and the clean-up.
func TestSDKs(t *testing.T) {
	binary, data, certificates := build(t), t.TempDir(), t.TempDir()
	quickstartCertificate(t, certificates)
	deviceCertificates(t, certificates)

	instant := start(t, binary, data, certificates, "instant")
	instant.berth(t, nil, "enrollment", "create", quickstartID, "--x509",
		filepath.Join(certificates, "python-device.pem"))
	for _, program := range quickstarts {
		t.Run("instant/"+program.name, func(t *testing.T) { program.test(t, instant) })
	}
	t.Run("telemetry", func(t *testing.T) { firstTelemetry(t, instant) })
	for _, file := range programs(t, "python", "test_*.py") {
		module := strings.TrimSuffix(file, ".py")
		t.Run("python/"+module, func(t *testing.T) { instant.run(t, python("-m", "unittest", "-v", module)) })
	}
	for _, file := range programs(t, "node", "*.test.js") {
		if file == "tpm.test.js" {
			continue // TestTPM runs it, which has a TPM
		}
		name := strings.TrimSuffix(file, ".test.js")
		t.Run("node/"+name, func(t *testing.T) { instant.run(t, node("--test", file)) })
	}
	t.Run("attempts", func(t *testing.T) { refusalsExplained(t, instant) })

	// A device is connected while the server stops and starts again.
	paced := acrossRestart(t, instant, func() *server { return start(t, binary, data, certificates, "paced") })
	if paced.info.IDScope != instant.info.IDScope {
		t.Errorf("the ID scope was %s and is %s after the restart", instant.info.IDScope, paced.info.IDScope)
	}
	for _, program := range quickstarts {
		t.Run("paced/"+program.name, func(t *testing.T) { program.test(t, paced) })
	}
	t.Run("clean-up", func(t *testing.T) { cleanUp(t, paced) })
	paced.stop(t)
}

// programs are the files of a folder with tests in them: all, so that none is forgotten.
func programs(t *testing.T, folder, pattern string) (files []string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(folder, pattern))
	if err != nil || len(found) == 0 {
		t.Fatalf("%s: there are no tests %s (%v)", folder, pattern, err)
	}
	for _, path := range found {
		files = append(files, filepath.Base(path))
	}
	return files
}

// firstTelemetry reads the log from its beginning: the first quickstart's.
func firstTelemetry(t *testing.T, s *server) {
	var messages []message
	s.berth(t, &messages, "telemetry", "tail", "--from", "earliest", "--max", "10")
	tenMessages(t, messages)
}

// refusalsExplained checks that each refusal the SDKs met has a trace that names
// the check that failed.
func refusalsExplained(t *testing.T, s *server) {
	for _, refusal := range []struct{ registrationID, check string }{
		{"python-scope", "ID scope"},
		{"python-unknown", "enrollment"},
		{"python-wrong", "enrolled certificate"},
		{"python-name", "common name"},
		{"python-expired", "validity"},
		{"python-early", "validity"},
		{"python-disabled", "provisioning status"},
		{"node-wrong", "enrolled certificate"},
		{"node-disabled", "provisioning status"},
	} {
		var attempts []struct {
			Outcome string
			Code    int
			Checks  []struct {
				Name   string
				Passed bool
				Advice string
			}
		}
		s.berth(t, &attempts, "attempts", refusal.registrationID)
		if len(attempts) == 0 {
			t.Errorf("%s: no attempt was kept", refusal.registrationID)
			continue
		}
		last := attempts[0]
		failed := last.Checks[len(last.Checks)-1]
		if last.Outcome != "refused" || last.Code != 401002 || failed.Name != refusal.check || failed.Passed ||
			failed.Advice == "" {
			t.Errorf("%s: want refused 401002 at check %q, got %+v", refusal.registrationID, refusal.check, last)
		}
	}
}

// acrossRestart has a Python device connected with a symmetric key while the
// server is stopped and another is started on the same data: it comes back by
// itself and sends.
func acrossRestart(t *testing.T, before *server, restart func() *server) *server {
	stays := before.begin(t, python("across_restart.py"))
	stays.says(t, "connected")
	before.stop(t)
	stays.says(t, "disconnected")
	after := restart()
	stays.says(t, "connected")
	stays.says(t, "sent")
	return after
}

// cleanUp deletes what the quickstart made. Nothing may be left then: the
// programs delete what they make.
func cleanUp(t *testing.T, s *server) {
	for _, list := range [][]string{{"device", "list", "--hub", "berth"}, {"registration", "list"},
		{"enrollment", "list"}} {
		s.berth(t, nil, list[0], "delete", quickstartID)
		var left []any
		s.berth(t, &left, list...)
		if len(left) > 0 {
			t.Errorf("berth %v: %v are left", list, left)
		}
	}
}
