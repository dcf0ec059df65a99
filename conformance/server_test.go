//go:build conformance

package conformance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// server is a running `berth up` and the command line that speaks to it.
type server struct {
	binary, data string
	registration string // the mode
	certificates string // the folder of the devices' certificates
	process      *exec.Cmd
	log          bytes.Buffer  // standard error
	ended        chan struct{} // closed when the process has ended; then log and err are complete
	err          error

	info struct {
		IDScope                      string
		ProvisioningHost             string
		CAFile                       string
		ProvisioningConnectionString string
		Ports                        struct{ MQTT, HTTPS int }
		Hubs                         []struct{ Host, ConnectionString string }
	}
}

// build compiles the berth binary.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "berth")
	if output, err := exec.Command("go", "build", "-o", binary,
		"github.com/berth-iot/berth/cmd/berth").CombinedOutput(); err != nil {
		t.Fatalf("build berth: %v\n%s", err, output)
	}
	return binary
}

// start runs `berth up` on the real ports and waits until it says that it is
// ready. The test stops it at its end, if it has not done so before.
func start(t *testing.T, binary, data, certificates, registration string) *server {
	t.Helper()
	requirePorts(t, 8883, 443)
	s := &server{binary: binary, data: data, registration: registration, certificates: certificates,
		ended: make(chan struct{})}
	s.process = exec.Command(binary, "up", "--data", data, "--registration", registration, "--amqp-port", "0",
		"--portal-port", "0")
	s.process.Stderr = &s.log
	output, err := s.process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	go func() {
		for lines := bufio.NewScanner(output); lines.Scan(); {
			if lines.Text() == "ready" {
				close(ready)
			}
		}
		s.err = s.process.Wait()
		close(s.ended)
	}()
	t.Cleanup(func() {
		s.process.Process.Kill()
		<-s.ended
		if t.Failed() {
			t.Logf("the log of berth up --registration %s:\n%s", registration, &s.log)
		}
	})
	select {
	case <-ready:
	case <-s.ended:
		t.Fatalf("berth up ended before it was ready: %v", s.err)
	case <-time.After(30 * time.Second):
		t.Fatal("berth up was not ready after 30 s")
	}
	s.berth(t, &s.info, "info")
	if ports := s.info.Ports; ports.MQTT != 8883 || ports.HTTPS != 443 {
		t.Fatalf("berth info: ports are %+v, want 8883 and 443", ports)
	}
	return s
}

// stop asks the server to end, as a service manager does, and expects it to
// leave in good order.
func (s *server) stop(t *testing.T) {
	t.Helper()
	s.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
		if s.err != nil {
			t.Fatalf("berth up after SIGTERM: %v", s.err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("berth up still runs 30 s after SIGTERM")
	}
}

// berth runs one command of the command line on the server's data and decodes
// its JSON into result, unless that is nil.
func (s *server) berth(t *testing.T, result any, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	args = append(args, "--data", s.data)
	if result != nil {
		args = append(args, "-o", "json")
	}
	command := exec.CommandContext(ctx, s.binary, args...)
	var output, problems bytes.Buffer
	command.Stdout, command.Stderr = &output, &problems
	if err := command.Run(); err != nil {
		t.Fatalf("berth %v: %v\n%s%s", args, err, &output, &problems)
	}
	if result != nil {
		if args[0] == "telemetry" { // an object a line
			lines := "[" + strings.Join(strings.Split(strings.TrimSpace(output.String()), "\n"), ",") + "]"
			output.Reset()
			output.WriteString(lines)
		}
		if err := json.Unmarshal(output.Bytes(), result); err != nil {
			t.Fatalf("berth %v: %v in %s", args, err, &output)
		}
	}
}
