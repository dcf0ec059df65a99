package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/berth-iot/berth/credential"
)

// TestUnprovenConnections: who has proved nothing within the time for it is sent away,
// by whatever door it came and however much it says; who has, stays.
func TestUnprovenConnections(t *testing.T) {
	h := newFixture(t)
	h.stop()
	h.config.ProofTimeout = 2 * time.Second
	h.start()
	scope, hubHost := h.Info().IDScope, h.Info().Hubs[0].Host
	good, stranger := validKeys(t, "good"), validKeys(t, "stranger")
	h.enroll(good)
	provisioningName := func(id string) string { return scope + "/registrations/" + id + "/api-version=2019-03-31" }

	// Those who stay.
	registered, err := h.connect(&good, "good", provisioningName("good"))
	if err != nil {
		t.Fatal(err)
	}
	registered.subscribe("$dps/registrations/res/#")
	registered.ask(registerTopic, "")
	device, err := h.connect(&good, "good", hubHost+"/good/?api-version=2021-04-12")
	if err != nil {
		t.Fatal(err)
	}
	policy, err := credential.ParseConnectionString(h.Info().ProvisioningConnectionString)
	if err != nil {
		t.Fatal(err)
	}
	token, err := credential.NewToken(policy.HostName, policy.SharedAccessKeyName, policy.SharedAccessKey,
		time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	backEnd := h.keepAlive(token)
	backEnd.get(t, "/enrollments/good?api-version=2021-10-01", http.StatusOK)
	webSocketDevice := h.webSocket(&good, "good", provisioningName("good"))
	webSocketDevice.subscribe("$dps/registrations/res/#")
	webSocketDevice.ask(registerTopic, "")

	// Those who go.
	ended := make(map[string]<-chan struct{})
	for name, id := range map[string]string{"says nothing": "good", "is refused": "stranger"} {
		d, err := h.connect(map[string]*deviceKeys{"good": &good, "stranger": &stranger}[id], id, provisioningName(id))
		if err != nil {
			t.Fatal(err)
		}
		d.subscribe("$dps/registrations/res/#")
		if id == "stranger" {
			if refused := d.ask(registerTopic, ""); refused.body["errorCode"] != float64(401002) {
				t.Errorf("a stranger is answered %+v", refused)
			}
			// The connection is still there for another attempt.
			d.ask(registerTopic, "")
		}
		ended["MQTT, "+name] = d.Ended()
	}
	ended["WebSocket"] = h.webSocket(&good, "good", provisioningName("good")).Ended()
	anonymous := h.keepAlive("")
	anonymous.get(t, "/berth/openapi.json", http.StatusOK)
	ended["HTTPS"] = anonymous.ended()
	unauthorized := h.keepAlive("nonsense")
	unauthorized.get(t, "/enrollments/good?api-version=2021-10-01", http.StatusUnauthorized)
	ended["HTTPS, unauthorized"] = unauthorized.ended()

	for name, end := range ended {
		select {
		case <-end:
		case <-time.After(20 * time.Second):
			t.Errorf("%s: who has proved nothing stays", name)
		}
	}
	// Those who stay came before them.
	if got := registered.ask(registerTopic, ""); got.body["status"] != "assigned" {
		t.Errorf("the device that registered is answered %+v", got)
	}
	if got := webSocketDevice.ask(registerTopic, ""); got.body["status"] != "assigned" {
		t.Errorf("the device that registered over WebSocket is answered %+v", got)
	}
	if err := device.Publish("devices/good/messages/events/", []byte("x"), 1, nil); err != nil {
		t.Errorf("the device of the hub was sent away: %v", err)
	}
	backEnd.get(t, "/enrollments/good?api-version=2021-10-01", http.StatusOK)
}

// webSocket connects as connect does, over WebSocket.
func (h *fixture) webSocket(keys *deviceKeys, clientID, username string) *device {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	config := &tls.Config{RootCAs: h.roots, Certificates: []tls.Certificate{keys.Certificate}}
	socket, _, err := websocket.Dial(ctx, fmt.Sprintf("wss://localhost:%d/$iothub/websocket", h.Info().Ports.HTTPS),
		&websocket.DialOptions{
			HTTPClient:   &http.Client{Transport: &http.Transport{TLSClientConfig: config}},
			Subprotocols: []string{"mqtt"}})
	if err != nil {
		h.t.Fatal(err)
	}
	d, err := h.connectOver(websocket.NetConn(context.Background(), socket, websocket.MessageBinary), clientID,
		username)
	if err != nil {
		h.t.Fatal(err)
	}
	return d
}

// keptAlive is an HTTPS connection for one request after the other.
type keptAlive struct {
	net.Conn
	answers *bufio.Reader
	token   string
}

func (h *fixture) keepAlive(token string) *keptAlive {
	h.t.Helper()
	conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", h.Info().Ports.HTTPS),
		&tls.Config{RootCAs: h.roots, ServerName: "localhost"})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	return &keptAlive{conn, bufio.NewReader(conn), token}
}

func (k *keptAlive) get(t *testing.T, path string, want int) {
	t.Helper()
	k.SetDeadline(time.Now().Add(20 * time.Second))
	request := "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n"
	if k.token != "" {
		request += "Authorization: " + k.token + "\r\n"
	}
	if _, err := io.WriteString(k, request+"\r\n"); err != nil {
		t.Errorf("%s: %v", path, err)
		return
	}
	answer, err := http.ReadResponse(k.answers, nil)
	if err != nil {
		t.Errorf("%s: %v", path, err)
		return
	}
	io.Copy(io.Discard, answer.Body)
	if answer.StatusCode != want {
		t.Errorf("%s: status %d, want %d", path, answer.StatusCode, want)
	}
}

// ended is closed when the server has closed the connection.
func (k *keptAlive) ended() <-chan struct{} {
	ended := make(chan struct{})
	k.SetDeadline(time.Time{})
	go func() {
		defer close(ended)
		k.answers.ReadByte()
	}()
	return ended
}
