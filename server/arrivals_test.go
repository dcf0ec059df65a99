package server

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/berth-iot/berth/wire/mqtt"
)

// What a client wanted tells what it is, as far as it can be known.
func TestClients(t *testing.T) {
	alert := &net.OpError{Op: "remote error", Err: tls.AlertError(42)}
	noMAC := &net.OpError{Op: "local error", Err: errors.New("tls: bad record MAC")}
	for _, c := range []struct {
		name string
		arrival
		want client
	}{
		{"a device that does not trust the server",
			arrival{mqtt: true, name: "dps", known: true, err: alert}, deviceClient},
		{"the same, by an address", arrival{mqtt: true, err: alert}, deviceClient},
		{"the same with OpenSSL and TLS 1.3, by an address", arrival{mqtt: true, err: noMAC}, deviceClient},
		{"the same over HTTPS", arrival{name: "dps", known: true, err: alert}, deviceClient},
		{"the same over HTTPS, without a word", arrival{name: "dps", known: true, err: io.EOF}, deviceClient},
		{"a device with another's key, over HTTPS",
			arrival{identified: true, offersHTTP: true, err: errors.New("tls: x")}, deviceClient},
		{"a device that takes the authority, not the name",
			arrival{mqtt: true, connected: true, name: "x", err: io.EOF}, deviceClient},
		{"the same, with an alert",
			arrival{mqtt: true, connected: true, name: "dps", known: true, err: alert}, deviceClient},
		{"MQTT 5", arrival{mqtt: true, connected: true, err: &mqtt.VersionError{Name: "MQTT", Level: 5}}, deviceClient},
		{"a broken CONNECT", arrival{mqtt: true, connected: true, err: mqtt.ErrPacketTooLarge}, deviceClient},
		{"PUBLISH first",
			arrival{mqtt: true, connected: true, firstBytes: []byte("\x32\x07"), err: mqtt.ErrProtocol}, deviceClient},
		{"AMQP",
			arrival{mqtt: true, connected: true, firstBytes: []byte("AMQP\x00\x01"), err: mqtt.ErrProtocol},
			deviceClient},
		{"MQTT without TLS",
			arrival{mqtt: true, firstBytes: []byte("\x10\x20\x00\x04M"), err: mqtt.ErrProtocol}, deviceClient},

		{"a browser that does not trust the server",
			arrival{offersHTTP: true, name: "dps", known: true, err: alert}, webClient},
		{"the same, by an address", arrival{offersHTTP: true, err: alert}, webClient},
		{"the same, at the port of MQTT",
			arrival{mqtt: true, offersHTTP: true, name: "dps", known: true, err: alert}, webClient},
		{"a browser that closes what it does not need",
			arrival{offersHTTP: true, name: "dps", known: true, err: io.EOF}, webClient},
		{"HTTP without TLS", arrival{firstBytes: []byte("GET /"), err: tls.RecordHeaderError{}}, webClient},
		{"HTTP of a long method", arrival{firstBytes: []byte("OPTIO"), err: tls.RecordHeaderError{}}, webClient},
		{"HTTP/2 at the port of MQTT",
			arrival{mqtt: true, connected: true, firstBytes: []byte("PRI * HT"), err: mqtt.ErrProtocol}, webClient},

		{"a probe", arrival{mqtt: true, err: io.EOF}, unknownClient},
		{"a probe that resets", arrival{mqtt: true, err: syscall.ECONNRESET}, unknownClient},
		{"a probe by name", arrival{mqtt: true, connected: true, name: "dps", known: true, err: io.EOF}, unknownClient},
		{"a scan by address, over HTTPS", arrival{err: alert}, unknownClient},
		{"one that is silent", arrival{mqtt: true, name: "dps", known: true, err: os.ErrDeadlineExceeded},
			unknownClient},
		{"one that sends no CONNECT",
			arrival{mqtt: true, connected: true, name: "dps", known: true, err: mqtt.ErrConnectTimeout}, unknownClient},
		{"one that sends half of it",
			arrival{mqtt: true, connected: true, name: "x", err: io.ErrUnexpectedEOF}, unknownClient},
		{"a WebSocket that is closed",
			arrival{mqtt: true, connected: true, name: "x", err: errors.New("going away")}, unknownClient},
		{"noise", arrival{mqtt: true, connected: true, firstBytes: []byte("\r\n"), err: mqtt.ErrProtocol},
			unknownClient},
		{"noise without TLS",
			arrival{mqtt: true, firstBytes: []byte("\x00\x01\x02\x03\x04"), err: tls.RecordHeaderError{}},
			unknownClient},
	} {
		if got := c.arrival.client(); got != c.want {
			t.Errorf("%s counts as %s, want %s", c.name, got, c.want)
		}
	}
}
