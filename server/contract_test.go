package server

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"testing"
	"time"
)

// TestHTTPVersion offers HTTP/2 and gets HTTP/1.1: names of headers keep their spelling
// in no other, and WebSockets need it.
func TestHTTPVersion(t *testing.T) {
	h := newFixture(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", h.Info().Ports.HTTPS),
			&tls.Config{RootCAs: h.roots, ServerName: "localhost",
				MinVersion: version, MaxVersion: version, NextProtos: []string{"h2", "http/1.1"}})
		if err != nil {
			t.Errorf("%s: %v", tls.VersionName(version), err)
			continue
		}
		if got := conn.ConnectionState().NegotiatedProtocol; got != "http/1.1" {
			t.Errorf("%s: the protocol is %q", tls.VersionName(version), got)
		}
		conn.Close()
	}
}

// packetOf is a packet of MQTT with a body of up to 16,383 bytes.
func packetOf(header byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	packet := []byte{header}
	if len(body) > 127 {
		packet = append(packet, byte(len(body)%128)|0x80, byte(len(body)/128))
	} else {
		packet = append(packet, byte(len(body)))
	}
	return append(packet, body...)
}

func textOf(text string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(text))), text...)
}

// readPacket returns a packet's first byte and its body.
func readPacket(t *testing.T, r *bufio.Reader) (header byte, body []byte) {
	t.Helper()
	header, err := r.ReadByte()
	var size uint64
	if err == nil {
		size, err = binary.ReadUvarint(r) // which MQTT has in the same form
	}
	if err == nil {
		body = make([]byte, size)
		_, err = io.ReadFull(r, body)
	}
	if err != nil {
		t.Fatalf("reading a packet: %v", err)
	}
	return header, body
}

// TestAnswersOfProvisioning reads the packets of a registration as they come: no session
// is present whatever the client asks for, the acknowledgement of a request comes before
// its answer, the answer has the QoS that was granted, and $rid is first in its topic. The
// C# client takes nothing else.
func TestAnswersOfProvisioning(t *testing.T) {
	h := newFixture(t)
	keys := validKeys(t, "d1")
	h.enroll(keys)
	for _, qos := range []byte{0, 1} {
		conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", h.Info().Ports.MQTT), &tls.Config{RootCAs: h.roots,
			ServerName:   "localhost",
			Certificates: []tls.Certificate{keys.Certificate}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		reader := bufio.NewReader(conn)
		send := func(packet []byte) {
			t.Helper()
			if _, err := conn.Write(packet); err != nil {
				t.Fatal(err)
			}
		}
		user := h.Info().IDScope + "/registrations/d1/api-version=2019-03-31&ClientVersion=test"
		send(packetOf(0x10, textOf("MQTT"), []byte{4, 0x80, 0, 0}, textOf("d1"),
			textOf(user))) // no clean session, no keep-alive
		if header, body := readPacket(t, reader); header != 0x20 || !bytes.Equal(body, []byte{0, 0}) {
			t.Fatalf("CONNECT is answered %x %x", header, body)
		}
		send(packetOf(0x82, []byte{0, 1}, textOf("$dps/registrations/res/#"), []byte{qos}))
		if header, body := readPacket(t, reader); header != 0x90 || !bytes.Equal(body, []byte{0, 1, qos}) {
			t.Fatalf("SUBSCRIBE with QoS %d is answered %x %x", qos, header, body)
		}
		const rid = "7a-B"
		send(packetOf(0x32, textOf("$dps/registrations/PUT/iotdps-register/?$rid="+rid), []byte{0, 2},
			[]byte(`{"registrationId":"d1"}`)))
		if header, body := readPacket(t, reader); header != 0x40 || !bytes.Equal(body, []byte{0, 2}) {
			t.Fatalf("PUBLISH is answered %x %x first", header, body)
		}
		header, body := readPacket(t, reader)
		if header != 0x30|qos<<1 {
			t.Errorf("with QoS %d granted the answer's header is %x", qos, header)
		}
		topic := body[2 : 2+binary.BigEndian.Uint16(body)]
		if !bytes.HasPrefix(topic, []byte("$dps/registrations/res/20")) || !bytes.Contains(topic,
			[]byte("/?$rid="+rid)) || bytes.Count(topic, []byte("$")) != 2 {
			t.Errorf("the answer's topic is %s", topic)
		}
		for _, b := range body {
			if b >= 0x80 {
				t.Fatalf("the answer is not ASCII: %s", body)
			}
		}
	}
}
