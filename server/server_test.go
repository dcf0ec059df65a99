package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub/telemetry"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
	"github.com/berth-iot/berth/wire/mqtt"
)

// fixture is a running server with its clients. It can be stopped and started
// again on the same folder.
type fixture struct {
	*Server
	t            testing.TB
	config       Config
	roots        *x509.CertPool
	provisioning *backend.Provisioning
	hub          *backend.Hub
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	h := &fixture{t: t,
		config: Config{DataDir: t.TempDir(), Host: "localhost", HubHost: "127.0.0.1", Listen: "127.0.0.1"}}
	h.start()
	t.Cleanup(h.stop)
	return h
}

func (h *fixture) start() {
	h.t.Helper()
	var err error
	if h.Server, err = Start(context.Background(), h.config); err != nil {
		h.t.Fatal(err)
	}
	info := h.Info()
	authority, err := os.ReadFile(info.CAFile)
	if err != nil {
		h.t.Fatal(err)
	}
	h.roots = x509.NewCertPool()
	h.roots.AppendCertsFromPEM(authority)
	options := backend.Options{RootCAs: h.roots, Address: fmt.Sprintf("127.0.0.1:%d", info.Ports.HTTPS)}
	if h.provisioning, err = backend.NewProvisioning(info.ProvisioningConnectionString, options); err != nil {
		h.t.Fatal(err)
	}
	if h.hub, err = backend.NewHub(info.Hubs[0].ConnectionString, options); err != nil {
		h.t.Fatal(err)
	}
}

func (h *fixture) stop() {
	h.t.Helper()
	h.provisioning.Close()
	h.hub.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		h.t.Errorf("shutdown: %v", err)
	}
}

// deviceKeys is a device's certificate with its key.
type deviceKeys struct {
	pem string
	tls.Certificate
}

func newKeys(t testing.TB, commonName string, from time.Time, validity time.Duration) deviceKeys {
	t.Helper()
	certificatePEM, keyPEM, err := credential.NewDeviceCertificate(credential.DeviceCertificate{
		CommonName: commonName, KeyType: credential.EC256, NotBefore: from, Validity: validity})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certificatePEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return deviceKeys{string(certificatePEM), pair}
}

func validKeys(t testing.TB, commonName string) deviceKeys {
	return newKeys(t, commonName, time.Now().Add(-time.Hour), 24*time.Hour)
}

func (h *fixture) enroll(keys deviceKeys, change ...func(*enroll.Enrollment)) {
	h.t.Helper()
	enrollment := enroll.Enrollment{
		RegistrationID: keys.Leaf.Subject.CommonName,
		Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "x509", X509: &enroll.X509Attestation{
			ClientCertificates: &enroll.X509Certificates{Primary: &enroll.X509Certificate{Certificate: keys.pem}}}}},
	}
	for _, f := range change {
		f(&enrollment)
	}
	if _, err := h.provisioning.PutEnrollment(context.Background(), enrollment, ""); err != nil {
		h.t.Fatal(err)
	}
}

func (h *fixture) dial(keys *deviceKeys) (net.Conn, error) {
	config := &tls.Config{RootCAs: h.roots, ServerName: "localhost"}
	if keys != nil {
		config.Certificates = []tls.Certificate{keys.Certificate}
	}
	return tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", h.Info().Ports.MQTT), config)
}

// answer is what a device is told on a response topic.
type answer struct {
	topic string
	body  map[string]any
}

// device is a connected MQTT client whose answers can be waited for.
type device struct {
	*mqtt.Client
	t       testing.TB
	answers chan answer
}

// connect connects with these names; the error is that of CONNACK.
func (h *fixture) connect(keys *deviceKeys, clientID, username string) (*device, error) {
	h.t.Helper()
	conn, err := h.dial(keys)
	if err != nil {
		h.t.Fatal(err)
	}
	return h.connectOver(conn, clientID, username)
}

// connectOver connects over a network connection.
func (h *fixture) connectOver(conn net.Conn, clientID, username string) (*device, error) {
	h.t.Helper()
	d := &device{t: h.t, answers: make(chan answer, 64)}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var err error
	d.Client, _, err = mqtt.NewClient(ctx, conn,
		&mqtt.Connect{ClientID: clientID, Username: username, CleanSession: true, KeepAlive: 60},
		func(topic string, payload []byte) {
			var body map[string]any
			if len(payload) > 0 {
				if err := json.Unmarshal(payload, &body); err != nil {
					h.t.Errorf("%s: %v in %s", topic, err, payload)
				}
			}
			d.answers <- answer{topic, body}
		})
	if err == nil {
		h.t.Cleanup(d.Abort)
	}
	return d, err
}

func (d *device) subscribe(filters ...string) []byte {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var subscriptions []mqtt.Subscription
	for _, filter := range filters {
		subscriptions = append(subscriptions, mqtt.Subscription{Filter: filter, QoS: 2})
	}
	codes, err := d.Subscribe(ctx, subscriptions...)
	if err != nil {
		d.t.Fatal(err)
	}
	return codes
}

// ask publishes and returns the answer.
func (d *device) ask(topic, body string) answer {
	d.t.Helper()
	if err := d.Publish(topic, []byte(body), 1, nil); err != nil {
		d.t.Fatal(err)
	}
	return d.next()
}

func (d *device) next() answer {
	d.t.Helper()
	select {
	case a := <-d.answers:
		return a
	case <-d.Ended():
		d.t.Fatalf("the connection ended: %v", d.Err())
	case <-time.After(20 * time.Second):
		d.t.Fatal("no answer came")
	}
	return answer{}
}

const registerTopic = "$dps/registrations/PUT/iotdps-register/?$rid=r1"

// provision connects a device to register.
func (h *fixture) provision(keys *deviceKeys, scope, registrationID string) *device {
	h.t.Helper()
	d, err := h.connect(keys, registrationID, scope+"/registrations/"+registrationID+
		"/api-version=2019-03-31&ClientVersion=test")
	if err != nil {
		h.t.Fatal(err)
	}
	d.subscribe("$dps/registrations/res/#")
	return d
}

// berth connects an assigned device to its hub.
func (h *fixture) berth(keys *deviceKeys, deviceID string) *device {
	h.t.Helper()
	d, err := h.connect(keys, deviceID, "127.0.0.1/"+deviceID+"/?api-version=2021-04-12")
	if err != nil {
		h.t.Fatal(err)
	}
	return d
}

func TestRegisterConnectAndSend(t *testing.T) {
	h := newFixture(t)
	keys := validKeys(t, "Python-device-01")
	h.enroll(keys, func(e *enroll.Enrollment) {
		e.InitialTwin = &linkedhub.InitialTwin{Properties: linkedhub.InitialTwinProperties{
			Desired: json.RawMessage(`{"interval":5}`)}}
	})
	registered := h.provision(&keys, h.Info().IDScope, "Python-device-01").ask(registerTopic,
		`{"registrationId":"Python-device-01"}`)
	state, _ := registered.body["registrationState"].(map[string]any)
	if registered.topic != "$dps/registrations/res/200/?$rid=r1" || state["assignedHub"] != "127.0.0.1" ||
		state["substatus"] != "initialAssignment" {
		t.Fatalf("registering is answered %+v", registered)
	}

	d := h.berth(&keys, "Python-device-01")
	if codes := d.subscribe("$iothub/twin/res/#", "$iothub/twin/PATCH/properties/desired/#",
		"devices/other/messages/devicebound/#", "weather/#"); fmt.Sprint(codes) != "[1 1 128 128]" {
		t.Errorf("granted %v", codes)
	}
	twin := d.ask("$iothub/twin/GET/?$rid=7", "")
	if twin.topic != "$iothub/twin/res/200/?$rid=7" ||
		fmt.Sprint(twin.body["desired"]) != "map[$version:1 interval:5]" {
		t.Errorf("the twin is answered %+v", twin)
	}
	if reported := d.ask("$iothub/twin/PATCH/properties/reported/?$rid=8",
		`{"state":"on"}`); reported.topic != "$iothub/twin/res/204/?$rid=8&$version=2" {
		t.Errorf("reporting is answered %+v", reported)
	}
	if refused := d.ask("$iothub/twin/PATCH/properties/reported/?$rid=9",
		`{"a.b":1}`); refused.topic != "$iothub/twin/res/400/?$rid=9" || refused.body["errorCode"] != 400004.0 {
		t.Errorf("a bad report is answered %+v", refused)
	}
	ctx := context.Background()
	if _, err := h.hub.PatchTwin(ctx, "Python-device-01", json.RawMessage(`{"properties":{"desired":{"interval":9}}}`),
		""); err != nil {
		t.Fatal(err)
	}
	if told := d.next(); told.topic != "$iothub/twin/PATCH/properties/desired/?$version=2" ||
		told.body["interval"] != 9.0 {
		t.Errorf("the device is told %+v", told)
	}
	acknowledged := make(chan error, 10)
	for i := range 10 {
		if err := d.Publish(fmt.Sprintf("devices/Python-device-01/messages/events/%%24.mid=m%d&k=v", i),
			[]byte("test wind speed"), 1, func(err error) { acknowledged <- err }); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		if err := <-acknowledged; err != nil {
			t.Fatal(err)
		}
	}
	h.stop()
	h.start() // nothing of it is lost
	var messages []telemetry.Message
	if err := h.hub.Telemetry(ctx, telemetry.Position{Earliest: true}, "", 10, func(m telemetry.Message) error {
		messages = append(messages, m)
		return nil
	}); err != nil || len(messages) != 10 {
		t.Fatalf("read %d messages, error %v", len(messages), err)
	}
	if m := messages[9]; m.SystemProperties["message-id"] != "m9" || m.Properties["k"] != "v" ||
		m.Body != "test wind speed" {
		t.Errorf("the last message is %+v", m)
	}
	if seen, err := h.hub.Device(ctx, "Python-device-01"); err != nil || seen.Status != "enabled" ||
		seen.ConnectionState != "Disconnected" || seen.LastActivityTime.IsZero() {
		t.Errorf("the device is %+v, error %v", seen, err)
	}
}

func TestASecondStartFindsEverythingAgain(t *testing.T) {
	h := newFixture(t)
	before := h.Info()
	certificate, err := os.ReadFile(filepath.Join(h.config.DataDir, "pki", "server.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(before.IDScope, "0ne") || len(before.IDScope) != 11 {
		t.Errorf("the ID scope is %q", before.IDScope)
	}
	if _, err := Start(context.Background(), h.config); err == nil ||
		!strings.Contains(err.Error(), "another server uses the data folder") {
		t.Errorf("a second server on the folder is answered %v", err)
	}
	h.stop()
	h.start()
	after := h.Info()
	if after.IDScope != before.IDScope || after.ProvisioningConnectionString != before.ProvisioningConnectionString ||
		after.Hubs[0] != before.Hubs[0] || after.CAFile != before.CAFile {
		t.Errorf("before %+v,\nafter %+v", before, after)
	}
	if again, _ := os.ReadFile(filepath.Join(h.config.DataDir, "pki",
		"server.pem")); string(again) != string(certificate) {
		t.Error("the server certificate was made anew")
	}
	if read, err := ReadInfo(h.config.DataDir); err != nil || read.Ports != after.Ports {
		t.Errorf("read %+v, error %v", read, err)
	}
	// Another name needs another certificate, of the same authority.
	h.stop()
	h.config.Host = "dps.example"
	h.start()
	conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", h.Info().Ports.MQTT),
		&tls.Config{RootCAs: h.roots, ServerName: "dps.example"})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	// Keys are for their owner alone.
	if err := filepath.WalkDir(h.config.DataDir, func(path string, entry os.DirEntry, err error) error {
		info, statErr := entry.Info()
		if err != nil || statErr != nil {
			return nil // files of the engines come and go
		}
		if secret := strings.Contains(path, "key") || strings.HasSuffix(path, "info.json"); secret &&
			info.Mode().Perm() != 0o600 {
			t.Errorf("%s has the mode %v", path, info.Mode())
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func TestOperations(t *testing.T) {
	h := newFixture(t)
	get := func(path string) (int, string) {
		response, err := http.Get(strings.TrimSuffix(h.Info().PortalURL, "/") + path)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(body)
	}
	for path, want := range map[string]string{
		"/healthz": "ok", "/readyz": "ready",
		"/metrics": `berth_registrations_total{outcome="refused"} 0`,
	} {
		if status, body := get(path); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s answers %d without %q:\n%s", path, status, want, body)
		}
	}
	if status, body := get("/"); status != 401 || !strings.Contains(body, "berth portal link") {
		t.Errorf("the portal answers %d, and does not say how to log in:\n%s", status, body)
	}
	// A page whose name leads here (DNS rebinding) does not read what is here.
	for _, path := range []string{"/metrics", "/portal/"} {
		request, err := http.NewRequest("GET", strings.TrimSuffix(h.Info().PortalURL, "/")+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{"evil.example", "127.0.0.1.evil.example:8080", "localhost.evil.example", ""} {
			request.Host = host
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if want := http.StatusMisdirectedRequest; (response.StatusCode == want) != (host != "") {
				t.Errorf("%s of the host %q is answered %s", path, host, response.Status)
			}
		}
	}
	h.ready.Store(false)
	if status, _ := get("/readyz"); status != 503 {
		t.Errorf("while it is not ready it answers %d", status)
	}
}

func TestStartThatFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	config := Config{DataDir: t.TempDir(), Host: "localhost", HubHost: "127.0.0.1", Listen: "127.0.0.1",
		MQTTPort: taken.Addr().(*net.TCPAddr).Port}
	var closed *ListenError
	if _, err := Start(context.Background(), config); !errors.As(err, &closed) ||
		!strings.Contains(closed.Advice(), "--mqtt-port") ||
		!strings.HasPrefix(err.Error(), fmt.Sprintf("cannot listen on port %d (MQTT): ", config.MQTTPort)) {
		t.Errorf("a port that is taken is answered %v", err)
	}
	config.MQTTPort, config.HubHost = 0, "localhost"
	if _, err := Start(context.Background(), config); err == nil || !strings.Contains(err.Error(), "--hub-host") {
		t.Errorf("a hub without a dot is answered %v", err)
	}
	config.HubHost = "127.0.0.1"
	for _, host := range []string{"", "a b", "https://x.test", "dps.test:443", "*.berth.test", "a..b", "é.test",
		"-a.test", "a-.test", "dps.test.", strings.Repeat("x", 64), "fe80::1%eth0/64"} {
		wrong := config
		wrong.Host = host
		var misnamed *HostError
		if s, err := Start(context.Background(), wrong); !errors.As(err, &misnamed) ||
			!strings.Contains(err.Error(), "--host") {
			t.Errorf("a start with the host %q is answered %v", host, err)
			if s != nil {
				s.Shutdown(context.Background())
			}
		}
	}
	s, err := Start(context.Background(), config) // what failed left nothing behind
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

// Old devices come in with AES-CBC, unless that is turned off; others always do.
func TestCipherSuites(t *testing.T) {
	h := newFixture(t)
	connects := func(port int, suites ...uint16) bool {
		t.Helper()
		conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port),
			&tls.Config{RootCAs: h.roots, ServerName: "localhost",
				MaxVersion: tls.VersionTLS12, CipherSuites: suites})
		if err == nil {
			conn.Close()
		}
		return err == nil
	}
	for _, noCBC := range []bool{false, true} {
		h.stop()
		h.config.NoCBC = noCBC
		h.start()
		for _, port := range []int{h.Info().Ports.MQTT, h.Info().Ports.HTTPS} {
			cbc := connects(port, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
				tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA)
			if cbc == noCBC {
				t.Errorf("with --tls-no-cbc %v a client with AES-CBC alone connects: %v", noCBC, cbc)
			}
			if !connects(port) {
				t.Errorf("with --tls-no-cbc %v a client with all suites does not connect", noCBC)
			}
		}
	}
}
