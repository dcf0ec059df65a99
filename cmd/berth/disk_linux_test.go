package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/server"
)

// smallDisk is a disk in memory that only the processes on it see, in a mount
// namespace of their own.
type smallDisk struct {
	holder *exec.Cmd // keeps the namespace
	root   string    // the disk as this process reaches it
	mount  string    // where the processes on it find it
}

// newDisk makes a disk of so many bytes.
func newDisk(t *testing.T, size int64) *smallDisk {
	t.Helper()
	d := &smallDisk{mount: t.TempDir()}
	flags := []string{"--mount"}
	if os.Geteuid() != 0 {
		flags = []string{"--mount", "--user", "--map-root-user"}
	}
	d.holder = exec.Command("unshare", append(flags, "sh", "-c",
		fmt.Sprintf(`mount -t tmpfs -o size=%d,mode=0700 tmpfs "$1" && echo mounted && cat`, size), "sh", d.mount)...)
	input, err := d.holder.StdinPipe() // it ends with this process
	if err != nil {
		t.Fatal(err)
	}
	output, err := d.holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaints strings.Builder
	d.holder.Stderr = &complaints
	if err := d.holder.Start(); err != nil {
		t.Fatalf("this test needs unshare (util-linux), to mount a small disk: %v", err)
	}
	t.Cleanup(func() {
		input.Close()
		d.holder.Wait()
	})
	if line, err := bufio.NewReader(output).ReadString('\n'); err != nil || line != "mounted\n" {
		d.holder.Wait()
		t.Fatalf("this test needs the right to mount a small disk, as root or in a user namespace: %s",
			complaints.String())
	}
	d.root = fmt.Sprintf("/proc/%d/root%s", d.holder.Process.Pid, d.mount)
	return d
}

// command is the binary on the disk.
func (d *smallDisk) command(binary string, args ...string) *exec.Cmd {
	enter := []string{"--mount", "--target", fmt.Sprint(d.holder.Process.Pid)}
	if os.Geteuid() != 0 {
		enter = append(enter, "--user", "--preserve-credentials")
	}
	return exec.Command("nsenter", append(append(enter, binary), args...)...)
}

// fill leaves nothing of the disk free.
func (d *smallDisk) fill(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(d.root, "filling"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// empty gives back what fill took.
func (d *smallDisk) empty(t *testing.T) {
	t.Helper()
	if err := os.Remove(filepath.Join(d.root, "filling")); err != nil {
		t.Fatal(err)
	}
}

// up starts a server on the disk.
func (d *smallDisk) up(t *testing.T, binary string, flags ...string) *process {
	t.Helper()
	p := &process{ended: make(chan struct{})}
	p.command = d.command(binary, append([]string{"up", "--data", filepath.Join(d.mount, "data"),
		"--mqtt-port", "0", "--https-port", "0", "--portal-port", "0"}, flags...)...)
	p.command.Stderr = &p.log
	output, err := p.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.command.Start(); err != nil {
		t.Fatalf("this test needs nsenter (util-linux): %v", err)
	}
	ready := make(chan struct{})
	go func() {
		for lines := bufio.NewScanner(output); lines.Scan(); {
			if lines.Text() == "ready" {
				close(ready)
			}
		}
		p.err = p.command.Wait()
		close(p.ended)
	}()
	t.Cleanup(p.kill)
	select {
	case <-ready:
	case <-p.ended:
		t.Fatalf("berth up ended: %v\n%s", p.err, &p.log)
	case <-time.After(time.Minute):
		t.Fatal("berth up was not ready after a minute")
	}
	if p.info, err = server.ReadInfo(filepath.Join(d.root, "data")); err != nil {
		t.Fatal(err)
	}
	if p.roots, err = cli.ReadAuthorities(filepath.Join(d.root, "data", "pki", "ca.pem")); err != nil {
		t.Fatal(err)
	}
	reached := backend.Options{RootCAs: p.roots, Address: cli.Loopback(p.info.Ports.HTTPS)}
	if p.provisioning, err = backend.NewProvisioning(p.info.ProvisioningConnectionString, reached); err != nil {
		t.Fatal(err)
	}
	if p.hub, err = backend.NewHub(p.info.Hubs[0].ConnectionString, reached); err != nil {
		t.Fatal(err)
	}
	return p
}

// await asks until the server's state is as wanted.
func (p *process) await(t *testing.T, what string, is func(status int, text string) bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		status, text := p.readyz(t)
		if is(status, text) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s: /readyz says %d %s\n%s", what, status, text, &p.log)
		}
	}
}

// TestFullDisk takes all room from a server's disk while it works: changes are
// refused with 503, reading goes on, /readyz says why, and when there is room again
// all goes on in the same process.
func TestFullDisk(t *testing.T) {
	binary := buildBinary(t)
	for _, test := range []struct {
		name  string
		flags []string
	}{
		{"with a reserve", nil},
		{"without a reserve", []string{"--disk-reserve", "0"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			disk := newDisk(t, 320<<20)
			p := disk.up(t, binary, test.flags...)
			fillData(t, p, 5)
			certificate, enrollment, err := newDevice("sender")
			if err != nil {
				t.Fatal(err)
			}
			ctx := within(t, 3*time.Minute)
			if _, err := p.provisioning.CreateEnrollment(ctx, enrollment); err != nil {
				t.Fatal(err)
			}
			if err := p.register(ctx, "sender", certificate); err != nil {
				t.Fatal(err)
			}
			disk.fill(t)
			confirmed := 0
			if len(test.flags) == 0 {
				p.await(t, "the reserve to be noticed", func(status int, text string) bool {
					return status == 503 && strings.Contains(text, "disk-low")
				})
				if _, err := p.provisioning.CreateEnrollment(ctx, newEnrollment(t, "refused")); !errors.Is(err,
					fault.Unavailable) {
					t.Errorf("a change on a full disk: %v, want 503001", err)
				}
				fillDevice(t, p, "sender", certificate) // the log has its room already
			} else {
				// The storage engine meets the end of the disk itself. What waits for
				// room is confirmed later or given up by its client.
				for i := 0; ; i++ {
					short, cancel := context.WithTimeout(ctx, 3*time.Second)
					_, err := p.provisioning.CreateEnrollment(short, newEnrollment(t, fmt.Sprintf("tried-%d", i)))
					cancel()
					if err != nil {
						break
					}
					confirmed++
				}
				p.await(t, "the waiting to be noticed", func(status int, text string) bool {
					return status == 503 && strings.Contains(text, "documents-waiting")
				})
			}
			if _, err := p.provisioning.Enrollment(ctx, "filling-0"); err != nil {
				t.Errorf("reading on a full disk: %v", err)
			}
			select {
			case <-p.ended:
				t.Fatalf("the process ended: %v\n%s", p.err, &p.log)
			default:
			}
			disk.empty(t)
			p.await(t, "room", func(status int, text string) bool { return status == 200 && text == "ready\n" })
			fillDevice(t, p, "sender", certificate)
			if _, err := p.provisioning.CreateEnrollment(ctx, newEnrollment(t, "afterwards")); err != nil {
				t.Errorf("a change when there is room again: %v", err)
			}
			for i := range confirmed {
				if _, err := p.provisioning.Enrollment(ctx, fmt.Sprintf("tried-%d", i)); err != nil {
					t.Errorf("enrollment %d was confirmed: %v", i, err)
				}
			}
			p.terminate(t)
			if !strings.Contains(p.log.String(), "level=ERROR") {
				t.Errorf("the log has no error:\n%s", &p.log)
			}
		})
	}
}

// TestStartOnAFullDisk ends with what is wrong; and where nothing is to be reserved,
// with that or when it is told to.
func TestStartOnAFullDisk(t *testing.T) {
	binary := buildBinary(t)
	disk := newDisk(t, 320<<20)
	p := disk.up(t, binary)
	fillData(t, p, 20)
	p.kill() // so that there is something to recover
	disk.fill(t)
	for _, flags := range [][]string{nil, {"--disk-reserve", "0"}} {
		command := disk.command(binary, append([]string{"up", "--data", filepath.Join(disk.mount, "data"),
			"--mqtt-port", "0", "--https-port", "0", "--portal-port", "0"}, flags...)...)
		var log strings.Builder
		command.Stdout, command.Stderr = &log, &log
		begun := time.Now()
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		told := time.AfterFunc(10*time.Second, func() { command.Process.Signal(syscall.SIGTERM) })
		killed := time.AfterFunc(30*time.Second, func() { command.Process.Kill() })
		err := command.Wait()
		told.Stop()
		if !killed.Stop() {
			t.Fatalf("%v: it did not end when it was told to\n%s", flags, &log)
		}
		if took := time.Since(begun); took > 20*time.Second || err == nil || command.ProcessState.ExitCode() != 1 {
			t.Errorf("%v: after %v: %v\n%s", flags, took, err, &log)
		}
		if text := log.String(); !strings.Contains(text, "space") && !strings.Contains(text, "--disk-reserve") {
			t.Errorf("%v: it does not say why:\n%s", flags, text)
		}
	}
	disk.empty(t)
	p = disk.up(t, binary)
	ctx := within(t, time.Minute)
	for i := range 20 {
		if _, err := p.provisioning.Enrollment(ctx, fmt.Sprintf("filling-%d", i)); err != nil {
			t.Errorf("enrollment %d was confirmed: %v", i, err)
		}
	}
	p.terminate(t)
}

func newEnrollment(t *testing.T, id string) enroll.Enrollment {
	t.Helper()
	_, enrollment, err := newDevice(id)
	if err != nil {
		t.Fatal(err)
	}
	return enrollment
}

// fillDevice sends telemetry from a registered device.
func fillDevice(t *testing.T, p *process, id string, certificate tls.Certificate) {
	t.Helper()
	ctx := within(t, time.Minute)
	client, err := p.dial(ctx, id, certificate)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Send(ctx, device.Message{Payload: []byte("telemetry")}); err != nil {
		t.Fatal(err)
	}
}
