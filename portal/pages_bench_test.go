package portal

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/berth-iot/berth/cluster/local"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/identity"
	hubmessage "github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/pebble"
	"github.com/berth-iot/berth/store/segment"
)

// BenchmarkPages measures each page with 100,000 enrollments and 100,000 devices:
// the server's time from request to answer, as median and 99th percentile.
func BenchmarkPages(b *testing.B) {
	const size = 100_000
	p, cookie := filledPortal(b, size)
	for _, page := range []string{
		"", "quickstart",
		"enrollments", "enrollments?prefix=device-05", "enrollments?after=device-050000", "enrollment/device-050000",
		"enrollments/new",
		"registrations", "registrations?status=failed", "attempts", "attempts?id=device-000001", "policies",
		"hubs", "hubs/berth", "hubs/berth/policies",
		"hubs/berth/devices", "hubs/berth/devices?prefix=device-09", "hubs/berth/devices?after=device-050000",
		"hubs/berth/device/device-000001", "hubs/berth/device/device-000001/twin", "hubs/berth/devices/new",
	} {
		b.Run("portal/"+page, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				request := httptest.NewRequest(http.MethodGet, "http://127.0.0.1"+web.Root+page, nil)
				request.AddCookie(cookie)
				answer := httptest.NewRecorder()
				begun := time.Now()
				p.ServeHTTP(answer, request)
				took = append(took, time.Since(begun))
				if answer.Code != http.StatusOK {
					b.Fatalf("%s: %d", page, answer.Code)
				}
			}
			slices.Sort(took)
			milliseconds := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
			b.ReportMetric(milliseconds(took[len(took)/2]), "median-ms")
			b.ReportMetric(milliseconds(took[len(took)*99/100]), "p99-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// filledPortal is a portal on services that hold this many enrollments and
// devices, and the cookie of an operator. The first device has registered and
// sent 100,000 messages.
func filledPortal(b *testing.B, size int) (*web.Site, *http.Cookie) {
	b.Helper()
	ctx, dir, logger := context.Background(), b.TempDir(), slog.New(slog.DiscardHandler)
	must := func(err error) {
		if err != nil {
			b.Helper()
			b.Fatal(err)
		}
	}
	engine, err := pebble.Open(filepath.Join(dir, "documents"), pebble.Options{Logger: logger})
	must(err)
	documents := store.TrackReads(engine)
	b.Cleanup(func() { documents.Close() })
	logs, err := segment.Open(filepath.Join(dir, "logs"), segment.Options{Now: time.Now, Logger: logger})
	must(err)
	b.Cleanup(func() { logs.Close() })
	telemetry, err := logs.Open("telemetry", store.LogOptions{Partitions: 4})
	must(err)
	attempts, err := logs.Open("attempts", store.LogOptions{Partitions: 1})
	must(err)
	h, err := hub.Open(ctx,
		hub.Config{Name: "berth", Host: "127.0.0.1", Documents: documents, Telemetry: telemetry, Bus: local.New(),
			Now: time.Now, Logger: logger})
	must(err)
	b.Cleanup(func() { h.Close(ctx) })
	service, err := provisioning.Open(ctx,
		provisioning.Config{IDScope: "0ne00000001", Host: "localhost", Documents: documents, Attempts: attempts,
			Now: time.Now, Logger: logger})
	must(err)
	b.Cleanup(func() { service.Close(ctx) })

	certificate, _, err := credential.NewDeviceCertificate(credential.DeviceCertificate{CommonName: "device",
		KeyType: credential.EC256, NotBefore: time.Now(), Validity: time.Hour})
	must(err)
	const workers = 200
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() {
			for i := worker; i < size; i += workers {
				id := fmt.Sprintf("device-%06d", i)
				_, err := service.Enrollments().Create(ctx,
					enroll.Enrollment{RegistrationID: id,
						Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{
							Type: "x509",
							X509: &enroll.X509Attestation{ClientCertificates: &enroll.X509Certificates{Primary: &enroll.X509Certificate{Certificate: string(certificate)}}}}}})
				if err == nil {
					_, err = h.CreateDevice(ctx, identity.Device{DeviceID: id})
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	sendMessages(b, h, "device-000001", 100_000)

	p := New(Config{Provisioning: service, Hubs: hub.NewDirectory(h), Documents: documents, CAFile: "ca.pem",
		DataDir: dir, Now: time.Now, Logger: logger})
	b.Cleanup(p.Close)
	path, _, err := p.Link(ctx, web.Operator)
	must(err)
	answer := httptest.NewRecorder()
	p.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "http://127.0.0.1"+path, nil))
	return p, answer.Result().Cookies()[0]
}

// sendMessages has a device send messages and waits until they are durable.
func sendMessages(b *testing.B, h *hub.Hub, id string, count int) {
	b.Helper()
	ctx := context.Background()
	device, err := h.Device(ctx, id)
	if err != nil {
		b.Fatal(err)
	}
	token, err := credential.NewToken(h.Host()+"/devices/"+id, "", *device.Authentication.SymmetricKey.PrimaryKey,
		time.Now().Add(time.Hour))
	if err != nil {
		b.Fatal(err)
	}
	session, err := h.Connections().OpenSession(ctx, id, credential.Evidence{Token: token, Protocol: "mqtt"}, false,
		nobody{})
	if err != nil {
		b.Fatal(err)
	}
	defer session.Close(nil)
	var sent committed
	sent.Add(count)
	for i := range count {
		if err := session.Send(&hubmessage.Message{Payload: fmt.Appendf(nil, `{"reading":%d}`, i)}, &sent,
			0); err != nil {
			b.Fatal(err)
		}
	}
	sent.Wait()
}

// committed waits for messages.
type committed struct{ sync.WaitGroup }

// Committed implements store.Committer.
func (c *committed) Committed(uint64, store.Position, error) { c.Done() }

// nobody is a device that hears nothing.
type nobody struct{}

func (nobody) Desired(int64, json.RawMessage)    {}
func (nobody) Messages()                         {}
func (nobody) Call(string, string, []byte) error { return nil }
func (nobody) Close(error)                       {}
