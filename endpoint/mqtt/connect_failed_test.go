package mqtt

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/wire/mqtt"
)

// A client that did not get as far as to be answered is told of with what it wanted, as
// far as that can be read.
func TestConnectFailed(t *testing.T) {
	type failure struct {
		device provisioning.Unconnected
		err    error
	}
	var told []failure
	f := newFixture(t)
	f.connect("registrations", true) // its user name looks like one for registering
	observer := New(Config{Hubs: hub.NewDirectory(f.Hub),
		ConnectFailed: func(device provisioning.Unconnected, err error) {
			told = append(told, failure{device, err})
		}}).(mqtt.FailureObserver)
	address := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4711}
	chain := []*x509.Certificate{{Raw: []byte("certificate")}}
	reason := errors.New("it is MQTT 5")
	for _, c := range []struct {
		name    string
		peer    mqtt.Peer
		connect *mqtt.Connect
		want    provisioning.Unconnected
	}{
		{"nothing is known", mqtt.Peer{RemoteAddr: address}, nil,
			provisioning.Unconnected{Evidence: credential.Evidence{Protocol: "mqtt"}}},
		{"a registration", mqtt.Peer{RemoteAddr: address, TLS: &tls.ConnectionState{ServerName: "dps.local",
			PeerCertificates: chain}}, &mqtt.Connect{Username: "0ne1/registrations/pump%2D1/api-version=2019-03-31"},
			provisioning.Unconnected{ServerName: "dps.local", IDScope: "0ne1", RegistrationID: "pump-1",
				Evidence: credential.Evidence{Protocol: "mqtt", Certificates: chain}}},
		{"a device of a hub, by WebSocket", mqtt.Peer{RemoteAddr: address, WebSocket: true,
			TLS: &tls.ConnectionState{ServerName: "hub.local"}},
			&mqtt.Connect{Username: "hub.local/d1/?api-version=2021-04-12"},
			provisioning.Unconnected{ServerName: "hub.local", Hub: "hub.local", DeviceID: "d1",
				Evidence: credential.Evidence{Protocol: "mqttws"}}},
		{"a device called registrations", mqtt.Peer{RemoteAddr: address},
			&mqtt.Connect{Username: "hub.local/registrations/?api-version=2021-04-12"},
			provisioning.Unconnected{Hub: "hub.local", DeviceID: "registrations",
				Evidence: credential.Evidence{Protocol: "mqtt"}}},
		{"another user name", mqtt.Peer{RemoteAddr: address}, &mqtt.Connect{Username: "admin"},
			provisioning.Unconnected{Evidence: credential.Evidence{Protocol: "mqtt"}}},
	} {
		c.want.RemoteAddr = "192.0.2.1:4711"
		told = nil
		observer.ConnectFailed(c.peer, c.connect, reason)
		if len(told) != 1 || told[0].err != reason {
			t.Errorf("%s: told of %+v", c.name, told)
		} else if diff := cmp.Diff(c.want, told[0].device); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	// Where nobody asks, nobody is told.
	New(Config{}).(mqtt.FailureObserver).ConnectFailed(mqtt.Peer{RemoteAddr: address}, nil, reason)
}
