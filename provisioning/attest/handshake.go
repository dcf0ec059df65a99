package attest

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/berth-iot/berth/credential"
)

// HandshakeFailed adds to a trace why the TLS handshake with a device failed, as
// package crypto/tls says it. otherName is the name that the device asked for if it is
// none of the server's certificate, else "". It reports false, and adds nothing, where
// that says nothing of the device: what came was no TLS, or nothing in time.
func HandshakeFailed(trace *Trace, certificates []*x509.Certificate, otherName string, err error) bool {
	said := strings.TrimPrefix(err.Error(), "tls: ")
	var refused *net.OpError
	var noTLS tls.RecordHeaderError
	switch {
	case errors.As(err, &noTLS) && IsPlainMQTT(noTLS.RecordHeader[:]):
		trace.Fail("TLS handshake", "MQTT without TLS", "TLS 1.2 or 1.3",
			"Switch TLS on in the device's program: the port takes MQTT over TLS only")
	case errors.As(err, new(tls.RecordHeaderError)):
		return false
	case errors.As(err, &refused) && refused.Op == "remote error":
		alert := strings.TrimPrefix(refused.Err.Error(), "tls: ")
		switch alert {
		case "unknown certificate authority", "bad certificate", "unknown certificate", "expired certificate", "unsupported certificate", "revoked certificate":
			distrusted(trace, otherName, "the device refuses the server's certificate: "+alert)
		default:
			unagreed(trace, "the device ends it: "+alert, "a device that goes on with it")
		}
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.As(err, &refused) && strings.HasSuffix(refused.Error(), "bad record MAC"):
		// With TLS 1.3 OpenSSL tells its reason without encryption, and others don't tell.
		distrusted(trace, otherName, "the device goes away when it has the server's certificate")
	case strings.HasPrefix(said, "invalid signature by the client certificate"), strings.HasPrefix(said, "client certificate used with invalid signature algorithm"):
		trace.Fail("TLS handshake", "a signature that the key of "+subjectOf(certificates)+" did not make", "a signature with the private key of the certificate",
			"Give the device the private key that belongs to its certificate: openssl x509 -in CERTIFICATE -noout -pubkey and openssl pkey -in KEY -pubout must print the same")
	case strings.HasPrefix(said, "failed to parse client certificate: x509: unsupported elliptic curve"):
		trace.Fail("TLS handshake", "a client certificate whose key this server can't verify signatures of",
			credential.UsableKeys, "Make the device a certificate with another kind of key")
	case strings.HasPrefix(said, "client certificate contains an unsupported public key"):
		trace.Fail("TLS handshake", fmt.Sprintf("%s has %s, and this server can't verify what such a key signs",
			subjectOf(certificates), keyOf(certificates)),
			credential.UsableKeys, "Make the device a certificate with another kind of key")
	case strings.HasPrefix(said, "failed to parse client certificate"):
		trace.Fail("TLS handshake", "a client certificate that can't be read: "+strings.TrimPrefix(said, "failed to parse client certificate: "), "a certificate of X.509 in DER",
			"Make the certificate anew. berth cert check CHAIN says what is wrong with one")
	case strings.HasPrefix(said, "client sent certificate containing RSA key larger"):
		trace.Fail("TLS handshake", said, credential.UsableKeys,
			"Make the device a certificate with another kind of key")
	case strings.HasPrefix(said, "client offered only unsupported versions"):
		trace.Fail("TLS handshake", "a version of TLS before 1.2", "TLS 1.2 or 1.3",
			"Update the device's TLS library, or switch TLS 1.2 on in its settings")
	case strings.HasPrefix(said, "no cipher suite supported by both"), strings.HasPrefix(said, "no key exchanges supported by both"):
		unagreed(trace, "no cipher or key exchange that the server has", "TLS 1.2 or 1.3 with ECDHE, and a certificate with an EC key taken")
	case strings.HasPrefix(said, "client requested unsupported application protocols"):
		unagreed(trace, said, "HTTP/1.1, or nothing, in the protocols that the device offers (ALPN)")
	default:
		return false
	}
	return true
}

// IsPlainMQTT reports whether a client that should begin with TLS begins with CONNECT.
func IsPlainMQTT(firstBytes []byte) bool { return len(firstBytes) > 0 && firstBytes[0] == 0x10 }

// VersionRefused adds that the device speaks a protocol that is not served.
func VersionRefused(trace *Trace, version string) {
	trace.Fail("protocol", version, "MQTT 3.1.1",
		"Have the device's program speak MQTT 3.1.1 (protocol level 4): many libraries begin with MQTT 5 if they are not told")
}

// ConnectFailed adds that the device did not begin as a client of MQTT does.
func ConnectFailed(trace *Trace, err error) {
	trace.Fail("protocol", err.Error(), "CONNECT of MQTT 3.1.1 first",
		"The device's program sends this; an unmodified device SDK does not")
}

// distrusted is the check of a device that does not trust the server.
func distrusted(trace *Trace, otherName, saw string) {
	if otherName != "" {
		trace.Fail("TLS handshake", fmt.Sprintf("%s. It asked for the host %.253q", saw, otherName),
			"a host name that is in the server's certificate",
			"Let the device connect by a host name of the certificate, or start the server with the one that devices use: "+
				"berth up --host NAME")
		return
	}
	trace.Fail("TLS handshake", saw, "a device that trusts the server's authority",
		"Let the device trust the authority that berth info --trust names, and connect by a host name that is in the server's certificate. Its clock must be right too")
}

// unagreed is the check of a device that does not speak TLS as the server does.
func unagreed(trace *Trace, saw, expected string) {
	trace.Fail("TLS handshake", saw, expected, "Look at the TLS settings of the device's program: it does not take what the server offers")
}

func subjectOf(certificates []*x509.Certificate) string {
	if len(certificates) == 0 {
		return "the certificate"
	}
	return certificates[0].Subject.String()
}

// keyOf names the key of a device's certificate that TLS can't use.
func keyOf(certificates []*x509.Certificate) string {
	if len(certificates) > 0 {
		if err := credential.CheckKey(certificates[0].PublicKey, certificates[0].RawSubjectPublicKeyInfo); err != nil {
			return err.Error()
		}
	}
	return "a key of another kind"
}
