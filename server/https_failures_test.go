package server

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net/http"
	"testing"
	"time"
)

// TestFailuresOfAnHTTPSConnection: who registers in vain again and again over one
// connection is judged no longer, as over MQTT, and somebody else on another is.
func TestFailuresOfAnHTTPSConnection(t *testing.T) {
	h := newFixture(t)
	stranger, good := validKeys(t, "stranger"), validKeys(t, "good")
	h.enroll(good)
	connect := func(keys deviceKeys) func() int {
		conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", h.Info().Ports.HTTPS),
			&tls.Config{RootCAs: h.roots, ServerName: "localhost", Certificates: []tls.Certificate{keys.Certificate}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		answers := bufio.NewReader(conn)
		return func() int {
			fmt.Fprintf(conn,
				"PUT /%s/registrations/%s/register?api-version=2021-06-01 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
				h.Info().IDScope, keys.Leaf.Subject.CommonName)
			answer, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			return answer.StatusCode
		}
	}
	inVain, judged := connect(stranger), 0
	for range 100 {
		switch status := inVain(); status {
		case http.StatusUnauthorized:
			judged++
		case http.StatusTooManyRequests:
		default:
			t.Fatalf("a stranger is answered %d", status)
		}
	}
	if judged < 20 || judged > 30 {
		t.Errorf("of 100 registrations on one connection %d were judged", judged)
	}
	if status := connect(good)(); status != http.StatusAccepted {
		t.Errorf("a device that is enrolled is answered %d", status)
	}
}
