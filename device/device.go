// Package device is a small device: it registers with a provisioning service
// and talks to its hub, over MQTT as Azure's contract has it. Berth's simulator,
// benchmarks and tests use it. It does not reconnect and keeps nothing: a
// product's device uses an Azure SDK.
package device

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/berth-iot/berth/wire/mqtt"
)

// ErrProtocol is in the chain of an error when what answers does not speak MQTT.
var ErrProtocol = mqtt.ErrProtocol

const (
	// clientVersion is what the user names call this client.
	clientVersion = "berth-device/1"

	// dialTime bounds connecting, from the first packet to CONNACK, for callers
	// whose context has no end.
	dialTime = 30 * time.Second

	// subscriptionQoS is asked for every subscription. What the server sends is
	// acknowledged then, and comes again after a loss.
	subscriptionQoS = 1
)

// endpoint is a server and how to reach it.
type endpoint struct {
	host        string // host, or host:port
	certificate *tls.Certificate
	rootCAs     *x509.CertPool // the system's when nil
	webSocket   bool
}

// name returns the host without its port: what certificates, user names and
// tokens call the server.
func (e endpoint) name() string {
	if host, _, err := net.SplitHostPort(e.host); err == nil {
		return host
	}
	return strings.Trim(e.host, "[]")
}

// address returns the host with its port: by default Azure's.
func (e endpoint) address() string {
	if _, _, err := net.SplitHostPort(e.host); err == nil {
		return e.host
	}
	port := "8883"
	if e.webSocket {
		port = "443"
	}
	return net.JoinHostPort(e.name(), port)
}

// dial opens an MQTT connection over TLS, or over a WebSocket over TLS.
func (e endpoint) dial(ctx context.Context, connect mqtt.Connect,
	receive func(topic string, payload []byte)) (*mqtt.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	conn, err := e.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", e.address(), err)
	}
	client, _, err := mqtt.NewClient(ctx, conn, &connect, receive)
	if err != nil {
		return nil, fmt.Errorf("connect to %s as %s: %w", e.address(), connect.ClientID, err)
	}
	return client, nil
}

func (e endpoint) open(ctx context.Context) (net.Conn, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: e.rootCAs, ServerName: e.name()}
	if e.certificate != nil {
		config.Certificates = []tls.Certificate{*e.certificate}
	}
	if !e.webSocket {
		return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", e.address())
	}
	address := url.URL{Scheme: "wss", Host: e.address(), Path: "/$iothub/websocket"}
	socket, _, err := websocket.Dial(ctx, address.String(), &websocket.DialOptions{
		HTTPClient:      &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}},
		Subprotocols:    []string{"mqtt"},
		CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, err
	}
	return websocket.NetConn(context.WithoutCancel(ctx), socket, websocket.MessageBinary), nil
}

// keepAliveSeconds is a keep-alive as CONNECT carries it: whole seconds, at
// least one.
func keepAliveSeconds(d time.Duration) uint16 {
	return uint16(min(max(d/time.Second, 1), 65535))
}

// number reads a decimal parameter of a topic; 0 when it is none.
func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
