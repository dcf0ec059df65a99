package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/wire/mqtt"
)

// errNotInstalled says that a peer can't be measured here.
var errNotInstalled = errors.New("it is not installed")

// mosquitto is the Debian package's broker. Nobody subscribes to what it gets and
// nothing is persisted: it acknowledges and forgets.
type mosquitto struct {
	process *process
	folder  string
	title   string
	address string
	roots   *x509.CertPool
}

// startMosquitto starts the broker so that it asks for certificates which the
// authority has signed.
func startMosquitto(s settings, authority *credential.Authority) (m *mosquitto, err error) {
	binary, err := findMosquitto()
	if err != nil {
		return nil, err
	}
	m = &mosquitto{title: "mosquitto"}
	// It prints its usage, and ends with a code other than 0.
	said, _ := exec.Command(binary, "-h").Output()
	if _, rest, ok := strings.Cut(string(said), "version "); ok {
		m.title += " " + strings.Fields(rest)[0]
	}
	if m.folder, err = os.MkdirTemp(s.data, "mosquitto-bench-"); err != nil {
		return nil, err
	}
	if err := m.configure(authority); err != nil {
		return nil, errors.Join(err, os.RemoveAll(m.folder))
	}
	if m.process, err = start(s.cores, m.folder, binary, "-c", filepath.Join(m.folder, "mosquitto.conf")); err != nil {
		return nil, errors.Join(err, os.RemoveAll(m.folder))
	}
	if err := m.process.await(func() error {
		conn, err := net.DialTimeout("tcp", m.address, time.Second)
		if err != nil {
			return err
		}
		return conn.Close()
	}); err != nil {
		return nil, errors.Join(err, m.stop())
	}
	return m, nil
}

// findMosquitto looks where Debian puts it too: it is not in everybody's PATH.
func findMosquitto() (string, error) {
	for _, name := range []string{"mosquitto", "/usr/sbin/mosquitto"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errNotInstalled
}

func (m *mosquitto) configure(authority *credential.Authority) error {
	serverPEM, keyPEM, err := authority.IssueServer([]string{"127.0.0.1"}, time.Now().Add(-time.Hour), 24*time.Hour)
	if err != nil {
		return err
	}
	authorityPEM, _, err := authority.PEM()
	if err != nil {
		return err
	}
	m.roots = x509.NewCertPool()
	m.roots.AddCert(authority.Certificate)
	port, err := freePort()
	if err != nil {
		return err
	}
	m.address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	self, err := user.Current() // it would give up root for a user who may not read the files
	if err != nil {
		return err
	}
	settings := fmt.Sprintf(`user %[3]s
listener %[1]d 127.0.0.1
cafile %[2]s/ca.pem
certfile %[2]s/server.pem
keyfile %[2]s/server.key
require_certificate true
use_identity_as_username true
allow_anonymous true
persistence false
log_type error
max_connections -1
`, port, m.folder, self.Username)
	for name, content := range map[string][]byte{
		"ca.pem": authorityPEM, "server.pem": serverPEM, "server.key": keyPEM, "mosquitto.conf": []byte(settings),
	} {
		if err := os.WriteFile(filepath.Join(m.folder, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (m *mosquitto) name() string     { return m.title }
func (m *mosquitto) server() *process { return m.process }

func (m *mosquitto) stop() error {
	return errors.Join(m.process.stop(), os.RemoveAll(m.folder))
}

// createDevices has nothing to do: whoever the authority has signed may come in.
func (m *mosquitto) createDevices(context.Context, []identity) error { return nil }

func (m *mosquitto) connect(ctx context.Context, device identity, listens bool) (link, error) {
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: m.roots, Certificates: []tls.Certificate{*device.certificate}}}
	conn, err := dialer.DialContext(ctx, "tcp", m.address)
	if err != nil {
		return nil, err
	}
	connect := mqtt.Connect{ClientID: device.id, CleanSession: true, KeepAlive: 240}
	client, _, err := mqtt.NewClient(ctx, conn, &connect, func(string, []byte) {})
	if err != nil {
		return nil, err
	}
	if listens {
		messages := mqtt.Subscription{Filter: "devices/" + device.id + "/messages/devicebound/#", QoS: 1}
		if _, err := client.Subscribe(ctx, messages); err != nil {
			client.Abort()
			return nil, err
		}
	}
	return mosquittoLink{client, "devices/" + device.id + "/messages/events/"}, nil
}

type mosquittoLink struct {
	*mqtt.Client
	topic string
}

func (l mosquittoLink) send(payload []byte, done func(error)) error {
	return l.Publish(l.topic, payload, 1, done)
}

func (l mosquittoLink) close() error { return l.Disconnect() }
