package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/provisioning/attempts"
)

// TestConnectionsThatFail: a device that speaks another protocol, breaks CONNECT or does
// not like the server's name is refused with an attempt that says what it did; a browser
// or a command line that does not trust the server is counted apart.
func TestConnectionsThatFail(t *testing.T) {
	t.Parallel()
	binary := buildBinary(t)
	server := startProcess(t, binary, t.TempDir(), "--hub-host", "hub.test.local", "--log-level", "INFO")
	scope := server.info.IDScope
	mqttDoor, httpsDoor := cli.Loopback(server.info.Ports.MQTT), cli.Loopback(server.info.Ports.HTTPS)
	dial := func(address string) net.Conn {
		t.Helper()
		conn, err := net.DialTimeout("tcp", address, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	// send sends bytes and returns the answer.
	send := func(conn net.Conn, text string) []byte {
		t.Helper()
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(conn) // a reset ends it too
		return answer
	}
	secure := func(address, name string) *tls.Conn {
		return tls.Client(dial(address), &tls.Config{ServerName: name, RootCAs: server.roots,
			InsecureSkipVerify: name == "elsewhere.example"})
	}
	distrust := func(address, name string, offers ...string) {
		t.Helper()
		config := &tls.Config{ServerName: name, RootCAs: x509.NewCertPool(), NextProtos: offers}
		if tls.Client(dial(address), config).Handshake() == nil {
			t.Error("the client trusts whom it should not")
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
	kept := 0
	for _, c := range []struct {
		name, protocol, id, hub, check, saw, advice string
		do                                          func()
	}{
		{"MQTT 5, to register", "mqtt", "pump", "", "protocol", "MQTT 5.0", "MQTT 3.1.1", func() {
			packet := connectOf("MQTT", 5, "pump", scope+"/registrations/pump/api-version=2019-03-31")
			if answer := send(secure(mqttDoor, "localhost"), packet); !bytes.Equal(answer, []byte{0x20, 2, 0, 1}) {
				t.Errorf("MQTT 5 is answered % x", answer)
			}
		}},
		{"MQTT 3.1, to a hub", "mqtt", "", `"d1" to the hub "hub.test.local"`, "protocol", "MQTT 3.1", "MQTT 3.1.1",
			func() {
				send(secure(mqttDoor, "hub.test.local"),
					connectOf("MQIsdp", 3, "d1", "hub.test.local/d1/?api-version=2021-04-12"))
			}},
		{"MQTT 5 over a WebSocket", "mqttws", "valve", "", "protocol", "MQTT 5.0", "MQTT 3.1.1", func() {
			config := &tls.Config{ServerName: "localhost", RootCAs: server.roots}
			socket, _, err := websocket.Dial(within(t, 20*time.Second), "wss://"+httpsDoor+"/$iothub/websocket",
				&websocket.DialOptions{Subprotocols: []string{"mqtt"},
					HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: config}}})
			if err != nil {
				t.Fatal(err)
			}
			conn := websocket.NetConn(within(t, 20*time.Second), socket, websocket.MessageBinary)
			send(conn, connectOf("MQTT", 5, "valve", scope+"/registrations/valve/api-version=2019-03-31"))
		}},
		{"a message before CONNECT", "mqtt", "", "", "protocol", "no CONNECT", "unmodified", func() {
			send(secure(mqttDoor, "localhost"), "\x30\x06\x00\x01thi!")
		}},
		{"a CONNECT with a password and no user name", "mqtt", "", "", "protocol", "MQTT-3.1.2-22", "unmodified",
			func() {
				send(secure(mqttDoor, "localhost"), "\x10\x11\x00\x04MQTT\x04\x42\x00\x3c\x00\x03dev\x00\x00")
			}},
		{"AMQP", "mqtt", "", "", "protocol", "AMQP", "MQTT 3.1.1", func() {
			send(secure(mqttDoor, "localhost"), "AMQP\x03\x01\x00\x00")
		}},
		{"MQTT without TLS", "mqtt", "", "", "TLS handshake", "MQTT without TLS", "Switch TLS on", func() {
			send(dial(mqttDoor), connectOf("MQTT", 4, "pump", scope+"/registrations/pump/api-version=2019-03-31"))
		}},
		{"another name", "mqtt", "", "", "TLS handshake", `the host "other.example"`, "--host", func() {
			if secure(mqttDoor, "other.example").Handshake() == nil {
				t.Error("the client takes the certificate of another host")
			}
		}},
		{"another name, found out late", "mqtt", "", "", "TLS handshake", `"elsewhere.example"`, "--host", func() {
			conn := secure(mqttDoor, "elsewhere.example")
			if err := conn.Handshake(); err != nil {
				t.Fatal(err)
			}
			conn.Close()
		}},
		{"no trust, by an address", "mqtt", "", "", "TLS handshake", "refuses the server", "berth info --trust",
			func() {
				distrust(mqttDoor, "127.0.0.1")
			}},
	} {
		c.do()
		kept++
		var found []attest.Attempt
		for deadline := time.Now().Add(10 * time.Second); len(found) < kept && time.Now().Before(deadline); {
			found = attempts()
		}
		if len(found) != kept {
			t.Fatalf("%s: there are %d attempts, want %d: %+v", c.name, len(found), kept, found)
		}
		last := found[0]
		check, _ := last.Checks.Failed()
		if last.RegistrationID != c.id || !strings.Contains(last.Checks[0].Saw, c.hub) || last.Protocol != c.protocol ||
			last.Outcome != attest.Refused || check.Name != c.check || !strings.Contains(check.Saw, c.saw) ||
			!strings.Contains(check.Advice+check.Expected, c.advice) {
			t.Errorf("%s: the attempt is %+v", c.name, last)
		}
	}
	if got := server.figure(t, `berth_registrations_total{outcome="refused"}`); got != kept-1 {
		t.Errorf("%d registrations were refused, want %d: the device of a hub wants none", got, kept-1)
	}

	// Others are counted by what they are, and leave no attempt.
	figure := func(kind string) int {
		return server.figure(t, fmt.Sprintf("berth_connections_failed_total{client=%q}", kind))
	}
	for _, c := range []struct {
		name, kind string
		do         func()
	}{
		{"a browser without trust", "web", func() { distrust(httpsDoor, "localhost", "h2", "http/1.1") }},
		{"a browser at the port of MQTT", "web", func() { distrust(mqttDoor, "localhost", "h2", "http/1.1") }},
		{"a command line without trust", "web", func() {
			other := pki{t, t.TempDir()}
			other.leaf("other", "", wish{})
			command := exec.CommandContext(within(t, time.Minute), binary, "enrollment", "list",
				"--ca-file", other.path("other.pem"), "--connection-string", server.info.ProvisioningConnectionString,
				"--address", httpsDoor)
			if output, err := command.CombinedOutput(); err == nil {
				t.Errorf("the command line trusts whom it should not:\n%s", output)
			}
		}},
		{"HTTP without TLS", "web", func() { send(dial(httpsDoor), "GET / HTTP/1.1\r\n\r\n") }},
		{"HTTP at the port of MQTT", "web", func() { send(secure(mqttDoor, "localhost"), "GET / HTTP/1.1\r\n\r\n") }},
		{"a probe", "unknown", func() {
			conn := secure(mqttDoor, "localhost")
			if err := conn.Handshake(); err != nil {
				t.Fatal(err)
			}
			conn.Close()
		}},
		{"noise", "unknown", func() { send(secure(mqttDoor, "localhost"), "\r\n\r\nHELP\r\n") }},
		{"noise without TLS", "unknown", func() { send(dial(httpsDoor), "\x00\x01\x02\x03\x04\x05\x06\x07") }},
	} {
		before := figure(c.kind)
		c.do()
		for deadline := time.Now().Add(10 * time.Second); figure(c.kind) == before && time.Now().Before(deadline); {
		}
		if got := figure(c.kind) - before; got != 1 {
			t.Errorf("%s counts %d as %s: %s", c.name, got, c.kind, server.figures(t, "berth_connections_failed_total"))
		}
	}
	if found := attempts(); len(found) != kept {
		t.Errorf("there are %d attempts, want %d", len(found), kept)
	}
	server.terminate(t)
	log := server.log.String()
	for _, want := range []string{
		"the client speaks MQTT 5.0, and MQTT 3.1.1 is wanted", "the client speaks MQTT 3.1, and MQTT 3.1.1 is wanted",
		`msg="TLS handshake failed" client=web`, `msg="connection ended before CONNECT" client=web`,
		`msg="connection ended before CONNECT" client=unknown`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %s:\n%s", want, log)
		}
	}
}

// connectOf is a CONNECT of any version, with a client id and a user name.
func connectOf(protocol string, level byte, clientID, username string) string {
	text := func(b []byte, s string) []byte { return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...) }
	body := append(text(nil, protocol), level, 0x82, 0, 60)
	if level >= 5 {
		body = append(body, 0) // no properties
	}
	body = text(text(body, clientID), username)
	return string(append(binary.AppendUvarint([]byte{0x10}, uint64(len(body))), body...))
}
