package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/device"
	hubidentity "github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/server"
)

// berth is a `berth up` on free ports with a folder of its own.
type berth struct {
	process *process
	folder  string
	title   string
	startup time.Duration // from the start of the process to the first connection
	info    server.Info
	roots   *x509.CertPool
	service *backend.Provisioning
	hub     *backend.Hub
}

// startBerth starts a server on an empty folder and waits until it takes a
// connection.
func startBerth(s settings) (b *berth, err error) {
	b = &berth{title: "Berth"}
	if said, err := exec.Command(s.berth, "--version").Output(); err == nil {
		b.title = strings.TrimSpace(strings.Replace(string(said), "berth version", "Berth", 1))
	}
	if b.folder, err = os.MkdirTemp(s.data, "berth-bench-"); err != nil {
		return nil, err
	}
	began := time.Now()
	b.process, err = start(s.cores, b.folder, s.berth, "up", "--data", b.folder+"/data",
		"--mqtt-port", "0", "--amqp-port", "0", "--https-port", "0", "--portal-port", "0")
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(b.folder))
	}
	if err := b.process.await(b.open); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	b.startup = time.Since(began)
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(b.info.Ports.HTTPS))
	options := backend.Options{RootCAs: b.roots, Address: address}
	if b.service, err = backend.NewProvisioning(b.info.ProvisioningConnectionString, options); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	if b.hub, err = backend.NewHub(b.info.Hubs[0].ConnectionString, options); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	return b, nil
}

// open makes a first TLS connection to the server, as soon as it has said where.
func (b *berth) open() (err error) {
	if b.info, err = server.ReadInfo(b.folder + "/data"); err != nil {
		return err
	}
	if b.roots == nil {
		authority, err := os.ReadFile(b.info.CAFile)
		if err != nil {
			return err
		}
		b.roots = x509.NewCertPool()
		b.roots.AppendCertsFromPEM(authority)
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	conn, err := tls.DialWithDialer(dialer, "tcp", b.address(), &tls.Config{RootCAs: b.roots})
	if err != nil {
		return err
	}
	return conn.Close()
}

// address is where the server speaks MQTT.
func (b *berth) address() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(b.info.Ports.MQTT))
}

func (b *berth) name() string     { return b.title }
func (b *berth) server() *process { return b.process }

func (b *berth) stop() error {
	return errors.Join(b.process.stop(), os.RemoveAll(b.folder))
}

// creators is how many devices are made known at once.
const creators = 16

func (b *berth) createDevices(ctx context.Context, devices []identity) error {
	return inParallel(ctx, len(devices), creators, func(ctx context.Context, i int) error {
		_, err := b.hub.CreateDevice(ctx, hubidentity.Device{
			DeviceID: devices[i].id,
			Authentication: &hubidentity.Authentication{
				Type:           hubidentity.SelfSigned,
				X509Thumbprint: hubidentity.ThumbprintPair{PrimaryThumbprint: &devices[i].thumbprint},
			},
		})
		return err
	})
}

func (b *berth) connect(ctx context.Context, who identity, listens bool) (link, error) {
	options := device.HubOptions{
		Host:         b.address(),
		DeviceID:     who.id,
		Certificate:  who.certificate,
		RootCAs:      b.roots,
		CleanSession: true,
	}
	if listens {
		options.OnDesired = func(int64, json.RawMessage) {}
	}
	client, err := device.Connect(ctx, options)
	return berthLink{client}, err
}

type berthLink struct{ *device.Client }

func (l berthLink) send(payload []byte, done func(error)) error {
	return l.SendAsync(device.Message{Payload: payload}, done)
}

func (l berthLink) close() error { return l.Close() }

// enroll lets devices in through the provisioning service.
func (b *berth) enroll(ctx context.Context, devices []identity) error {
	return inParallel(ctx, len(devices), creators, func(ctx context.Context, i int) error {
		certificates := &enroll.X509Certificates{Primary: &enroll.X509Certificate{Certificate: devices[i].pem}}
		_, err := b.service.PutEnrollment(ctx, newEnrollment(devices[i].id, certificates), "")
		return err
	})
}

// newEnrollment is an individual enrollment by certificate.
func newEnrollment(id string, certificates *enroll.X509Certificates) enroll.Enrollment {
	return enroll.Enrollment{
		RegistrationID: id,
		Settings: enroll.Settings{
			Attestation: enroll.AttestationMechanism{
				Type: "x509",
				X509: &enroll.X509Attestation{ClientCertificates: certificates},
			},
		},
	}
}

// register registers a device, from the connection to the answer.
func (b *berth) register(ctx context.Context, who identity) error {
	registration, err := device.Provision(ctx, device.ProvisioningOptions{
		Host:           net.JoinHostPort(b.info.ProvisioningHost, strconv.Itoa(b.info.Ports.MQTT)),
		IDScope:        b.info.IDScope,
		RegistrationID: who.id,
		Certificate:    who.certificate,
		RootCAs:        b.roots,
	})
	if err != nil {
		return err
	}
	if registration.RegistrationState.AssignedHub != b.info.Hubs[0].Host {
		return fmt.Errorf("%s was assigned to %q", who.id, registration.RegistrationState.AssignedHub)
	}
	return nil
}
