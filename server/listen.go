package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"strings"
	"syscall"

	"github.com/berth-iot/berth/wire/admission"
)

// fallbackHTTPSPort serves when 443 is not free.
const fallbackHTTPSPort = 8443

// tlsConfig asks for a client certificate and takes any: the handshake proves
// possession of its key, and whether that is good enough is for the service to
// say. Python's SDK speaks no more than TLS 1.2.
func tlsConfig(own *certificates, noCBC bool) *tls.Config {
	config := &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return own.server.Load(), nil },
		MinVersion:     tls.VersionTLS12,
		ClientAuth:     tls.RequestClientCert,
	}
	if noCBC {
		for _, suite := range tls.CipherSuites() {
			if !strings.Contains(suite.Name, "_CBC_") {
				config.CipherSuites = append(config.CipherSuites, suite.ID)
			}
		}
	}
	return config
}

// listeners are the server's open ports, and who is let in by them. Loopback has a
// gate of its own, so that the server's health and the portal can be reached there
// however many knock at the other ports.
type listeners struct {
	mqtt, https, portal *admission.Listener
	gate, local         *admission.Gate
}

// listen opens the ports, all or none.
func (l *listeners) listen(config Config, secure *tls.Config) (err error) {
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	inner, err := net.Listen("tcp", net.JoinHostPort(config.Listen, strconv.Itoa(config.MQTTPort)))
	if err != nil {
		return &ListenError{config.MQTTPort, "MQTT", "--mqtt-port (the Azure SDKs know only 8883)", err}
	}
	l.mqtt = l.gate.Listen(inner, secure)
	web := secure.Clone()
	web.NextProtos = []string{"http/1.1"} // WebSockets need it
	inner, err = net.Listen("tcp", net.JoinHostPort(config.Listen, strconv.Itoa(config.HTTPSPort)))
	if err != nil && config.HTTPSPort == 443 {
		reason := err
		inner, err = net.Listen("tcp", net.JoinHostPort(config.Listen, strconv.Itoa(fallbackHTTPSPort)))
		if err == nil {
			config.Notice(fmt.Sprintf("%s. HTTPS and WebSocket are on port %d; the Azure SDKs know only 443.",
				capitalize(&ListenError{443, "HTTPS", "", reason}), fallbackHTTPSPort))
		}
	}
	if err != nil {
		return &ListenError{config.HTTPSPort, "HTTPS", "--https-port", err}
	}
	l.https = l.gate.Listen(inner, web)
	if inner, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(config.PortalPort))); err != nil {
		return &ListenError{config.PortalPort, "portal", "--portal-port", err}
	}
	l.portal = l.local.Listen(inner, nil)
	return nil
}

// ListenError says that a port of the server could not be opened.
type ListenError struct {
	Port     int
	Protocol string
	flag     string // that gives another
	err      error
}

func (e *ListenError) Error() string {
	reason := e.err
	var number syscall.Errno
	if errors.As(e.err, &number) {
		reason = number // without the address and the call, which stand before it
	}
	return fmt.Sprintf("cannot listen on port %d (%s): %v", e.Port, e.Protocol, reason)
}

// Unwrap returns what the system said.
func (e *ListenError) Unwrap() error { return e.err }

// Advice is what to do about it.
func (e *ListenError) Advice() string {
	if errors.Is(e.err, fs.ErrPermission) {
		return "Ports below 1024 are for root, or who has the capability CAP_NET_BIND_SERVICE. " +
			"Give another with " + e.flag + "."
	}
	return "Stop what uses it, or give another with " + e.flag + "."
}

// capitalize begins what an error says with a capital.
func capitalize(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:]
}

func (l *listeners) close() error {
	var failed error
	for _, listener := range []*admission.Listener{l.mqtt, l.https, l.portal} {
		if listener == nil {
			continue
		}
		if err := listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

func portOf(listener net.Listener) int { return listener.Addr().(*net.TCPAddr).Port }
