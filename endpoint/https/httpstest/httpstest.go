// Package httpstest is the door of HTTPS in front of real services on a store in memory,
// for the tests of whatever operations it is given. A token for dps.local or hub.local
// tells which service a request is for.
package httpstest

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
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/connection"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/hub/method"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/linkedhub"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/memory"
	"github.com/berth-iot/berth/wire/mqtt"
)

// Scope is the ID scope of the provisioning service.
const Scope = "0ne0000ABCD"

// Fixture is the door, and what is behind it.
type Fixture struct {
	T       testing.TB
	Handler http.Handler
	Server  *httptest.Server // the handler behind TLS
	Config  https.Config     // of the handler; it has one hub
	Issuer  *issuance.Service
	Records Records
}

// linked makes a hub out of what this test needs of one.
type linked struct{ *hub.Hub }

func (l linked) EnsureDevice(ctx context.Context, a linkedhub.Admission) (generation string, _ error) {
	return l.Hub.EnsureDevice(ctx, hub.Admission{DeviceID: a.DeviceID, PrimaryThumbprint: a.PrimaryThumbprint,
		PrimaryKey: a.PrimaryKey, SecondaryKey: a.SecondaryKey})
}
func (l linked) Identity(context.Context, linkedhub.Admission) (linkedhub.Identity, error) {
	return linkedhub.Identity{}, nil
}
func (l linked) Check(linkedhub.Admission) error { return nil }
func (l linked) Twin(context.Context, string) (*linkedhub.InitialTwin, error) {
	return nil, nil
}
func (l linked) Remove(ctx context.Context, id string) error { return l.DeleteDevice(ctx, id, "") }

// New returns a fixture that has these operations, and ends with the test.
func New(t testing.TB, operations func(*Fixture) []https.Operation,
	configure ...func(*provisioning.Config)) *Fixture {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, kept, logger := context.Background(), memory.New(), slog.New(slog.DiscardHandler)
	documents, logs := store.Inspect(kept.Open(), logger), kept.OpenLogs(nil)
	telemetry, err := logs.Open("telemetry", store.LogOptions{Partitions: 2})
	must(err)
	attempts, err := logs.Open("attempts", store.LogOptions{Partitions: 1})
	must(err)
	events, err := logs.Open("events", store.LogOptions{Partitions: 1})
	must(err)
	iot, err := hub.Open(ctx, hub.Config{Name: "test", Host: "hub.local", Blobs: Blobs{}, Documents: documents,
		Telemetry: telemetry, Events: events, Bus: local.New(), Now: time.Now, Logger: logger})
	must(err)
	issuer, err := issuance.Open(ctx, issuance.Config{Documents: documents, Now: time.Now})
	must(err)
	changes := audit.Open(documents, time.Now)
	provisions := provisioning.Config{IDScope: Scope, Host: "dps.local", Documents: documents, Attempts: attempts,
		Hubs: []linkedhub.Hub{linked{iot}}, Issuer: issuer, Audit: changes, Now: time.Now, Logger: logger}
	for _, change := range configure {
		change(&provisions)
	}
	dps, err := provisioning.Open(ctx, provisions)
	must(err)
	f := &Fixture{T: t, Issuer: issuer, Records: Records{documents},
		Config: https.Config{Provisioning: dps, Hubs: hub.NewDirectory(iot), Audit: changes, Logger: logger}}
	f.Config.MQTT = func(conn net.Conn, peer mqtt.Peer) {
		defer conn.Close()
		io.Copy(conn, conn) // an echo is enough here
	}
	f.Handler = https.New(f.Config, operations(f)...)
	f.Server = httptest.NewUnstartedServer(f.Handler)
	f.Server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	f.Server.StartTLS()
	t.Cleanup(func() {
		f.Server.Close()
		if err := errors.Join(dps.Close(ctx), iot.Close(ctx), logs.Close(), documents.Close()); err != nil {
			t.Error(err)
		}
	})
	return f
}

// Records are the records of all services. It implements own.Records.
type Records struct{ *store.Inspector }

// Unreadable reads all records and returns those that can't be read.
func (r Records) Unreadable(ctx context.Context) ([]store.Unreadable, error) { return r.Scan(ctx) }

// DeleteUnreadable deletes a record that can't be read and nothing else.
func (r Records) DeleteUnreadable(ctx context.Context, collection, key string) error {
	if !store.IsUnreadable(r.Check(ctx, collection, key)) {
		return fault.New(fault.NotFound, "There is no such record")
	}
	_, err := r.Commit(ctx, store.Change{Collection: collection, Key: key, Delete: true})
	return err
}

// Damage puts something else in the place of a record.
func (f *Fixture) Damage(collection, key string) {
	f.T.Helper()
	change := store.Change{Collection: collection, Key: key, Value: []byte("{damaged")}
	if _, err := f.Records.Commit(context.Background(), change); err != nil {
		f.T.Fatal(err)
	}
}

// Token signs for a host with a policy of one of the services.
func (f *Fixture) Token(host, policy string, expiry time.Time) string {
	f.T.Helper()
	policies, err := f.Config.Provisioning.Access().List(context.Background())
	if err == nil {
		var more []access.Policy
		more, err = f.Config.Hubs.All()[0].Access().List(context.Background())
		policies = append(policies, more...)
	}
	if err != nil {
		f.T.Fatal(err)
	}
	for _, p := range policies {
		if p.Name == policy {
			made, err := credential.NewToken(host, policy, p.PrimaryKey, expiry)
			if err != nil {
				f.T.Fatal(err)
			}
			return made
		}
	}
	f.T.Fatalf("there is no policy %s", policy)
	return ""
}

// DPSToken returns a token that may do everything in the provisioning service.
func (f *Fixture) DPSToken() string {
	return f.Token("dps.local", "provisioningserviceowner", time.Now().Add(time.Hour))
}

// HubToken returns a token that may do everything in the hub.
func (f *Fixture) HubToken() string {
	return f.Token("hub.local", "iothubowner", time.Now().Add(time.Hour))
}

// committed waits for an append.
type committed chan error

func (c committed) Committed(_ uint64, _ store.Position, err error) { c <- err }

// Sender connects a new device and returns what sends a message from it.
func (f *Fixture) Sender(ctx context.Context, id string) func(text string) {
	f.T.Helper()
	iot := f.Config.Hubs.All()[0]
	device, err := iot.CreateDevice(ctx, identity.Device{DeviceID: id})
	if err != nil {
		f.T.Fatal(err)
	}
	session, err := iot.Connections().OpenSession(ctx, id, evidenceOf(f.T, device), false, silent{})
	if err != nil {
		f.T.Fatal(err)
	}
	f.T.Cleanup(func() { session.Close(nil) })
	return func(text string) {
		f.T.Helper()
		done := make(committed, 1)
		if err := session.Send(&message.Message{Payload: []byte(text)}, done, 1); err != nil {
			f.T.Fatal(err)
		}
		if err := <-done; err != nil {
			f.T.Fatal(err)
		}
	}
}

// Answerer connects a new device that answers every method with a status and the payload of
// the call.
func (f *Fixture) Answerer(ctx context.Context, id, status string) {
	f.T.Helper()
	iot := f.Config.Hubs.All()[0]
	device, err := iot.CreateDevice(ctx, identity.Device{DeviceID: id})
	if err != nil {
		f.T.Fatal(err)
	}
	f.answer(ctx, id, evidenceOf(f.T, device), status)
}

// ModuleAnswerer is Answerer with a new module of a device that is there.
func (f *Fixture) ModuleAnswerer(ctx context.Context, deviceID, moduleID, status string) {
	f.T.Helper()
	module, err := f.Config.Hubs.All()[0].CreateModule(ctx, identity.Module{DeviceID: deviceID, ModuleID: moduleID})
	if err != nil {
		f.T.Fatal(err)
	}
	token := tokenOf(f.T, credential.ModuleResource("hub.local", deviceID, moduleID), module.Authentication)
	f.answer(ctx, identity.ModuleKey(deviceID, moduleID), token, status)
}

func (f *Fixture) answer(ctx context.Context, id string, evidence credential.Evidence, status string) {
	f.T.Helper()
	down := &answerer{status: status}
	var err error
	if down.session, err = f.Config.Hubs.All()[0].Connections().OpenSession(ctx, id, evidence, false, down); err != nil {
		f.T.Fatal(err)
	}
	f.T.Cleanup(func() { down.session.Close(nil) })
}

type answerer struct {
	silent
	session *connection.Session
	status  string
}

// Call implements connection.Downlink.
func (a *answerer) Call(requestID, _ string, payload []byte) error {
	return a.session.AnswerMethod(context.Background(), requestID, a.status, payload)
}

// evidenceOf is a device's own token.
func evidenceOf(t testing.TB, device identity.Device) credential.Evidence {
	t.Helper()
	return tokenOf(t, credential.DeviceResource("hub.local", device.DeviceID), device.Authentication)
}

// tokenOf is a token made with the key of a device or module.
func tokenOf(
	t testing.TB, resource credential.Resource, authentication *identity.Authentication,
) credential.Evidence {
	t.Helper()
	token, err := credential.NewToken(resource.String(), "", *authentication.SymmetricKey.PrimaryKey,
		time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return credential.Evidence{Token: token}
}

// silent is a device that nothing is said to.
type silent struct{}

func (silent) Desired(int64, json.RawMessage)    {}
func (silent) Messages()                         {}
func (silent) Call(string, string, []byte) error { return method.ErrNoReceiver }

func (silent) Close(error) {}

// Request is one request of a test.
type Request struct {
	Method, Path string // the path without api-version
	Token        string
	Body         string
	Header       http.Header
}

// Response is what came back, its body decoded.
type Response struct {
	Status int
	Header http.Header
	Text   string
	Fields map[string]any
}

// Do sends a request to the service whose token it bears.
func (f *Fixture) Do(r Request) Response {
	f.T.Helper()
	separator := "?"
	if strings.Contains(r.Path, "?") {
		separator = "&"
	}
	sent := httptest.NewRequest(r.Method, "https://dps.local"+r.Path+separator+"api-version=2021-10-01",
		strings.NewReader(r.Body))
	if strings.Contains(r.Token, "hub.local") {
		sent.Host = "hub.local"
	}
	for name, values := range r.Header {
		sent.Header[name] = values
	}
	if r.Token != "" {
		sent.Header.Set("Authorization", r.Token)
	}
	recorder := httptest.NewRecorder()
	f.Handler.ServeHTTP(recorder, sent)
	answer := Response{Status: recorder.Code, Header: make(http.Header), Text: recorder.Body.String()}
	for name, values := range recorder.Header() { // as a client would have them that knows names by their meaning
		answer.Header[http.CanonicalHeaderKey(name)] = values
	}
	if strings.HasPrefix(strings.TrimSpace(answer.Text), "{") {
		if err := json.Unmarshal([]byte(answer.Text), &answer.Fields); err != nil {
			f.T.Errorf("%s %s answers %v: %s", r.Method, r.Path, err, answer.Text)
		}
	}
	return answer
}

// CertificatePEM returns a self-signed certificate with this common name, and its key.
func CertificatePEM(t testing.TB, name string) (certificate, key string) {
	t.Helper()
	c, k, err := credential.NewDeviceCertificate(credential.DeviceCertificate{CommonName: name,
		KeyType: credential.EC256, NotBefore: time.Now().Add(-time.Hour), Validity: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return string(c), string(k)
}

// EnrollmentBody returns an enrollment in JSON, with a certificate in PEM.
func EnrollmentBody(id, certificate string) string {
	encoded, err := json.Marshal(certificate)
	if err != nil {
		panic(err) // a string is JSON
	}
	return `{"registrationId":"` + id + `","attestation":{"type":"x509","x509":{"clientCertificates":` +
		`{"primary":{"certificate":` + string(encoded) + `}}}}}`
}
