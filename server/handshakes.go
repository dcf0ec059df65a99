package server

import (
	"context"
	"crypto/tls"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/wire/admission"
)

// handshakeFailed tells the provisioning service of devices that can't even connect.
func (s *Server) handshakeFailed(protocol string) func(*tls.Conn, error) {
	return func(conn *tls.Conn, failure error) {
		s.provisioning.HandshakeFailed(context.Background(), admission.Of(conn).ServerName(), credential.Evidence{
			Certificates: conn.ConnectionState().PeerCertificates, Protocol: protocol, RemoteAddr: conn.RemoteAddr().String()}, failure)
	}
}
