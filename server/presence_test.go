package server_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-iot/berth/berthtest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/wire/mqtt"
)

// fleet is a running server with devices that connect over MQTT and TLS.
type fleet struct {
	*berthtest.Server
	t   *testing.T
	ctx context.Context
}

func newFleet(t *testing.T, options ...berthtest.Option) *fleet {
	t.Helper()
	server := berthtest.Start(t, options...)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(cancel)
	return &fleet{server, t, ctx}
}

// create makes a device with a key and returns how it connects.
func (f *fleet) create(id string) device.HubOptions {
	f.t.Helper()
	created, err := f.Hub.CreateDevice(f.ctx, identity.Device{DeviceID: id})
	if err != nil {
		f.t.Fatal(err)
	}
	return device.HubOptions{Host: f.MQTTAddress(), DeviceID: id,
		SASKey: *created.Authentication.SymmetricKey.PrimaryKey, RootCAs: f.RootCAs}
}

// operational makes a device with an operational certificate.
func (f *fleet) operational(id string) device.HubOptions {
	f.t.Helper()
	key := credential.NewKey(32)
	_, err := f.Provisioning.PutEnrollment(f.ctx, enroll.Enrollment{RegistrationID: id,
		Settings: enroll.Settings{CredentialPolicyName: "default",
			Attestation: enroll.AttestationMechanism{Type: "symmetricKey",
				SymmetricKey: &enroll.SymmetricKeyAttestation{PrimaryKey: key, SecondaryKey: credential.NewKey(32)}}}},
		"")
	if err != nil {
		f.t.Fatal(err)
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: id}},
		private)
	if err != nil {
		f.t.Fatal(err)
	}
	registration, err := device.Provision(f.ctx, device.ProvisioningOptions{Host: f.MQTTAddress(),
		IDScope:        f.Info().IDScope,
		RegistrationID: id, SASKey: key, RootCAs: f.RootCAs, CSR: csr})
	if err != nil {
		f.t.Fatal(err)
	}
	return device.HubOptions{Host: f.MQTTAddress(), DeviceID: id, RootCAs: f.RootCAs,
		Certificate: &tls.Certificate{Certificate: registration.RegistrationState.IssuedCertificateChain,
			PrivateKey: private}}
}

// connect is the CONNECT of a device, and what its TLS needs.
func (f *fleet) connect(options device.HubOptions) (mqtt.Connect, *tls.Config) {
	f.t.Helper()
	config := &tls.Config{RootCAs: f.RootCAs, ServerName: "127.0.0.1"}
	connect := mqtt.Connect{ClientID: options.DeviceID, KeepAlive: 60, CleanSession: true,
		Username: "127.0.0.1/" + options.DeviceID + "/?api-version=2021-04-12"}
	if options.Certificate != nil {
		config.Certificates = []tls.Certificate{*options.Certificate}
		return connect, config
	}
	token, err := credential.NewToken("127.0.0.1/devices/"+options.DeviceID, "", options.SASKey,
		time.Now().Add(time.Hour))
	if err != nil {
		f.t.Fatal(err)
	}
	connect.Password, connect.HasPassword = []byte(token), true
	return connect, config
}

// connection is one of a device.
type connection interface{ Ended() <-chan struct{} }

// storm connects a device several times at once, while other runs too. Refusals are
// left out of what it returns.
func (f *fleet) storm(options device.HubOptions, connections int, other func()) (clients []connection) {
	f.t.Helper()
	connect, config := f.connect(options)
	var mutex sync.Mutex
	var group sync.WaitGroup
	start := make(chan struct{})
	for range connections {
		// The handshakes are over before, so that what meets is the CONNECTs.
		conn, err := tls.Dial("tcp", f.MQTTAddress(), config)
		if err != nil {
			f.t.Fatal(err)
		}
		group.Go(func() {
			<-start
			client, _, err := mqtt.NewClient(f.ctx, conn, &connect, func(string, []byte) {})
			if err != nil { // refused, or ended before it was answered
				conn.Close()
				return
			}
			mutex.Lock()
			defer mutex.Unlock()
			clients = append(clients, client)
		})
	}
	group.Go(func() { <-start; other() })
	close(start)
	group.Wait()
	return clients
}

// settle waits until at most one of the clients is connected, and returns it.
func (f *fleet) settle(id string, clients []connection, nobody bool) connection {
	f.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		var alive []connection
		var ended []<-chan struct{}
		for _, client := range clients {
			select {
			case <-client.Ended():
			default:
				alive, ended = append(alive, client), append(ended, client.Ended())
			}
		}
		if len(alive) == 0 {
			return nil
		}
		if len(alive) == 1 && !nobody {
			return alive[0]
		}
		// One of the first two must end; which one is not known.
		if len(ended) == 1 {
			ended = append(ended, nil)
		}
		select {
		case <-ended[0]:
		case <-ended[1]:
		case <-deadline:
			f.t.Fatalf("%d connections of %s are alive", len(alive), id)
		}
	}
}

// agree checks that the connections, the hub's count and the device's state say the
// same.
func (f *fleet) agree(id string, client connection) {
	f.t.Helper()
	connected, state := 0, "Disconnected"
	if client != nil {
		connected, state = 1, "Connected"
	}
	statistics, err := f.Hub.ServiceStatistics(f.ctx)
	if err != nil || statistics.ConnectedDeviceCount != connected {
		f.t.Fatalf("the hub counts %d connections, want %d; error %v", statistics.ConnectedDeviceCount, connected, err)
	}
	present, err := f.Hub.Device(f.ctx, id)
	if client == nil && errors.Is(err, fault.DeviceNotFound) {
		return
	}
	if err != nil || present.ConnectionState != state {
		f.t.Fatalf("the device is %s, want %s; error %v", present.ConnectionState, state, err)
	}
}

// hangUp disconnects and waits until the hub knows.
func (f *fleet) hangUp(clients []connection) {
	f.t.Helper()
	disconnect(clients)
	for {
		statistics, err := f.Hub.ServiceStatistics(f.ctx)
		if err != nil {
			f.t.Fatal(err)
		}
		if statistics.ConnectedDeviceCount == 0 {
			return
		}
	}
}

// noConnections waits until the server has no MQTT connection left, not even one that
// it is still to answer.
func (f *fleet) noConnections() {
	f.t.Helper()
	for address := strings.TrimSuffix(f.Info().PortalURL, "/") + "/metrics"; f.ctx.Err() == nil; {
		response, err := http.Get(address)
		if err != nil {
			f.t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			f.t.Fatal(err)
		}
		if strings.Contains(string(body), "\nberth_mqtt_connections 0\n") {
			return
		}
	}
	f.t.Fatal("connections stay")
}

func disconnect(clients []connection) {
	for _, client := range clients {
		client.(*mqtt.Client).Disconnect() // it may have ended already
	}
}

// Twelve connections of one device at once: the last one stays, and the hub knows it.
func TestSimultaneousConnections(t *testing.T) {
	f := newFleet(t)
	options := f.create("d")
	var former []connection
	for round := range 100 {
		clients := f.storm(options, 12, func() { disconnect(former) })
		all := append(clients, former...)
		client := f.settle("d", all, false)
		if client == nil {
			t.Fatal("nobody is connected")
		}
		f.agree("d", client)
		if former = clients; round%4 == 3 {
			f.hangUp(all)
			f.agree("d", nil)
			former = nil
		}
	}
	f.hangUp(former)
}

// A connection whose network is gone before it was answered leaves no ghost.
func TestLostConnections(t *testing.T) {
	f := newFleet(t)
	options := f.create("d")
	connect, config := f.connect(options)
	for round := range 30 {
		var group sync.WaitGroup
		start := make(chan struct{})
		for range 6 {
			conn, err := tls.Dial("tcp", f.MQTTAddress(), config)
			if err != nil {
				t.Fatal(err)
			}
			group.Go(func() {
				<-start
				mqtt.NewClient(f.ctx, conn, &connect, func(string, []byte) {}) // what it is answered does not matter
				conn.NetConn().Close()
			})
			if round%2 == 0 {
				group.Go(func() { <-start; conn.NetConn().Close() })
			}
		}
		close(start)
		group.Wait()
		f.noConnections()
		f.agree("d", nil)
	}
	client, err := device.Connect(f.ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	f.agree("d", client)
}

// Whatever takes a device its right to be connected ends its connections, also those
// that are only coming.
func TestConnectionsWhileTheirRightEnds(t *testing.T) {
	f := newFleet(t)
	present := func(id string) identity.Device {
		device, err := f.Hub.Device(f.ctx, id)
		if err != nil {
			t.Error(err)
		}
		return device
	}
	must := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	for _, c := range []struct {
		name   string
		create func(id string) device.HubOptions
		do     func(id string)
	}{
		{"revoke", f.operational, func(id string) {
			issued, err := f.Provisioning.IssuedTo(f.ctx, id)
			if err != nil || len(issued) != 1 {
				t.Fatalf("issued are %v, error %v", issued, err)
			}
			_, err = f.Provisioning.RevokeCertificate(f.ctx, issued[0].Thumbprint)
			must(err)
		}},
		{"disable", f.create, func(id string) {
			changed := present(id)
			changed.Status = "disabled"
			_, err := f.Hub.UpdateDevice(f.ctx, changed, "*")
			must(err)
		}},
		{"delete", f.create, func(id string) { must(f.Hub.DeleteDevice(f.ctx, id, "*")) }},
		{"keys", f.create, func(id string) {
			changed := present(id)
			primary, secondary := credential.NewKey(32), credential.NewKey(32)
			changed.Authentication.SymmetricKey = identity.KeyPair{PrimaryKey: &primary, SecondaryKey: &secondary}
			_, err := f.Hub.UpdateDevice(f.ctx, changed, "*")
			must(err)
		}},
		{"recreate", f.create, func(id string) {
			must(f.Hub.DeleteDevice(f.ctx, id, "*"))
			_, err := f.Hub.CreateDevice(f.ctx, identity.Device{DeviceID: id})
			must(err)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.t = t
			for round := range 8 {
				id := fmt.Sprintf("%s-%d", c.name, round)
				options := c.create(id)
				clients := f.storm(options, round%2*4, func() {})
				clients = append(clients, f.storm(options, 4, func() { c.do(id) })...)
				f.settle(id, clients, true)
				f.agree(id, nil)
				twin, err := f.Hub.Twin(f.ctx, id)
				if err == nil && twin.Properties.Reported.Get("here").String() != "" {
					t.Fatalf("a session has reported to a device that was made later: %v", twin.Properties.Reported)
				}
				if client, err := device.Connect(f.ctx, options); err == nil {
					client.Close()
					t.Fatal("the device is let in again")
				}
			}
		})
	}
}

// A token's time is over while the device is connected. The clock is moved.
func TestTokensExpireDuringAConnection(t *testing.T) {
	var mutex sync.Mutex
	ahead := time.Duration(0)
	f := newFleet(t, berthtest.Now(func() time.Time {
		mutex.Lock()
		defer mutex.Unlock()
		return time.Now().Add(ahead)
	}))
	client, err := device.Connect(f.ctx, f.create("d"))
	if err != nil {
		t.Fatal(err)
	}
	f.agree("d", client)
	mutex.Lock()
	ahead = time.Hour + credential.ClockSkew + time.Second // the tokens of this client are good for an hour
	mutex.Unlock()
	select {
	case <-client.Ended():
	case <-f.ctx.Done():
		t.Fatal("the connection outlives its token")
	}
	mutex.Lock()
	ahead = 0 // so that the back end's token is good
	mutex.Unlock()
	f.agree("d", nil)
}
