package server

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/provisioning/attempts"
	"github.com/berth-iot/berth/wire/mqtt"
)

// What strangers write is bounded in the log, in the attempts that are kept of them
// and in what they are told, whatever door they stand at.
func TestUnauthenticatedLogLimit(t *testing.T) {
	logged := new(lines)
	h := &fixture{t: t,
		config: Config{DataDir: t.TempDir(), Host: "localhost", HubHost: "127.0.0.1", Listen: "127.0.0.1",
			Logger: slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug}))}}
	h.start()
	t.Cleanup(h.stop)
	scope := h.Info().IDScope
	long := strings.Repeat("\x01", 60_000) // which is escaped where it is quoted, to four or six times as much
	token, err := credential.NewToken(scope+"/registrations/d1"+long[:15_000], "registration"+long[:15_000],
		credential.NewKey(32), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}

	// refused connects, publishes if it is let in, and waits for the end.
	refused := func(connect mqtt.Connect, keys *deviceKeys, topic, body string) {
		t.Helper()
		conn, err := h.dial(keys)
		if err != nil {
			t.Fatal(err)
		}
		connect.CleanSession, connect.HasPassword = true, connect.Password != nil
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		answered := make(chan int, 1)
		client, _, err := mqtt.NewClient(ctx, conn, &connect,
			func(_ string, payload []byte) { answered <- len(payload) })
		if err != nil {
			return
		}
		defer client.Abort()
		if topic == "" {
			t.Errorf("%.40q is let in", connect.Username)
			return
		}
		if _, err := client.Subscribe(ctx, mqtt.Subscription{Filter: "$dps/registrations/res/#"},
			mqtt.Subscription{Filter: "$iothub/twin/res/#"}); err != nil {
			t.Error(err)
		}
		if err := client.Publish(topic, []byte(body), 0, nil); err != nil {
			t.Error(err)
		}
		select {
		case size := <-answered:
			if size > 16<<10 {
				t.Errorf("%.40q is answered with %d bytes", topic, size)
			}
		case <-client.Ended():
		case <-ctx.Done():
			t.Errorf("%.40q is not answered", topic)
		}
	}
	refused(mqtt.Connect{ClientID: "x", Username: long}, nil, "", "")
	refused(mqtt.Connect{ClientID: long, Username: "127.0.0.1/" + long[:50_000] + "/?api-version=2021-04-12"}, nil, "",
		"")
	refused(mqtt.Connect{ClientID: "x", Username: long[:50_000] + "/x/?api-version=2021-04-12"}, nil, "", "")
	refused(mqtt.Connect{ClientID: "d1", Username: "127.0.0.1/d1/?api-version=2021-04-12",
		Password: []byte("SharedAccessSignature sr=" + long)}, nil, "", "")
	named := func(id string) mqtt.Connect {
		return mqtt.Connect{ClientID: id, Username: scope + "/registrations/" + id + "/api-version=2019-03-31"}
	}
	keys := newKeys(t, "d1", time.Now().Add(-time.Hour), time.Hour*2)
	broad := newKeys(t, strings.Repeat("n", 14_000), time.Now().Add(-time.Hour), time.Hour*2)
	refused(named("d1"), &keys, "$dps/"+long, "")
	refused(named("d1"), &keys, registerTopic, `{"registrationId":"`+strings.Repeat("x", 60_000)+`"}`)
	refused(named("d1"), &broad, registerTopic, "")
	refused(named(long[:30_000]), &keys, registerTopic, "")
	withToken := named("d1")
	withToken.Password = []byte(token)
	refused(withToken, nil, registerTopic, "")

	device, err := h.hub.CreateDevice(context.Background(), identity.Device{DeviceID: "d1"})
	if err != nil {
		t.Fatal(err)
	}
	own, err := credential.NewToken("127.0.0.1/devices/d1", "", *device.Authentication.SymmetricKey.PrimaryKey,
		time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	connected := mqtt.Connect{ClientID: "d1", Username: "127.0.0.1/d1/?api-version=2021-04-12", Password: []byte(own)}
	refused(connected, nil, "$iothub/twin/PATCH/properties/reported/?$rid=1", `{"`+strings.Repeat("n", 30_000)+`.":1}`)
	refused(connected, nil, "$iothub/twin/PATCH/properties/reported/?$rid="+long, "{}")
	refused(connected, nil, "devices/d1/messages/events/"+long[:30_000]+"%", "{}")

	// A packet that breaks the protocol: PUBLISH to a topic with a wildcard.
	conn, err := h.dial(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := "\x10" + "\x12" + "\x00\x04MQTT\x04\x02\x00\x3c" + "\x00\x06" + "strang"
	io.WriteString(conn, client)
	topic := append(binary.BigEndian.AppendUint16(nil, 60_000), strings.Repeat("#", 60_000)...)
	conn.Write(append(binary.AppendUvarint([]byte{0x30}, uint64(len(topic))), topic...))
	io.Copy(io.Discard, conn)
	conn.Close()

	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.roots}, DisableKeepAlives: true}
	escaped := strings.Repeat("%01", 9_000)
	for _, c := range []struct{ method, path, header, value, body string }{
		{"GET", "/" + escaped, "", "", ""},
		{"GET", "/enrollments/" + escaped + "?api-version=2021-10-01", "", "", ""},
		{"GET", "/enrollments/d1?api-version=" + escaped, "", "", ""},
		{"GET", "/enrollments/d1?api-version=2021-10-01", "Authorization", "SharedAccessSignature sr=" + escaped, ""},
		{"GET", "/enrollments/d1?api-version=2021-10-01", "Authorization", strings.Repeat("é", 12_000), ""},
		{"GET", "/$iothub/websocket", "Upgrade", "websocket", ""},
		{"GET", "/$iothub/websocket", "Sec-WebSocket-Protocol", escaped, ""},
		{"PUT", "/" + scope + "/registrations/" + escaped + "/register?api-version=2021-10-01", "Content-Type", escaped,
			"{}"},
		{"PUT", "/" + scope + "/registrations/d1/register?api-version=2021-10-01", "", "", `{"registrationId":"` +
			strings.Repeat("x", 60_000) + `"}`},
		{"GET", "/portal/" + escaped, "", "", ""},
		{"GET", "/portal/login?code=" + escaped, "", "", ""},
		{"OPTIONS" + strings.Repeat("X", 20_000), "/enrollments/d1", "", "", ""},
	} {
		request, err := http.NewRequest(c.method, fmt.Sprintf("https://localhost:%d%s", h.Info().Ports.HTTPS, c.path),
			strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if c.header != "" {
			request.Header.Set(c.header, c.value)
		}
		if c.header == "Sec-WebSocket-Protocol" {
			request.Header.Set("Upgrade", "websocket")
		}
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatalf("%s %.60s: %v", c.method, c.path, err)
		}
		answer, err := io.ReadAll(response.Body)
		response.Body.Close()
		if isPage := strings.HasPrefix(c.path, "/portal/"); err != nil || len(answer) > 16<<10 && !isPage {
			t.Errorf("%.20s %.60s is answered with %d bytes, error %v", c.method, c.path, len(answer), err)
		}
	}

	attempts, err := h.Server.provisioning.Attempts().Find(context.Background(), attempts.Filter{})
	if err != nil || len(attempts) < 5 {
		t.Fatalf("%d attempts are kept, error %v", len(attempts), err)
	}
	for _, attempt := range attempts {
		whole, err := h.Server.provisioning.Attempts().Get(context.Background(), attempt.Sequence)
		if err != nil {
			t.Fatal(err)
		}
		// A chain of certificates is kept as it came, up to a limit of its own.
		if len(whole.Snapshot) > 50<<10 {
			t.Errorf("a case of %d bytes is kept: %.300s", len(whole.Snapshot), whole.Snapshot)
		}
		whole.Snapshot = nil
		encoded, err := json.Marshal(whole)
		if err != nil {
			t.Fatal(err)
		}
		if len(encoded) > 12<<10 {
			t.Errorf("%d bytes are kept of an attempt: %.300s", len(encoded), encoded)
		}
	}
	connections, err := h.hubs.All()[0].Connections().History(context.Background(), "d1")
	if encoded, _ := json.Marshal(connections); err != nil || len(encoded) > 20<<10 {
		t.Errorf("%d bytes are kept of the connections, error %v", len(encoded), err)
	}
	told := logged.take("")
	if len(told) < 20 {
		t.Errorf("only %d lines are logged", len(told))
	}
	for _, line := range told {
		if len(line) > 6<<10 {
			t.Errorf("a line of %d bytes: %.200s", len(line), line)
		}
	}
}
