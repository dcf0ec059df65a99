package credential

import (
	"crypto/tls"
	"encoding/base64"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestUnusableKeys names the keys whose signatures can't be verified, in certificates and
// in requests for them, and says which can.
func TestUnusableKeys(t *testing.T) {
	o := newOpenSSL(t)
	o.run("dsaparam -out dsa.param 1024") // longer ones take longer to find
	for _, c := range []struct{ name, key, says string }{
		{"Ed448", "genpkey -algorithm ED448", "a key of the kind Ed448"},
		{"DSA", "gendsa dsa.param", "a key of the kind DSA"},
		{"RSASSA-PSS", "genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048", "a key of the kind RSASSA-PSS"},
		{"secp256k1", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1", "a key on the curve secp256k1"},
		{"brainpool", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:brainpoolP256r1",
			"a key on the curve brainpoolP256r1"},
		{"P-192", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-192", "a key on the curve P-192"},
		{"a curve without a name here", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:sect233k1",
			"a key on the curve 1.3.132.0.26"},
		{"a curve spelled out", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit",
			"spells its curve out"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := openssl{t, o.folder}
			name, rest, _ := strings.Cut(c.key, " ")
			o.run(name + " -out key.pem " + rest)
			certificate := o.make("req -x509 -key key.pem -subj /CN=d1 -days 30")
			_, err := ParseCertificates(certificate)
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(),
				"P-256, P-384 or P-521, Ed25519, or RSA") {
				t.Errorf("a certificate: %v, want %q", err, c.says)
			}
			request := o.make("req -new -key key.pem -subj /CN=d1 -outform DER")
			_, err = ParseCSR(base64.StdEncoding.EncodeToString(request))
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), UsableKeys) {
				t.Errorf("a request: %v, want %q", err, c.says)
			}
		})
	}
}

// TestUsableKeys shows certificates with the keys that can be used to a server, as
// UsableKeys says; one on P-224 gets there with TLS 1.2 alone, of which there is a
// warning.
func TestUsableKeys(t *testing.T) {
	o := newOpenSSL(t)
	both := []uint16{tls.VersionTLS12, tls.VersionTLS13}
	authority, err := NewAuthority("Berth test authority", noon, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	certificatePEM, keyPEM, err := authority.IssueServer([]string{"localhost"}, noon, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	server, err := tls.X509KeyPair(certificatePEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	for key, versions := range map[string][]uint16{
		"EC -pkeyopt ec_paramgen_curve:P-256": both, "EC -pkeyopt ec_paramgen_curve:P-384": both,
		"EC -pkeyopt ec_paramgen_curve:P-521": both, "ED25519": both, "RSA -pkeyopt rsa_keygen_bits:2048": both,
		"EC -pkeyopt ec_paramgen_curve:P-224": both[:1],
	} {
		o.run("genpkey -out key.pem -algorithm " + key)
		text := o.make("req -x509 -key key.pem -subj /CN=d1 -days 30")
		certificates, err := ParseCertificates(text)
		if err != nil || CheckKeyLength(certificates[0].PublicKey) != nil {
			t.Errorf("%s: %v", key, err)
		}
		device, err := tls.X509KeyPair(text, o.read("key.pem"))
		if err != nil {
			t.Fatal(err)
		}
		for _, version := range both {
			if got := shown(t, server, device, version); got != slices.Contains(versions, version) {
				t.Errorf("%s with %s: the server sees the certificate: %v", key, tls.VersionName(version), got)
			}
		}
	}
}

// shown reports whether a device's certificate reaches a server in the handshake.
func shown(t *testing.T, server, device tls.Certificate, version uint16) bool {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	done := make(chan error, 1)
	go func() {
		client := tls.Client(near, &tls.Config{Certificates: []tls.Certificate{device}, InsecureSkipVerify: true,
			MinVersion: version, MaxVersion: version})
		err := client.Handshake()
		if err == nil {
			client.Read(make([]byte, 1)) // what the server sends after the handshake
		}
		done <- err
	}()
	conn := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequestClientCert})
	err := conn.Handshake()
	seen := len(conn.ConnectionState().PeerCertificates) > 0
	far.Close()
	if other := <-done; err != nil || other != nil {
		t.Fatalf("%s: the server says %v, the device %v", tls.VersionName(version), err, other)
	}
	return seen
}
