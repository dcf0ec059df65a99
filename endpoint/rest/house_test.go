package rest

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/access"
	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/cluster/local"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/pebble"
	"github.com/berth-iot/berth/store/segment"
	"github.com/berth-iot/berth/wire/mqtt"
)

const scope = "0ne0000ABCD"

// house is the handler over real services on real engines, and a TLS server in
// front of it.
type house struct {
	t       testing.TB
	handler http.Handler
	server  *httptest.Server
	config  Config
}

// linked makes a hub out of what this test needs of one.
type linked struct{ *hub.Hub }

func (l linked) Admit(ctx context.Context, a provisioning.Admission) (generation string, _ error) {
	return l.Hub.Admit(ctx, hub.Admission{DeviceID: a.DeviceID, PrimaryThumbprint: a.PrimaryThumbprint,
		PrimaryKey: a.PrimaryKey, SecondaryKey: a.SecondaryKey})
}
func (l linked) Identity(context.Context, provisioning.Admission) (provisioning.Identity, error) {
	return provisioning.Identity{}, nil
}
func (l linked) Check(provisioning.Admission) error { return nil }
func (l linked) Twin(context.Context, string) (*provisioning.InitialTwin, error) {
	return nil, nil
}
func (l linked) Remove(ctx context.Context, id string) error { return l.DeleteDevice(ctx, id, "") }

func newHouse(t testing.TB, configure ...func(*provisioning.Config)) *house {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, dir, logger := context.Background(), t.TempDir(), slog.New(slog.DiscardHandler)
	opened, err := pebble.Open(dir+"/documents", pebble.Options{Logger: logger})
	must(err)
	documents := store.Inspect(opened, logger)
	logs, err := segment.Open(dir+"/logs", segment.Options{Logger: logger})
	must(err)
	telemetry, err := logs.Open("telemetry", store.LogOptions{Partitions: 2})
	must(err)
	attempts, err := logs.Open("attempts", store.LogOptions{Partitions: 1})
	must(err)
	iot, err := hub.Open(ctx, hub.Config{Name: "test", Host: "hub.local", Documents: documents, Telemetry: telemetry, Bus: local.New(), Now: time.Now, Logger: logger})
	must(err)
	issuer, err := issuance.Open(ctx, issuance.Config{Documents: documents, Now: time.Now})
	must(err)
	changes := audit.Open(documents, time.Now)
	provisions := provisioning.Config{IDScope: scope, Host: "dps.local", Documents: documents, Attempts: attempts,
		Hubs: []provisioning.Hub{linked{iot}}, Issuer: issuer, Audit: changes, Now: time.Now, Logger: logger}
	for _, change := range configure {
		change(&provisions)
	}
	dps, err := provisioning.Open(ctx, provisions)
	must(err)
	h := &house{t: t, config: Config{Provisioning: dps, Issuer: issuer, Audit: changes, Hubs: hub.NewDirectory(iot), PoliciesChanged: func() {}, Records: records{documents}, Logger: logger}}
	h.config.MQTT = func(conn net.Conn, peer mqtt.Peer) {
		defer conn.Close()
		io.Copy(conn, conn) // an echo is enough here
	}
	h.handler = New(h.config)
	h.server = httptest.NewUnstartedServer(h.handler)
	h.server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	h.server.StartTLS()
	t.Cleanup(func() {
		h.server.Close()
		if err := errors.Join(dps.Close(ctx), iot.Close(ctx), logs.Close(), documents.Close()); err != nil {
			t.Error(err)
		}
	})
	return h
}

// records deletes what can't be read and nothing else.
type records struct{ *store.Inspector }

func (r records) Unreadable(ctx context.Context) ([]store.Unreadable, error) { return r.Scan(ctx) }
func (r records) DeleteUnreadable(ctx context.Context, collection, key string) error {
	if !store.IsUnreadable(r.Check(ctx, collection, key)) {
		return fault.New(fault.NotFound, "There is no such record")
	}
	_, err := r.Commit(ctx, store.Change{Collection: collection, Key: key, Delete: true})
	return err
}

// damage puts something else in the place of a record.
func (h *house) damage(collection, key string) {
	h.t.Helper()
	change := store.Change{Collection: collection, Key: key, Value: []byte("{damaged")}
	if _, err := h.config.Records.(records).Commit(context.Background(), change); err != nil {
		h.t.Fatal(err)
	}
}

// token signs for a host with a policy of one of the services.
func (h *house) token(host, policy string, expiry time.Time) string {
	h.t.Helper()
	policies, err := h.config.Provisioning.Access().List(context.Background())
	if err == nil {
		var more []access.Policy
		more, err = h.config.Hubs.All()[0].Access().List(context.Background())
		policies = append(policies, more...)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	for _, p := range policies {
		if p.Name == policy {
			made, err := credential.NewToken(host, policy, p.PrimaryKey, expiry)
			if err != nil {
				h.t.Fatal(err)
			}
			return made
		}
	}
	h.t.Fatalf("there is no policy %s", policy)
	return ""
}

func (h *house) dpsToken() string {
	return h.token("dps.local", "provisioningserviceowner", time.Now().Add(time.Hour))
}

func (h *house) hubToken() string {
	return h.token("hub.local", "iothubowner", time.Now().Add(time.Hour))
}

// committed waits for an append.
type committed chan error

func (c committed) Committed(_ uint64, _ store.Position, err error) { c <- err }

// sender connects a new device and returns what sends a message from it.
func (h *house) sender(ctx context.Context, id string) func(text string) {
	h.t.Helper()
	iot := h.config.Hubs.All()[0]
	device, err := iot.CreateDevice(ctx, hub.Device{DeviceID: id})
	if err != nil {
		h.t.Fatal(err)
	}
	session, err := iot.OpenSession(ctx, id, evidenceOf(h.t, device), false, silent{})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { session.Close(nil) })
	return func(text string) {
		h.t.Helper()
		done := make(committed, 1)
		if err := session.Send(&message.Message{Payload: []byte(text)}, done, 1); err != nil {
			h.t.Fatal(err)
		}
		if err := <-done; err != nil {
			h.t.Fatal(err)
		}
	}
}

// evidenceOf is a device's own token.
func evidenceOf(t testing.TB, device hub.Device) credential.Evidence {
	t.Helper()
	token, err := credential.NewToken("hub.local/devices/"+device.DeviceID, "", *device.Authentication.SymmetricKey.PrimaryKey, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return credential.Evidence{Token: token}
}

// silent is a device that nothing is said to.
type silent struct{}

func (silent) Desired(int64, json.RawMessage) {}
func (silent) Close(error)                    {}

// request is one request of a test.
type request struct {
	method, path string // the path without api-version
	token        string
	body         string
	header       http.Header
}

// response is what came back, its body decoded.
type response struct {
	status int
	header http.Header
	text   string
	fields map[string]any
}

// do sends a request to the service whose token it bears.
func (h *house) do(r request) response {
	h.t.Helper()
	separator := "?"
	if strings.Contains(r.path, "?") {
		separator = "&"
	}
	sent := httptest.NewRequest(r.method, "https://dps.local"+r.path+separator+"api-version=2021-10-01", strings.NewReader(r.body))
	if strings.Contains(r.token, "hub.local") {
		sent.Host = "hub.local"
	}
	for name, values := range r.header {
		sent.Header[name] = values
	}
	if r.token != "" {
		sent.Header.Set("Authorization", r.token)
	}
	recorder := httptest.NewRecorder()
	h.handler.ServeHTTP(recorder, sent)
	answer := response{status: recorder.Code, header: make(http.Header), text: recorder.Body.String()}
	for name, values := range recorder.Header() { // as a client would have them that knows names by their meaning
		answer.header[http.CanonicalHeaderKey(name)] = values
	}
	if strings.HasPrefix(strings.TrimSpace(answer.text), "{") {
		if err := json.Unmarshal([]byte(answer.text), &answer.fields); err != nil {
			h.t.Errorf("%s %s answers %v: %s", r.method, r.path, err, answer.text)
		}
	}
	return answer
}

func certificatePEM(t testing.TB, name string) (certificate, key string) {
	t.Helper()
	c, k, err := credential.NewDeviceCertificate(credential.DeviceCertificate{CommonName: name, KeyType: credential.EC256, NotBefore: time.Now().Add(-time.Hour), Validity: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return string(c), string(k)
}

// enrollmentBody is an enrollment in JSON.
func enrollmentBody(id, certificate string) string {
	encoded, err := json.Marshal(certificate)
	if err != nil {
		panic(err) // a string is JSON
	}
	return `{"registrationId":"` + id + `","attestation":{"type":"x509","x509":{"clientCertificates":{"primary":{"certificate":` + string(encoded) + `}}}}}`
}
