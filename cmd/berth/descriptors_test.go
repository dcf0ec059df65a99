//go:build unix

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/wire/mqtt"
)

// TestFewDescriptors: a server at its limit of connections refuses more of them, says
// so, and has descriptors for all else: health, the portal, the command line, and for
// telemetry that needs another file.
func TestFewDescriptors(t *testing.T) {
	const descriptors, strangers = 640, 1000
	requireDescriptors(t, descriptors+strangers+100)
	binary, data := buildBinary(t), t.TempDir()
	// The soft limit is lower still: the server raises it.
	limited := filepath.Join(t.TempDir(), "limited")
	script := fmt.Sprintf("#!/bin/sh\nulimit -Sn 100 && ulimit -Hn %d && exec %s \"$@\"\n", descriptors, binary)
	if err := os.WriteFile(limited, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	server := startProcess(t, limited, data)
	limit := server.figure(t, "berth_connections_limit")
	if limit < descriptors/4 || limit >= descriptors*3/4 {
		t.Fatalf("of %d descriptors the server gives %d to connections", descriptors, limit)
	}
	c := newCrowd(t, server, descriptors)
	certificate, enrollment, err := newDevice("sender")
	if err != nil {
		t.Fatal(err)
	}
	ctx := within(t, 3*time.Minute)
	if _, err := server.provisioning.CreateEnrollment(ctx, enrollment); err != nil {
		t.Fatal(err)
	}
	if err := server.register(ctx, "sender", certificate); err != nil {
		t.Fatal(err)
	}
	sender, err := server.dial(ctx, "sender", certificate)
	if err != nil {
		t.Fatal(err)
	}

	// Strangers take all that is free, and more knock.
	for range strangers {
		conn, err := net.Dial("tcp", cli.Loopback(server.info.Ports.MQTT))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	if open := server.figure(t, "process_open_fds"); open > descriptors-100 {
		t.Errorf("with strangers at the door %d of %d descriptors are open", open, descriptors)
	}
	// Devices get in all the same, as many as there is room for.
	var clients []*mqtt.Client
	defer func() {
		for _, client := range clients {
			client.Abort()
		}
	}()
	full := false
	for i := 0; i < c.size && !full; i++ {
		attempt, cancel := context.WithTimeout(ctx, 10*time.Second)
		client, err := c.connect(attempt, i)
		cancel()
		if full = err != nil; !full {
			clients = append(clients, client)
		}
	}
	if in := len(clients); !full || in < limit-50 || in > limit {
		t.Fatalf("%d devices got in, the limit is %d", in, limit)
	}
	t.Logf("%d devices are in, %d descriptors of %d are open", len(clients), server.figure(t, "process_open_fds"),
		descriptors)

	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ready", "/portal/": "Berth",
		"/metrics": `berth_connections_refused_total{reason="limit"}`} {
		if status, body := server.local(t, path); !strings.Contains(body, want) {
			t.Errorf("%s answers %d %s", path, status, body)
		}
	}
	// A segment is 64 MiB: a new one is needed.
	for range 280 {
		if err := sender.Send(ctx, device.Message{Payload: make([]byte, 250<<10)}); err != nil {
			t.Fatal(err)
		}
	}
	if segments, err := filepath.Glob(filepath.Join(data, "logs", "hub.berth.telemetry", "*.segment")); err != nil ||
		len(segments) != 2 {
		t.Errorf("the telemetry is in %d segments, want 2: %v", len(segments), err)
	}
	if _, err := server.provisioning.CreateEnrollment(ctx,
		enroll.Enrollment{RegistrationID: "late",
			Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "symmetricKey"}}}); err != nil {
		t.Errorf("a back end that is connected: %v", err)
	}
	for i, client := range clients {
		select {
		case <-client.Ended():
			t.Errorf("device %d was sent away: %v", i, client.Err())
		default:
		}
	}
	if refused := server.figure(t, `berth_connections_refused_total{reason="displaced"}`); refused < strangers/2 {
		t.Errorf("%d strangers made room", refused)
	}
	server.terminate(t)
	log := server.log.String()
	for _, want := range []string{fmt.Sprintf("connections=%d descriptors=", limit),
		"the server has as many connections as it may"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %q:\n%.3000s", want, log)
		}
	}
	if lines := strings.Count(log, "level=ERROR"); lines > 0 {
		t.Errorf("the log has %d errors:\n%.5000s", lines, log)
	}
}

// figure is a value of /metrics.
func (p *process) figure(t *testing.T, name string) int {
	t.Helper()
	line := p.figures(t, name+" ")
	number, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimPrefix(line, name)), 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return int(number)
}

// TestTooManyConnections: a limit that the descriptors do not allow is refused at the
// start, with what to do.
func TestTooManyConnections(t *testing.T) {
	binary := buildBinary(t)
	for limit, want := range map[string]string{"100000000": "LimitNOFILE", "-1": "must be 0 or more"} {
		command := exec.CommandContext(within(t, time.Minute), binary, "up", "--max-connections", limit, "--data",
			t.TempDir(), "--mqtt-port", "0", "--https-port", "0", "--portal-port", "0")
		if output, err := command.CombinedOutput(); err == nil ||
			!strings.Contains(string(output), "--max-connections") || !strings.Contains(string(output), limit) ||
			!strings.Contains(string(output), want) {
			t.Errorf("--max-connections %s: %v\n%s", limit, err, output)
		}
	}
}
