package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/berth-iot/berth/wire/admission"
)

// fallbackHTTPSPort serves when 443 can't be had.
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
		return fmt.Errorf("port %d for MQTT can't be had: %w. Stop what uses it, or give another with --mqtt-port (the Azure SDKs know only 8883)", config.MQTTPort, err)
	}
	l.mqtt = l.gate.Listen(inner, secure)
	web := secure.Clone()
	web.NextProtos = []string{"http/1.1"} // WebSockets need it
	if inner, err = net.Listen("tcp", net.JoinHostPort(config.Listen, strconv.Itoa(config.HTTPSPort))); err != nil && config.HTTPSPort == 443 {
		reason := err
		if inner, err = net.Listen("tcp", net.JoinHostPort(config.Listen, strconv.Itoa(fallbackHTTPSPort))); err == nil {
			config.Notice(fmt.Sprintf("Port 443 can't be had (%v): HTTPS and WebSocket are on port %d. The Azure SDKs know only 443.", reason, fallbackHTTPSPort))
		}
	}
	if err != nil {
		return fmt.Errorf("port %d for HTTPS can't be had: %w. Stop what uses it, or give another with --https-port", config.HTTPSPort, err)
	}
	l.https = l.gate.Listen(inner, web)
	if inner, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(config.PortalPort))); err != nil {
		return fmt.Errorf("port %d for the portal can't be had: %w. Stop what uses it, or give another with --portal-port", config.PortalPort, err)
	}
	l.portal = l.local.Listen(inner, nil)
	return nil
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
