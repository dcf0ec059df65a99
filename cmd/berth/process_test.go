package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/server"
)

// process is the real binary, running berth up on free ports.
type process struct {
	command *exec.Cmd
	log     bytes.Buffer  // standard error, complete when ended is closed
	killed  atomic.Bool   // the test has killed it, or is about to
	ended   chan struct{} // the process has ended
	err     error         // how, then
	ready   time.Duration // from its start to its line "ready"

	info         server.Info
	roots        *x509.CertPool
	provisioning *backend.Provisioning
	hub          *backend.Hub
}

// binaries is the folder of the binary that the tests run, made by the first that does.
var binaries string

// collectorPercent is the garbage collector's in the process of the tests. Cobra keeps a
// command for good once a flag of it completes, and the tests make thousands of them: at
// 100 the collector would take a third of the time, to look through what is never garbage.
const collectorPercent = 300

func TestMain(m *testing.M) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectorPercent)
	}
	code := m.Run()
	if binaries != "" {
		os.RemoveAll(binaries)
	}
	os.Exit(code)
}

// buildBinary compiles the command as `make build` does, once for all tests.
func buildBinary(t *testing.T) string {
	t.Helper()
	binary, err := builtBinary()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

var builtBinary = sync.OnceValues(func() (binary string, err error) {
	if binaries, err = os.MkdirTemp("", "berth-test-"); err != nil {
		return "", err
	}
	binary = filepath.Join(binaries, "berth")
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	if output, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build berth: %w\n%s", err, output)
	}
	return binary, nil
})

// startProcess starts the binary on a data folder and waits until it is ready.
func startProcess(t *testing.T, binary, data string, flags ...string) *process {
	t.Helper()
	p := &process{ended: make(chan struct{})}
	begun := time.Now()
	p.command = exec.Command(binary, append([]string{"up", "--data", data,
		"--mqtt-port", "0", "--https-port", "0", "--amqp-port", "0", "--portal-port", "0"}, flags...)...)
	p.command.Stderr = &p.log
	output, err := p.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	go func() {
		for lines := bufio.NewScanner(output); lines.Scan(); {
			if lines.Text() == "ready" {
				p.ready = time.Since(begun)
				close(ready)
			}
		}
		p.err = p.command.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() { p.kill() })
	select {
	case <-ready:
	case <-p.ended:
		t.Fatalf("berth up ended before it was ready: %v\n%s", p.err, &p.log)
	case <-time.After(time.Minute):
		t.Fatal("berth up was not ready after a minute")
	}
	p.connect(t, data)
	return p
}

func (p *process) connect(t *testing.T, data string) {
	t.Helper()
	var err error
	if p.info, err = server.ReadInfo(data); err != nil {
		t.Fatal(err)
	}
	if p.roots, err = cli.ReadAuthorities(p.info.CAFile); err != nil {
		t.Fatal(err)
	}
	reached := backend.Options{RootCAs: p.roots, Address: cli.Loopback(p.info.Ports.HTTPS)}
	if p.provisioning, err = backend.NewProvisioning(p.info.ProvisioningConnectionString, reached); err != nil {
		t.Fatal(err)
	}
	if p.hub, err = backend.NewHub(p.info.Hubs[0].ConnectionString, reached); err != nil {
		t.Fatal(err)
	}
}

// kill ends the process as a power cut does, and waits for its end.
func (p *process) kill() {
	p.killed.Store(true)
	p.command.Process.Kill() // it may have ended
	<-p.ended
	if p.hub != nil {
		p.hub.Close()
		p.provisioning.Close()
	}
}

// terminate asks the process to end and waits for it.
func (p *process) terminate(t *testing.T) {
	t.Helper()
	p.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		if p.err != nil {
			t.Errorf("berth up after SIGTERM: %v\n%s", p.err, &p.log)
		}
	case <-time.After(time.Minute):
		t.Error("berth up still runs a minute after SIGTERM")
	}
}

func (p *process) mqttHost(host string) string {
	return net.JoinHostPort(host, strconv.Itoa(p.info.Ports.MQTT))
}

// newDevice makes a device's certificate and the enrollment for it.
func newDevice(id string) (tls.Certificate, enroll.Enrollment, error) {
	certificatePEM, keyPEM, err := credential.NewDeviceCertificate(credential.DeviceCertificate{
		CommonName: id, KeyType: credential.EC256, NotBefore: time.Now().Add(-time.Hour), Validity: 24 * time.Hour})
	if err != nil {
		return tls.Certificate{}, enroll.Enrollment{}, err
	}
	certificate, err := tls.X509KeyPair(certificatePEM, keyPEM)
	return certificate, enroll.Enrollment{
		RegistrationID: id,
		Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "x509", X509: &enroll.X509Attestation{
			ClientCertificates: &enroll.X509Certificates{
				Primary: &enroll.X509Certificate{Certificate: string(certificatePEM)}}}}},
	}, err
}

func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}
