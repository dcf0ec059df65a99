package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/telemetry"
)

// TestTelemetryOverHTTPS sends messages on one connection, without waiting for the answers,
// whose properties differ by the case of their names only.
func TestTelemetryOverHTTPS(t *testing.T) {
	h := newFixture(t)
	device, err := h.hub.CreateDevice(t.Context(), identity.Device{DeviceID: "d1"})
	if err != nil {
		t.Fatal(err)
	}
	token, err := credential.NewToken("127.0.0.1/devices/d1", "", *device.Authentication.SymmetricKey.PrimaryKey,
		time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", h.Info().Ports.HTTPS),
		&tls.Config{RootCAs: h.roots, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if protocol := conn.ConnectionState().NegotiatedProtocol; protocol != "http/1.1" {
		t.Errorf("the protocol is %q: names have no case in HTTP/2", protocol)
	}
	const post = "POST /devices/d1/messages/events?api-version=2021-04-12 HTTP/1.1\r\n" +
		"Host: 127.0.0.1\r\nAuthorization: %s\r\n"
	requests := fmt.Sprintf(post+"iothub-app-Level: 1\r\nIoTHub-App-level: 2\r\nContent-Length: 5\r\n\r\nfirst", token) +
		fmt.Sprintf(post+"IOTHUB-APP-LEVEL: 3\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nsecond\r\n0\r\n\r\n", token)
	if _, err := io.WriteString(conn, requests); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(conn)
	for i := range 2 {
		answer, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := io.ReadAll(answer.Body); answer.StatusCode != 204 || len(text) > 0 {
			t.Fatalf("request %d is answered %d %s", i, answer.StatusCode, text)
		}
	}
	h.stop()
	h.start()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var read []string
	if err := h.hub.Telemetry(ctx, telemetry.Position{Earliest: true}, "d1", 2, func(m telemetry.Message) error {
		read = append(read, fmt.Sprintf("%v %v", m.Body, m.Properties))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(read, "; "), "first map[Level:1 level:2]; second map[LEVEL:3]"; got != want {
		t.Errorf("the messages are %s, want %s", got, want)
	}
}
