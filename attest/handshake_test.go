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
	"testing"
)

// alert is what a device says when it ends a handshake, as package crypto/tls has it.
func alert(says string) error {
	return &net.OpError{Op: "remote error", Err: errors.New("tls: " + says)}
}

// TestHandshakeFailed names what is wrong with a device by what package crypto/tls says,
// with advice for each.
func TestHandshakeFailed(t *testing.T) {
	device := sign(t, "Meter-1", nil, authority)
	for _, c := range []struct {
		err         error
		otherName   string
		saw, advice string
	}{
		{tls.RecordHeaderError{RecordHeader: [5]byte{0x10}}, "", "MQTT without TLS", "Switch TLS on"},
		{alert("unknown certificate authority"), "", "refuses the server's certificate: unknown certificate authority",
			"trust the authority"},
		{alert("bad certificate"), "other.local", `It asked for the host "other.local"`, "--host NAME"},
		{alert("expired certificate"), "", "expired certificate", "Its clock must be right"},
		{alert("handshake failure"), "", "the device ends it: handshake failure", "TLS settings"},
		{fmt.Errorf("read: %w", io.EOF), "", "goes away", "trust the authority"},
		{syscall.ECONNRESET, "other.local", "goes away", "--host NAME"},
		{&net.OpError{Op: "local error", Err: errors.New("tls: bad record MAC")}, "", "goes away", "trust"},
		{errors.New("tls: invalid signature by the client certificate: x"), "", "the key of CN=Meter-1 did not make",
			"private key"},
		{errors.New("tls: client certificate used with invalid signature algorithm"), "", "CN=Meter-1", "private key"},
		{errors.New("tls: failed to parse client certificate: x509: unsupported elliptic curve"), "", "can't verify",
			"another kind of key"},
		{errors.New("tls: client certificate contains an unsupported public key of type *dsa.PublicKey"), "",
			"CN=Meter-1 has a key of another kind", "another kind of key"},
		{errors.New("tls: failed to parse client certificate: x509: malformed serial"), "",
			"can't be read: x509: malformed serial", "berth cert check"},
		{errors.New("tls: client sent certificate containing RSA key larger than 8192 bits"), "",
			"RSA key larger", "another kind of key"},
		{errors.New("tls: client offered only unsupported versions: [301]"), "", "before 1.2", "Update"},
		{errors.New("tls: no cipher suite supported by both client and server"), "", "no cipher", "TLS settings"},
		{errors.New("tls: no key exchanges supported by both client and server"), "", "no cipher", "TLS settings"},
		{errors.New("tls: client requested unsupported application protocols (h2)"), "", "(h2)", "TLS settings"},
	} {
		var trace Trace
		if !HandshakeFailed(&trace, []*x509.Certificate{device.Certificate}, c.otherName, c.err) {
			t.Errorf("%v says nothing of the device", c.err)
			continue
		}
		failed, ok := trace.Failed()
		if !ok || failed.Name != "TLS handshake" || !strings.Contains(failed.Saw, c.saw) || failed.Expected == "" ||
			!strings.Contains(failed.Advice, c.advice) {
			t.Errorf("%v is %+v", c.err, failed)
		}
	}
	for _, err := range []error{tls.RecordHeaderError{RecordHeader: [5]byte{'G', 'E', 'T'}},
		errors.New("i/o timeout"), errors.New("tls: something new")} {
		var trace Trace
		if HandshakeFailed(&trace, nil, "", err) || len(trace) > 0 {
			t.Errorf("%v is said to be the device's: %+v", err, trace)
		}
	}
	// Without a certificate there is no name to tell.
	var trace Trace
	HandshakeFailed(&trace, nil, "", errors.New("tls: invalid signature by the client certificate: x"))
	if failed, _ := trace.Failed(); !strings.Contains(failed.Saw, "the key of the certificate did not make") {
		t.Errorf("without a certificate: %+v", failed)
	}
}

// TestProtocolsThatAreNotServed tell the operator what the device's program speaks.
func TestProtocolsThatAreNotServed(t *testing.T) {
	for version, advice := range map[string]string{"AMQP": "does not serve AMQP", "MQTT 5": "begin with MQTT 5"} {
		var trace Trace
		VersionRefused(&trace, version)
		if failed, ok := trace.Failed(); !ok || failed.Name != "protocol" || failed.Saw != version ||
			failed.Expected != "MQTT 3.1.1" || !strings.Contains(failed.Advice, advice) {
			t.Errorf("%s is %+v", version, failed)
		}
	}
	var trace Trace
	ConnectFailed(&trace, errors.New("PUBLISH came first"))
	if failed, ok := trace.Failed(); !ok || failed.Name != "protocol" || failed.Saw != "PUBLISH came first" {
		t.Errorf("a packet before CONNECT is %+v", failed)
	}
	for first, want := range map[string]bool{"\x10\x20": true, "\x16\x03\x01": false, "GET ": false, "": false} {
		if IsPlainMQTT([]byte(first)) != want {
			t.Errorf("%q is MQTT: %v", first, !want)
		}
	}
}
