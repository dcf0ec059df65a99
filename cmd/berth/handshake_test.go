package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/provisioning/attempts"
)

// TestHandshakesThatFail: a device that can't even connect leaves an attempt that says
// why, on the port of MQTT and on that of HTTPS. Others leave none, and nobody can
// fill the log.
func TestHandshakesThatFail(t *testing.T) {
	t.Parallel()
	p := pki{t, t.TempDir()}
	p.leaf("pump", "", wish{})
	p.leaf("other", "", wish{})
	p.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1", "-out", "koblitz.key")
	p.leaf("koblitz", "", wish{own: "koblitz"})
	good, _ := p.chain("pump")
	other, _ := p.chain("other")
	p.openssl("genpkey", "-algorithm", "ED448", "-out", "ed448.key")
	p.leaf("ed448", "", wish{own: "ed448"})
	ed448 := tls.Certificate{Certificate: [][]byte{p.der("ed448")}, PrivateKey: other.PrivateKey}
	koblitz := tls.Certificate{Certificate: [][]byte{p.der("koblitz")}, PrivateKey: other.PrivateKey}

	for _, protocol := range []string{"mqtt", "https"} {
		t.Run(protocol, func(t *testing.T) {
			server := startProcess(t, buildBinary(t), t.TempDir())
			address := cli.Loopback(map[string]int{"mqtt": server.info.Ports.MQTT,
				"https": server.info.Ports.HTTPS}[protocol])
			trusting := func(change func(*tls.Config)) *tls.Config {
				config := &tls.Config{ServerName: "localhost", RootCAs: server.roots}
				change(config)
				return config
			}
			shows := func(certificate tls.Certificate) *tls.Config {
				return trusting(func(c *tls.Config) {
					c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate,
						error) {
						return &certificate, nil
					}
				})
			}
			handshake := func(config *tls.Config) {
				t.Helper()
				conn, err := net.DialTimeout("tcp", address, 10*time.Second)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(10 * time.Second))
				client := tls.Client(conn, config)
				if client.Handshake() == nil {
					client.Read(make([]byte, 1)) // of TLS 1.3 the server's refusal comes afterwards
				}
			}
			attempts := func() []attest.Attempt {
				t.Helper()
				found, err := server.provisioning.Attempts(within(t, time.Minute), attempts.Filter{Max: 100})
				if err != nil {
					t.Fatal(err)
				}
				return found
			}
			// more waits until there are as many, and returns them.
			more := func(want int) (found []attest.Attempt) {
				t.Helper()
				for deadline := time.Now().Add(10 * time.Second); len(found) < want && time.Now().Before(deadline); {
					found = attempts()
				}
				if len(found) != want {
					t.Fatalf("there are %d attempts, want %d: %+v", len(found), want, found)
				}
				return found
			}
			kept := 0
			for _, c := range []struct {
				name, id, saw, advice string
				config                *tls.Config
			}{
				{"another's key", "pump", "CN=pump did not make", "private key that belongs to its certificate",
					shows(tls.Certificate{Certificate: good.Certificate, PrivateKey: other.PrivateKey})},
				{"another's key with TLS 1.2", "pump", "CN=pump did not make",
					"private key that belongs to its certificate", trusting(func(c *tls.Config) {
						c.MaxVersion = tls.VersionTLS12
						c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
							return &tls.Certificate{Certificate: good.Certificate, PrivateKey: other.PrivateKey}, nil
						}
					})},
				{"no certificate", "", "can't be read", "Make a new certificate",
					shows(tls.Certificate{Certificate: [][]byte{[]byte("hello")}, PrivateKey: other.PrivateKey})},
				{"a curve that is not taken", "", "can't verify signatures of", "another kind of key", shows(koblitz)},
				{"a kind of key that is not taken", "ed448", "CN=ed448 has a key of the kind Ed448",
					"another kind of key", shows(ed448)},
				{"TLS 1.1", "", "before 1.2", "TLS 1.2",
					trusting(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 })},
				{"without trust", "", "refuses the server's certificate", "berth info --trust",
					trusting(func(c *tls.Config) { c.RootCAs = x509.NewCertPool() })},
			} {
				handshake(c.config)
				kept++
				found := more(kept)
				check, _ := found[0].Checks.Failed()
				if last := found[0]; last.RegistrationID != c.id || last.Outcome != attest.Refused ||
					last.Protocol != protocol || check.Name != "TLS handshake" ||
					!strings.Contains(check.Saw, c.saw) || !strings.Contains(check.Advice, c.advice) {
					t.Errorf("%s: the attempt is %+v", c.name, last)
				}
			}

			// OpenSSL says with TLS 1.3 in plain text that it does not trust the server.
			exec.Command("openssl", "s_client", "-connect", address, "-servername", "localhost", "-verify_return_error",
				"-CAfile", p.path("other.pem")).Run()
			kept++
			if check, _ := more(kept)[0].Checks.Failed(); !strings.Contains(check.Saw,
				"goes away when it has the server's certificate") {
				t.Errorf("openssl: the check is %+v", check)
			}

			// A name that the certificate does not have.
			handshake(trusting(func(c *tls.Config) { c.ServerName = "hub.example.com" }))
			kept++
			if check, _ := more(kept)[0].Checks.Failed(); !strings.Contains(check.Saw,
				`asked for the host "hub.example.com"`) ||
				!strings.Contains(check.Advice, "--host") {
				t.Errorf("another host name: the check is %+v", check)
			}

			// What is no device, and what there is too much of.
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n")
			conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			conn.Read(make([]byte, 100))
			conn.Close()
			wrongKey := shows(tls.Certificate{Certificate: good.Certificate, PrivateKey: other.PrivateKey})
			handshake(wrongKey)
			kept++
			more(kept)
			for range 20 {
				handshake(wrongKey)
			}
			more(10)
		})
	}
}
