package server

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/wire/admission"
)

// TestUnauthenticatedForms: who has proved nothing and sends large parts of packets and forms,
// by whatever door, makes room for others who do, and a device comes in beside them.
func TestUnauthenticatedForms(t *testing.T) {
	h := newFixture(t)
	keys := validKeys(t, "good")
	h.enroll(keys)
	displaced := func() uint64 { return h.listeners.gate.Stats().Refused[admission.Displaced] }
	for name, door := range map[string]struct {
		port  int
		begin string
		size  int
	}{
		"form": {h.Info().Ports.HTTPS, "POST " + web.Root + "login HTTP/1.1\r\nHost: localhost\r\n" +
			"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000000\r\n\r\n", 900 << 10},
		"header":  {h.Info().Ports.HTTPS, "GET / HTTP/1.1\r\nHost: localhost\r\n", 30 << 10},
		"CONNECT": {h.Info().Ports.MQTT, "\x10\x80\x80\x05", 75 << 10},
	} {
		before := displaced()
		most := 2 * 32768 / (door.size / 512)
		var strangers []net.Conn
		for range most {
			conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", door.port),
				&tls.Config{RootCAs: h.roots, ServerName: "localhost"})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			strangers = append(strangers, conn)
			conn.SetDeadline(time.Now().Add(10 * time.Second))
			io.WriteString(conn, door.begin+strings.Repeat("x: y\r\n", door.size/6))
		}
		for deadline := time.Now().Add(10 * time.Second); displaced() == before; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: nobody of %d made room", name, most)
			}
		}
		good, err := h.connect(&keys, "good", h.Info().IDScope+"/registrations/good/api-version=2019-03-31")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		good.subscribe("$dps/registrations/res/#")
		if got := good.ask(registerTopic, ""); got.body["status"] != "assigning" && got.body["status"] != "assigned" {
			t.Errorf("%s: the device is answered %+v", name, got)
		}
		for _, conn := range strangers {
			conn.Close()
		}
	}
}
