//go:build unix

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/wire/mqtt"
)

// crowd is many devices of a server's hub, which share a certificate.
type crowd struct {
	server *process
	client *tls.Config
	size   int
}

// newCrowd makes devices crowd-0 and so on.
func newCrowd(t *testing.T, server *process, size int) *crowd {
	t.Helper()
	certificate, _, err := newDevice("crowd")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(certificate.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	_, thumbprint := credential.Thumbprints(leaf)
	ctx := within(t, 5*time.Minute)
	next, failed := make(chan int), make(chan error, 64)
	var workers sync.WaitGroup
	for range cap(failed) {
		workers.Go(func() {
			for i := range next {
				device := identity.Device{DeviceID: crowdID(i), Authentication: &identity.Authentication{
					Type: identity.SelfSigned, X509Thumbprint: identity.ThumbprintPair{PrimaryThumbprint: &thumbprint}}}
				if _, err := server.hub.CreateDevice(ctx, device); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	for i := range size {
		select {
		case next <- i:
		case err := <-failed:
			t.Fatal(err)
		}
	}
	close(next)
	workers.Wait()
	return &crowd{server,
		&tls.Config{RootCAs: server.roots, ServerName: server.info.Hubs[0].Host,
			Certificates: []tls.Certificate{certificate}, CurvePreferences: []tls.CurveID{tls.X25519}}, size}
}

func crowdID(i int) string { return fmt.Sprintf("crowd-%d", i) }

// connect connects device i; the caller aborts what it gets. Devices come from
// several addresses of loopback, as one has too few ports.
func (c *crowd) connect(ctx context.Context, i int) (*mqtt.Client, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i/2000))}}
	conn, err := dialer.DialContext(ctx, "tcp", cli.Loopback(c.server.info.Ports.MQTT))
	if err != nil {
		return nil, err
	}
	secure := tls.Client(conn, c.client)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	id, host := crowdID(i), c.server.info.Hubs[0].Host
	connect := mqtt.Connect{ClientID: id, Username: host + "/" + id + "/?api-version=2021-04-12", CleanSession: true}
	client, _, err := mqtt.NewClient(ctx, secure, &connect, nil)
	if err != nil {
		conn.Close()
	}
	return client, err
}

// requireDescriptors makes sure that a test can have as many connections.
func requireDescriptors(t *testing.T, want int) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur < uint64(want) {
		t.Fatalf("the test needs %d file descriptors and may have %d: raise the limit with ulimit -n", want, limit.Cur)
	}
}

// local asks the server's port on loopback for a path.
func (p *process) local(t *testing.T, path string) (status int, body string) {
	t.Helper()
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + cli.Loopback(p.info.Ports.Portal) + path)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Error(err)
	}
	return answer.StatusCode, string(text)
}

// figures returns the lines of /metrics that begin with one of the prefixes.
func (p *process) figures(t *testing.T, prefixes ...string) string {
	t.Helper()
	_, text := p.local(t, "/metrics")
	var found strings.Builder
	for line := range strings.Lines(text) {
		for _, prefix := range prefixes {
			if strings.HasPrefix(line, prefix) {
				found.WriteString(line)
			}
		}
	}
	return found.String()
}
