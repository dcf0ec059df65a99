package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/hub/telemetry"
	"github.com/berth-iot/berth/server"
)

// TestUp starts, stops and starts the real binary on one data folder.
func TestUp(t *testing.T) {
	binary, data := buildBinary(t), t.TempDir()
	first := startProcess(t, binary, data)
	ctx := within(t, time.Minute)
	certificate, enrollment, err := newDevice("d1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.provisioning.CreateEnrollment(ctx, enrollment); err != nil {
		t.Fatal(err)
	}
	if err := first.register(ctx, "d1", certificate); err != nil {
		t.Fatal(err)
	}

	second := exec.Command(binary, "up", "--data", data, "--mqtt-port", "0", "--https-port", "0", "--portal-port", "0")
	if output, err := second.CombinedOutput(); err == nil || !strings.Contains(string(output), data) {
		t.Errorf("a second server on the same folder: %v\n%s", err, output)
	}

	// A connected device and a reader of telemetry do not hold up the end.
	client, err := first.dial(ctx, "d1", certificate)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Send(ctx, device.Message{Payload: []byte("hello")}); err != nil {
		t.Fatal(err)
	}
	reading, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- first.hub.Telemetry(ctx, telemetry.Position{Earliest: true}, "", 0, func(telemetry.Message) error {
			close(reading)
			return nil
		})
	}()
	<-reading
	first.terminate(t)
	<-client.Ended()
	<-ended // the server has cut it off, in whatever way

	again := startProcess(t, binary, data, "--registration", "paced")
	t.Logf("ready after %v, on an empty folder after %v", again.ready, first.ready)
	if again.info.IDScope != first.info.IDScope ||
		again.info.ProvisioningConnectionString != first.info.ProvisioningConnectionString ||
		!again.roots.Equal(first.roots) {
		t.Errorf("after a restart the server is another: %+v, it was %+v", again.info, first.info)
	}
	if client, err = again.dial(ctx, "d1", certificate); err != nil {
		t.Fatalf("the device after the restart: %v", err)
	}
	client.Close()
	again.terminate(t)

	// The hub keeps the host that the device knows.
	code, output := runBinary(t, binary, "up", "--data", data, "--mqtt-port", "0", "--https-port", "0",
		"--portal-port", "0", "--hub-host", "hub.example.com")
	if code != 2 || !strings.Contains(output, "has the host name 127.0.0.1 (the device d1 is assigned to it)") ||
		!strings.Contains(output, "--hub-host 127.0.0.1, or without") {
		t.Errorf("with another host of the hub the exit code is %d\n%s", code, output)
	}
}

// TestUpShowsSecrets prints keys and a login link on a terminal, and where they were
// asked for: what goes elsewhere is kept in journals.
func TestUpShowsSecrets(t *testing.T) {
	binary, data := buildBinary(t), t.TempDir()
	for _, c := range []struct {
		name     string
		terminal bool
		flags    []string
		shown    bool
	}{
		{"a journal", false, nil, false},
		{"a journal, when asked", false, []string{"--show-secrets"}, true},
		{"a terminal", true, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			up := exec.Command(binary,
				append([]string{"up", "--data", data, "--mqtt-port", "0", "--https-port", "0", "--portal-port", "0"},
					c.flags...)...)
			var log strings.Builder
			up.Stderr = &log
			reader, writer, err := os.Pipe()
			if c.terminal {
				reader, writer, err = pty.Open()
			}
			if err != nil {
				t.Fatal(err)
			}
			defer reader.Close()
			up.Stdout = writer
			if err := up.Start(); err != nil {
				t.Fatal(err)
			}
			writer.Close()
			var printed strings.Builder
			for lines := bufio.NewScanner(reader); lines.Scan() && strings.TrimSpace(lines.Text()) != "ready"; {
				printed.WriteString(lines.Text() + "\n")
			}
			up.Process.Signal(syscall.SIGTERM)
			if err := up.Wait(); err != nil {
				t.Fatalf("berth up: %v\n%s", err, &log)
			}
			info, err := server.ReadInfo(data)
			if err != nil {
				t.Fatal(err)
			}
			secrets := []string{"/portal/login?code="}
			for _, text := range []string{info.ProvisioningConnectionString, info.Hubs[0].ConnectionString} {
				connection, err := credential.ParseConnectionString(text)
				if err != nil {
					t.Fatal(err)
				}
				secrets = append(secrets, connection.SharedAccessKey)
			}
			for _, secret := range secrets {
				if strings.Contains(printed.String(), secret) != c.shown || strings.Contains(log.String(), secret) {
					t.Errorf("%s is shown: %v, want %v, in\n%s\nand the log\n%s", secret, !c.shown, c.shown, &printed,
						&log)
				}
			}
			for _, said := range []string{info.IDScope, info.CAFile, "SharedAccessKeyName=provisioningserviceowner",
				"berth portal link"} {
				if !strings.Contains(printed.String(), said) {
					t.Errorf("it does not print %s:\n%s", said, &printed)
				}
			}
		})
	}
}

// TestUpBusyPort names the port that is not free and what to do.
func TestUpBusyPort(t *testing.T) {
	listener, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	port := fmt.Sprint(listener.Addr().(*net.TCPAddr).Port)
	_, stderr := runLine(t, 1, "up", "--data", t.TempDir(), "--mqtt-port", port, "--https-port", "0", "--portal-port",
		"0")
	if !strings.Contains(stderr, "cannot listen on port "+port+" (MQTT): ") ||
		!strings.Contains(stderr, "--mqtt-port") || strings.Contains(stderr, "listen tcp") {
		t.Errorf("standard error: %s", stderr)
	}
}

// TestUpWithout443 serves HTTPS on 8443 when port 443 is not free, and says so.
func TestUpWithout443(t *testing.T) {
	// Who may not have the port needs nobody else to hold it.
	if listener, err := net.Listen("tcp", ":443"); err == nil {
		defer listener.Close()
	}
	p := startProcess(t, buildBinary(t), t.TempDir(), "--https-port", "443")
	if p.info.Ports.HTTPS != 8443 {
		t.Errorf("HTTPS is on port %d, want 8443", p.info.Ports.HTTPS)
	}
	if _, err := p.provisioning.Summary(within(t, time.Minute)); err != nil {
		t.Errorf("the service there: %v", err)
	}
	p.terminate(t)
	if !strings.Contains(p.log.String(), "Cannot listen on port 443 (HTTPS): ") ||
		!strings.Contains(p.log.String(), "8443") {
		t.Errorf("the notice: %s", &p.log)
	}
}
