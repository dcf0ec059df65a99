package server

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/wire/mqtt"
)

// sas makes a token whose sr is written exactly so, as no function of ours does.
func sas(t *testing.T, sr, keyName, key string) string {
	t.Helper()
	secret, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	expiry := fmt.Sprint(time.Now().Add(time.Hour).Unix())
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(sr + "\n" + expiry))
	signature := url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	token := "SharedAccessSignature sr=" + sr + "&sig=" + signature + "&se=" + expiry
	if keyName != "" {
		token += "&skn=" + keyName
	}
	return token
}

// doors are the ways in, each as a function that reports whether the token opened it.
type doors struct {
	*fixture
	client *http.Client
}

// get asks for a path of the REST APIs, and registers when the path says so.
func (d doors) get(t *testing.T, host, path, token string) bool {
	t.Helper()
	method, body := "GET", ""
	if strings.HasSuffix(path, "/register") {
		method, body = "PUT", "{}"
	}
	address := fmt.Sprintf("https://%s:%d%s?api-version=2021-04-12", host, d.Info().Ports.HTTPS, path)
	request, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", token)
	answer, err := d.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode >= 300 && answer.StatusCode != http.StatusUnauthorized {
		t.Fatalf("%s %s is answered %d %s, error %v", method, address, answer.StatusCode, text, err)
	}
	return answer.StatusCode != http.StatusUnauthorized
}

// mqtt connects over TCP or WebSocket; with a topic it publishes there and waits for
// an answer.
func (d doors) mqtt(t *testing.T, webSocket bool, clientID, username, token string, register bool) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var conn net.Conn
	var err error
	if webSocket {
		var socket *websocket.Conn
		socket, _, err = websocket.Dial(ctx, fmt.Sprintf("wss://localhost:%d/$iothub/websocket", d.Info().Ports.HTTPS),
			&websocket.DialOptions{HTTPClient: d.client, Subprotocols: []string{"mqtt"}})
		if err == nil {
			conn = websocket.NetConn(context.Background(), socket, websocket.MessageBinary)
		}
	} else {
		conn, err = d.dial(nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan string, 1)
	connect := mqtt.Connect{ClientID: clientID, Username: username, Password: []byte(token), HasPassword: true,
		CleanSession: true, KeepAlive: 60}
	client, _, err := mqtt.NewClient(ctx, conn, &connect, func(topic string, _ []byte) { answers <- topic })
	if err != nil {
		return false
	}
	defer client.Abort()
	if !register {
		return true
	}
	if _, err := client.Subscribe(ctx, mqtt.Subscription{Filter: "$dps/registrations/res/#", QoS: 1}); err != nil {
		t.Fatal(err)
	}
	if err := client.Publish(registerTopic, nil, 1, nil); err != nil {
		t.Fatal(err)
	}
	select {
	case topic := <-answers:
		return !strings.HasPrefix(topic, "$dps/registrations/res/401/")
	case <-ctx.Done():
		t.Fatal("no answer came")
	}
	return false
}

// TestTokensAreGoodForTheirResource: the resource of a token (sr) is a prefix, by
// segments, of what it is good for, at every door, whoever made it.
func TestTokensAreGoodForTheirResource(t *testing.T) {
	h := newFixture(t)
	ctx := t.Context()
	d := doors{h, &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.roots}}}}
	defer d.client.CloseIdleConnections()
	dps, err := credential.ParseConnectionString(h.Info().ProvisioningConnectionString)
	if err != nil {
		t.Fatal(err)
	}
	hubOwner, err := credential.ParseConnectionString(h.Info().Hubs[0].ConnectionString)
	if err != nil {
		t.Fatal(err)
	}
	group, err := h.provisioning.PutGroup(ctx, enroll.Group{EnrollmentGroupID: "g",
		Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "symmetricKey"}}}, "")
	if err != nil {
		t.Fatal(err)
	}
	scope := h.Info().IDScope
	keys := map[string]string{"policy": dps.SharedAccessKey, "hub policy": hubOwner.SharedAccessKey}
	for _, id := range []string{"A", "AB", "a:b"} {
		key := attest.DeriveKey(group.Attestation.SymmetricKey.PrimaryKey, id)
		keys[id] = key
		// It has the same key in the hub.
		token := sas(t, scope+"/registrations/"+id, "registration", key)
		if !d.mqtt(t, false, id, scope+"/registrations/"+id+"/api-version=2019-03-31", token, true) {
			t.Fatalf("%s can't register", id)
		}
	}
	names := map[string]string{"policy": dps.SharedAccessKeyName, "hub policy": hubOwner.SharedAccessKeyName}

	const hub = "127.0.0.1"
	restHub, restProvisioning := []string{"REST hub"}, []string{"REST provisioning"}
	hubDevice := []string{"MQTT hub", "WebSocket hub"}
	registration := []string{"MQTT provisioning", "WebSocket provisioning", "HTTPS provisioning"}
	open := func(t *testing.T, door, what, token string) bool {
		switch door {
		case "REST hub":
			return d.get(t, hub, what, token)
		case "REST provisioning":
			return d.get(t, "localhost", what, token)
		case "MQTT hub", "WebSocket hub":
			return d.mqtt(t, door == "WebSocket hub", what, hub+"/"+what+"/?api-version=2021-04-12", token, false)
		case "MQTT provisioning", "WebSocket provisioning":
			username := scope + "/registrations/" + what + "/api-version=2019-03-31"
			return d.mqtt(t, door == "WebSocket provisioning", what, username, token, true)
		}
		return d.get(t, "localhost", "/"+scope+"/registrations/"+url.PathEscape(what)+"/register", token)
	}
	for _, c := range []struct {
		doors  []string
		what   string // a path, or an id
		key    string // whose
		opens  []string
		closed []string
	}{
		{restHub, "/devices/A", "hub policy",
			[]string{hub, hub + "/", "https://" + hub, hub + ":443", hub + ".", hub + "./devices",
				hub + "/devices", hub + "/devices/", hub + "/Devices",
				hub + "%2Fdevices%2FA", hub + "%2fdevices%2fA", hub + "/devices/A/"},
			[]string{hub + "/devices/AB", hub + "/devices/a", hub + "/devices/%2541", hub + "/dev", hub + "/nonsense",
				hub + "/twins/A", hub + "/devices/A/modules", hub + "//devices", hub + "/devices/A/..",
				"localhost", "localhost/devices/A", "27.0.0.1", hub + ".."}},
		{restHub, "/twins/A", "hub policy",
			[]string{hub, hub + "/twins", hub + "/twins/A"},
			[]string{hub + "/devices/A", hub + "/twins/AB"}},
		{restHub, "/devices", "hub policy",
			[]string{hub, hub + "/devices"},
			[]string{hub + "/devices/A", hub + "/statistics"}},
		{restHub, "/statistics/devices", "hub policy", []string{hub + "/statistics"}, []string{hub + "/devices"}},
		{restHub, "/berth/hub/devices", "hub policy",
			[]string{hub, hub + "/berth", hub + "/BERTH/hub"},
			[]string{hub + "/devices", hub + "/berth/provisioning"}},
		{restProvisioning, "/enrollmentGroups/g", "policy",
			[]string{"localhost", "LocalHost", "localhost.", "localhost/", "localhost%2FenrollmentGroups%2Fg",
				"localhost%2fenrollmentgroups%2fG", "localhost/enrollmentGroups"},
			[]string{hub, "localhost/enrollmentGroups/h", "localhost/enrollmentGroups/gg", "localhost/enrollmentGroup",
				"localhost/enrollments", "localhost/nonsense"}},
		{restProvisioning, "/registrations/A", "policy",
			[]string{"localhost/registrations", "localhost/registrations/a"},
			[]string{"localhost/registrations/AB", "localhost/enrollments/A"}},
		{restProvisioning, "/berth/provisioning/audit", "policy",
			[]string{"localhost", "localhost/berth", "localhost/berth/provisioning/audit"},
			[]string{"localhost/berth/provisioning/groups", "localhost/enrollments"}},
		{hubDevice, "A", "hub policy",
			[]string{hub, hub + "/", hub + "/devices", hub + "%2Fdevices%2FA", hub + "%2fdevices%2fA", hub +
				"/devices/A"},
			[]string{hub + "/devices/AB", hub + "/devices/a", hub + "/devices/A/modules/m", hub + "/twins/A",
				hub + "/devices/%2541", "localhost"}},
		{hubDevice, "A", "A",
			[]string{hub, hub + ":8883", hub + "/devices", hub + "/devices/A", hub + "%2Fdevices%2FA",
				hub + "%2fdevices%2fA", hub + "%2Fdevices%2FA%2F"},
			[]string{hub + "/devices/AB", hub + "/devices/a", hub + "/device", "localhost", scope +
				"/registrations/A"}},
		{hubDevice, "a:b", "a:b",
			[]string{hub + "/devices/a:b", hub + "%2Fdevices%2Fa%3Ab", hub + "%2Fdevices%2Fa%253Ab"},
			[]string{hub + "/devices/a", hub + "/devices/a%25253Ab"}},
		{registration, "A", "A",
			[]string{scope, scope + "/registrations", scope + "/registrations/A", scope + "%2Fregistrations%2FA",
				scope + "%2fregistrations%2fa", strings.ToLower(scope) + "/registrations/A/"},
			[]string{scope + "/registrations/AB", scope + "/registration", scope + "/devices/A", "0ne00000000",
				"localhost", hub + "/devices/A"}},
		// A policy of the service lets no device register, and no device a back end work.
		{registration, "A", "policy", nil, []string{scope, scope + "/registrations/A", "localhost"}},
		{restHub, "/devices/A", "A", nil, []string{hub, hub + "/devices/A"}},
	} {
		for _, door := range c.doors {
			for _, sr := range slices.Concat(c.opens, c.closed) {
				want := slices.Contains(c.opens, sr)
				t.Run(fmt.Sprintf("%s %s with the %s's token for %s", door, c.what, c.key, sr), func(t *testing.T) {
					keyName := names[c.key]
					if got := open(t, door, c.what, sas(t, sr, keyName, keys[c.key])); got != want {
						t.Errorf("it opens: %v, want %v", got, want)
					}
				})
			}
		}
	}
}
