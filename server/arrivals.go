package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/wire/admission"
	"github.com/berth-iot/berth/wire/mqtt"
)

// client is the kind of a client whose connection ended before it could ask for
// anything, as far as what it wanted tells.
type client int

const (
	unknownClient client = iota // a probe, a scan, or one that gave up
	deviceClient
	webClient // a browser, a command line or a back end
	clients
)

func (c client) String() string { return [clients]string{"unknown", "device", "web"}[c] }

// failedConnections counts connections that ended so.
type failedConnections [clients]atomic.Uint64

// arrival is what is known of such a connection.
type arrival struct {
	mqtt       bool   // on the port of MQTT, or over a WebSocket
	connected  bool   // its TLS handshake was done
	name       string // that it asked for in its TLS handshake; "" is none
	known      bool   // the server's certificate has that name
	offersHTTP bool   // in its TLS handshake
	identified bool   // it showed a certificate, or a user name of a device
	firstBytes []byte // in place of TLS or of CONNECT
	err        error
}

// client tells devices, which an operator must be told of, from others. Devices come by
// MQTT, or by HTTPS with TLS libraries that do not offer HTTP; and only whoever knows
// what it looks for asks for a host by name.
func (a arrival) client() client {
	switch {
	case isHTTP(a.firstBytes):
		return webClient
	case len(a.firstBytes) > 0:
		if a.connected && (isAMQP(a.firstBytes) || isPacket(a.firstBytes[0])) ||
			!a.connected && attest.IsPlainMQTT(a.firstBytes) {
			return deviceClient
		}
		return unknownClient
	case a.identified, errors.Is(a.err, mqtt.ErrProtocol), errors.As(a.err, new(*mqtt.VersionError)):
		return deviceClient
	case a.offersHTTP:
		return webClient
	case isTimeout(a.err), errors.Is(a.err, io.ErrUnexpectedEOF):
		return unknownClient
	case clientGone(a.err):
		// Without a word: of one that asked for a name it is that it does not trust the
		// server. Once it has accepted the certificate it must be the name.
		if a.name == "" || a.connected && a.known {
			return unknownClient
		}
	case a.connected && !isAlert(a.err), a.name == "" && !a.mqtt:
		return unknownClient
	}
	return deviceClient
}

// isPacket reports whether a client of MQTT may begin a packet so, if not its first.
func isPacket(first byte) bool { return slices.Contains([]byte{3, 8, 10, 12, 14}, first>>4) }

func isAMQP(first []byte) bool { return bytes.HasPrefix(first, []byte("AMQP")) }

// isHTTP reports whether these first bytes, five at least, are of a request of HTTP.
func isHTTP(first []byte) bool {
	for _, method := range []string{
		"GET ", "HEAD ", "POST ", "PUT ", "PATCH ", "DELETE ", "OPTIONS ", "CONNECT ", "TRACE ", "PRI * ",
	} {
		if n := min(len(method), len(first)); n >= 4 && string(first[:n]) == method[:n] {
			return true
		}
	}
	return false
}

// isAlert reports whether the client ended TLS and said why.
func isAlert(err error) bool {
	var remote *net.OpError
	return errors.As(err, &remote) && remote.Op == "remote error"
}

func clientGone(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) }

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, mqtt.ErrConnectTimeout) || errors.As(err, &timeout) && timeout.Timeout()
}

// handshakeFailed returns what is told of each TLS handshake that fails at a door.
func (s *Server) handshakeFailed(door panics.Door) func(*tls.Conn, error) {
	return func(conn *tls.Conn, failure error) {
		below := admission.Of(conn)
		shown := conn.ConnectionState().PeerCertificates
		device := provisioning.Unconnected{ServerName: below.ServerName(), Evidence: credential.Evidence{
			Certificates: shown, Protocol: string(door), RemoteAddr: conn.RemoteAddr().String()}}
		a := arrival{
			mqtt:       door == panics.MQTT,
			offersHTTP: below.OffersHTTP(),
			identified: len(shown) > 0,
			err:        failure,
		}
		if noTLS := (tls.RecordHeaderError{}); errors.As(failure, &noTLS) {
			a.firstBytes = noTLS.RecordHeader[:]
		}
		kind := s.classify(&device, &a)
		if kind == deviceClient && s.provisioning.HandshakeFailed(context.Background(), device, failure) {
			return
		}
		log := s.config.Logger.Warn
		switch {
		case kind == unknownClient:
			log = s.config.Logger.Debug
		case clientGone(failure): // as browsers do with connections that they need no more
			log = s.config.Logger.Info
		}
		log("TLS handshake failed", "client", kind.String(), "protocol", device.Protocol,
			"serverName", device.ServerName, "remote", device.RemoteAddr, "error", failure)
	}
}

// connectFailed is told of each client that got through its TLS handshake and not as
// far as a CONNECT that can be answered.
func (s *Server) connectFailed(device provisioning.Unconnected, failure error) {
	if errors.As(failure, new(admission.Reason)) {
		return // the gate's own, which counts it
	}
	identified := device.RegistrationID != "" || device.DeviceID != ""
	a := arrival{mqtt: true, connected: true, identified: identified, err: failure}
	var first *mqtt.FirstBytesError
	if errors.As(failure, &first) {
		a.firstBytes = first.Bytes
	}
	var version *mqtt.VersionError
	ctx := context.Background()
	switch kind := s.classify(&device, &a); {
	case kind == deviceClient && errors.As(failure, &version):
		s.provisioning.VersionRefused(ctx, device, version.Version(), failure)
	case isAMQP(a.firstBytes):
		s.provisioning.VersionRefused(ctx, device, "AMQP", failure)
	case kind == deviceClient && errors.Is(failure, mqtt.ErrProtocol):
		s.provisioning.ConnectFailed(ctx, device, failure)
	case kind == deviceClient && s.provisioning.HandshakeFailed(ctx, device, failure):
	default:
		s.config.Logger.Info("connection ended before CONNECT", "client", kind.String(), "protocol", device.Protocol,
			"serverName", device.ServerName, "remote", device.RemoteAddr, "error", failure)
	}
}

// classify completes what is known of a client whose connection came to nothing, and
// counts it by its kind.
func (s *Server) classify(device *provisioning.Unconnected, a *arrival) client {
	a.name = device.ServerName
	isName := func(name string) bool { return strings.EqualFold(name, a.name) }
	a.known = slices.ContainsFunc(s.names(), isName)
	device.OtherName = a.name != "" && !a.known
	hub := s.hubs.ByHost(a.name)
	if hub != nil && !isName(s.config.Host) && device.Hub == "" && device.RegistrationID == "" {
		device.Hub = hub.Host()
	}
	kind := a.client()
	s.failedConnections[kind].Add(1)
	return kind
}
