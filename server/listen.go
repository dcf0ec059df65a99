package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
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

		GetConfigForClient: noteName,
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

// listeners are the server's open ports.
type listeners struct {
	mqtt, https, portal net.Listener
}

// listen opens the ports, all or none.
func listen(config Config, secure *tls.Config) (l listeners, err error) {
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.mqtt, err = listenTLS(config.Listen, config.MQTTPort, secure); err != nil {
		return l, fmt.Errorf("port %d for MQTT can't be had: %w. Stop what uses it, or give another with --mqtt-port (the Azure SDKs know only 8883)", config.MQTTPort, err)
	}
	web := secure.Clone()
	web.NextProtos = []string{"http/1.1"} // WebSockets need it
	if l.https, err = listenTLS(config.Listen, config.HTTPSPort, web); err != nil && config.HTTPSPort == 443 {
		reason := err
		if l.https, err = listenTLS(config.Listen, fallbackHTTPSPort, web); err == nil {
			config.Notice(fmt.Sprintf("Port 443 can't be had (%v): HTTPS and WebSocket are on port %d. The Azure SDKs know only 443.", reason, fallbackHTTPSPort))
		}
	}
	if err != nil {
		return l, fmt.Errorf("port %d for HTTPS can't be had: %w. Stop what uses it, or give another with --https-port", config.HTTPSPort, err)
	}
	if l.portal, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(config.PortalPort))); err != nil {
		return l, fmt.Errorf("port %d for the portal can't be had: %w. Stop what uses it, or give another with --portal-port", config.PortalPort, err)
	}
	return l, nil
}

func listenTLS(address string, port int, config *tls.Config) (net.Listener, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	return tls.NewListener(greeter{listener}, config), nil
}

func (l listeners) close() error {
	var failed error
	for _, listener := range []net.Listener{l.mqtt, l.https, l.portal} {
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
