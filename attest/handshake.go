package attest

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
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
		trace.Fail("TLS handshake", fault.Say("MQTT without TLS"), fault.Say("TLS 1.2 or 1.3"),
			fault.Say("Switch TLS on in the device's program: the port takes MQTT over TLS only"))
	case errors.As(err, new(tls.RecordHeaderError)):
		return false
	case errors.As(err, &refused) && refused.Op == "remote error":
		alert := strings.TrimPrefix(refused.Err.Error(), "tls: ")
		switch alert {
		case "unknown certificate authority", "bad certificate", "unknown certificate", "expired certificate",
			"unsupported certificate", "revoked certificate":
			failDistrusted(trace, otherName, fault.Say("the device refuses the server's certificate: %s", alert))
		default:
			failNoCommonTLS(trace,
				fault.Say("the device ends it: %s", alert), fault.Say("a device that goes on with it"))
		}
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET),
		errors.As(err, &refused) && strings.HasSuffix(refused.Error(), "bad record MAC"):
		// With TLS 1.3 OpenSSL tells its reason without encryption, and others don't tell.
		failDistrusted(trace, otherName, fault.Say("the device goes away when it has the server's certificate"))
	case strings.HasPrefix(said, "invalid signature by the client certificate"),
		strings.HasPrefix(said, "client certificate used with invalid signature algorithm"):
		trace.Fail("TLS handshake", fault.Say("a signature that the key of %s did not make", subjectOf(certificates)),
			fault.Say("a signature with the private key of the certificate"),
			fault.Say("Give the device the private key that belongs to its certificate: "+
				"openssl x509 -in CERTIFICATE -noout -pubkey and openssl pkey -in KEY -pubout must print the same"))
	case strings.HasPrefix(said, "failed to parse client certificate: x509: unsupported elliptic curve"):
		failUnusableKey(trace, fault.Say("a client certificate whose key this server can't verify signatures of"))
	case strings.HasPrefix(said, "client certificate contains an unsupported public key"):
		failUnusableKey(trace, fault.Say("%s has %s, and this server can't verify what such a key signs",
			subjectOf(certificates), keyOf(certificates)))
	case strings.HasPrefix(said, "failed to parse client certificate"):
		trace.Fail("TLS handshake",
			fault.Say("a client certificate that can't be read: %s",
				strings.TrimPrefix(said, "failed to parse client certificate: ")),
			fault.Say("a certificate of X.509 in DER"),
			fault.Say("Make a new certificate. berth cert check CHAIN says what is wrong with one"))
	case strings.HasPrefix(said, "client sent certificate containing RSA key larger"):
		failUnusableKey(trace, fault.Say("%s", said))
	case strings.HasPrefix(said, "client offered only unsupported versions"):
		trace.Fail("TLS handshake", fault.Say("a version of TLS before 1.2"), fault.Say("TLS 1.2 or 1.3"),
			fault.Say("Update the device's TLS library, or switch TLS 1.2 on in its settings"))
	case strings.HasPrefix(said, "no cipher suite supported by both"),
		strings.HasPrefix(said, "no key exchanges supported by both"):
		failNoCommonTLS(trace, fault.Say("no cipher or key exchange that the server has"),
			fault.Say("TLS 1.2 or 1.3 with ECDHE, and a certificate with an EC key taken"))
	case strings.HasPrefix(said, "client requested unsupported application protocols"):
		failNoCommonTLS(trace, fault.Say("%s", said),
			fault.Say("HTTP/1.1, or nothing, in the protocols that the device offers (ALPN)"))
	default:
		return false
	}
	return true
}

// IsPlainMQTT reports whether a client that should begin with TLS begins with CONNECT.
func IsPlainMQTT(firstBytes []byte) bool { return len(firstBytes) > 0 && firstBytes[0] == 0x10 }

// VersionRefused adds that the device speaks a protocol that is not served.
func VersionRefused(trace *Trace, version string) {
	if version == "AMQP" {
		trace.Fail("protocol", fault.Say("%s", version), fault.Say("MQTT 3.1.1"),
			fault.Say("Choose MQTT, MQTT over WebSocket or HTTPS in the device's program: "+
				"this version does not serve AMQP"))
		return
	}
	trace.Fail("protocol", fault.Say("%s", version), fault.Say("MQTT 3.1.1"),
		fault.Say("Have the device's program speak MQTT 3.1.1 (protocol level 4): "+
			"many libraries begin with MQTT 5 if they are not told"))
}

// ConnectFailed adds that the device did not begin as a client of MQTT does.
func ConnectFailed(trace *Trace, err error) {
	trace.Fail("protocol", fault.TextOf(err), fault.Say("CONNECT of MQTT 3.1.1 first"),
		fault.Say("The device's program sends this; an unmodified device SDK does not"))
}

// failDistrusted is the check of a device that does not trust the server.
func failDistrusted(trace *Trace, otherName string, saw fault.Text) {
	if otherName != "" {
		trace.Fail("TLS handshake", fault.Say("%s. It asked for the host %.253q", saw, otherName),
			fault.Say("a host name that is in the server's certificate"),
			fault.Say("Let the device connect by a host name of the certificate, "+
				"or start the server with the one that devices use: berth up --host NAME"))
		return
	}
	trace.Fail("TLS handshake", saw, fault.Say("a device that trusts the server's authority"),
		fault.Say("Let the device trust the authority that berth info --trust names, "+
			"and connect by a host name that is in the server's certificate. Its clock must be right too"))
}

// failNoCommonTLS is the check of a device that does not speak TLS as the server does.
func failNoCommonTLS(trace *Trace, saw, expected fault.Text) {
	trace.Fail("TLS handshake", saw, expected,
		fault.Say("Look at the TLS settings of the device's program: it does not take what the server offers"))
}

// failUnusableKey is the check of a device with a certificate whose key TLS can't use.
func failUnusableKey(trace *Trace, saw fault.Text) {
	trace.Fail("TLS handshake", saw, fault.Say(credential.UsableKeys),
		fault.Say("Make the device a certificate with another kind of key"))
}

func subjectOf(certificates []*x509.Certificate) fault.Text {
	if len(certificates) == 0 {
		return fault.Say("the certificate")
	}
	return fault.Say("%s", certificates[0].Subject)
}

// keyOf names the key of a device's certificate that TLS can't use.
func keyOf(certificates []*x509.Certificate) fault.Text {
	if len(certificates) > 0 {
		if err := credential.CheckKey(certificates[0].PublicKey, certificates[0].RawSubjectPublicKeyInfo); err != nil {
			return fault.TextOf(err)
		}
	}
	return fault.Say("a key of another kind")
}
