package mqtt

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"testing"
	"time"
)

// newCertificate makes a certificate that signs itself, good for 127.0.0.1.
func newCertificate(t testing.TB, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// startTLS serves over TLS, asking for client certificates, and returns what a
// client needs.
func startTLS(t testing.TB, server *Server) (address string, client *tls.Config) {
	t.Helper()
	certificate := newCertificate(t, "server")
	roots := x509.NewCertPool()
	roots.AddCert(certificate.Leaf)
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequestClientCert}
	address = startOn(t, server, func(l net.Listener) net.Listener { return tls.NewListener(l, config) })
	return address, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
}

func dialTLS(t testing.TB, address string, config *tls.Config) raw {
	t.Helper()
	client := dial(t, address)
	client.Conn = tls.Client(client.Conn, config)
	return client
}

// witness is a backend that notes who comes.
type witness struct {
	quietBackend
	peers chan Peer
}

func (w witness) Open(ctx context.Context, conn *Conn, connect *Connect) (Session, bool, ConnectCode) {
	w.peers <- conn.Peer()
	return w.quietBackend.Open(ctx, conn, connect)
}

// The client's certificate reaches the backend as it was sent, whoever signed it.
func TestMutualTLS(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			backend := witness{peers: make(chan Peer, 1)}
			address, config := startTLS(t, &Server{Backend: backend})
			config.MinVersion, config.MaxVersion = version, version
			config.Certificates = []tls.Certificate{newCertificate(t, "device")}
			client := dialTLS(t, address, config)
			client.send(connectPacket)
			client.expect(accepted)
			client.send(publishQoS1, pingPacket)
			client.expect("\x40\x02\x00\x07" + "\xd0\x00")
			peer := <-backend.peers
			if peer.TLS == nil || peer.TLS.Version != version || len(peer.TLS.PeerCertificates) != 1 ||
				peer.TLS.PeerCertificates[0].Subject.CommonName != "device" ||
				peer.RemoteAddr.String() != client.LocalAddr().String() {
				t.Errorf("the backend sees %+v", peer)
			}
			client.send(disconnectPacket)
			client.expectEnd()
		})
	}
}

// What is no TLS, or stays silent, fails the handshake and nobody else.
func TestHandshakesThatFail(t *testing.T) {
	server := &Server{Backend: quietBackend{}, ConnectTimeout: time.Second}
	address, config := startTLS(t, server)
	good := dialTLS(t, address, config)
	good.send(connectPacket)
	good.expect(accepted)

	var bad []raw
	for _, start := range []string{"", connectPacket, "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x40\x00",
		"\x16\x03\x01\x00\x10\x01\x00\x00\x0c\x03\x03"} {
		client := dial(t, address)
		client.send(start)
		bad = append(bad, client)
	}
	for _, client := range bad {
		io.Copy(io.Discard, client) // an alert perhaps, then the end
	}
	good.send(pingPacket)
	good.expect("\xd0\x00")
}

// Two thousand connections that say nothing, not even TLS, do not keep out one
// that talks, and are gone when their time is over.
func TestSilentConnectionsToTLS(t *testing.T) {
	address, config := startTLS(t, &Server{Backend: quietBackend{}, ConnectTimeout: 3 * time.Second})
	var silent []raw
	for range 2000 {
		silent = append(silent, dial(t, address))
	}
	client := dialTLS(t, address, config)
	client.send(connectPacket)
	client.expect(accepted)
	for _, connection := range silent {
		connection.expectEnd()
	}
	client.send(pingPacket)
	client.expect("\xd0\x00")
}
