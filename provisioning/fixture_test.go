package provisioning

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/clock/clocktest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/attempts"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/memory"
)

const scope = "0ne0000ABCD"

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// fixture is a provisioning service with linked hubs that remember who was
// admitted, on a store in memory. It can be closed and opened again.
type fixture struct {
	*Service
	t       *testing.T
	store   *memory.Store
	pace    Pace
	clock   clocktest.Clock
	trusted func() bool
	hubs    []linkedhub.Hub
	reach   func(linkedhub.Link) (linkedhub.Hub, error) // of hubs elsewhere
	webhook allocation.Webhook
	limits  Limits
	audit   *audit.Log
	hurry   context.Context // how long close waits for what is under way
	close   func()
}

func newFixture(t *testing.T, hosts ...string) *fixture {
	t.Helper()
	h := &fixture{t: t, store: memory.New(), pace: Instant, hurry: context.Background()}
	h.clock.Set(noon)
	for _, host := range hosts {
		h.hubs = append(h.hubs, &memoryHub{host: host, devices: map[string]linkedhub.Admission{}})
	}
	h.open()
	t.Cleanup(func() { h.close() })
	return h
}

// settle waits until no assignment is under way. The service's own sweep may begin more at
// any time.
func (h *fixture) settle() {
	h.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		h.jobs.mutex.Lock()
		left := len(h.jobs.byKey)
		h.jobs.mutex.Unlock()
		if left == 0 {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%d assignments are still under way", left)
		}
	}
}

func (h *fixture) hub(i int) *memoryHub { return h.hubs[i].(*memoryHub) }

func (h *fixture) open() {
	h.t.Helper()
	documents, logs := h.store.Open(), h.store.OpenLogs(nil)
	attempts, err := logs.Open("attempts", store.LogOptions{Partitions: 1})
	if err != nil {
		h.t.Fatal(err)
	}
	h.audit = audit.Open(documents, h.clock.Now)
	h.Service, err = Open(context.Background(), Config{
		IDScope: scope, Host: "dps.local", Documents: documents, Attempts: attempts, Hubs: h.hubs,
		Reach:   func(link linkedhub.Link) (linkedhub.Hub, error) { return h.reach(link) },
		Webhook: h.webhook, Pace: h.pace, Limits: h.limits, Audit: h.audit,
		Now: h.clock.Now, Trusted: h.trusted, Logger: slog.New(slog.DiscardHandler), Panics: quietPanics(),
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.close = func() {
		h.t.Helper()
		if err := errors.Join(h.Service.Close(h.hurry), logs.Close(), documents.Close()); err != nil {
			h.t.Error(err)
		}
	}
}

func (h *fixture) reopen() {
	h.t.Helper()
	h.close()
	h.open()
}

// memoryHub is a linked hub whose devices are a map. refuse and hold let a test
// make it fail or wait.
type memoryHub struct {
	host    string
	mutex   sync.Mutex
	devices map[string]linkedhub.Admission
	made    int               // devices so far
	of      map[string]string // device id -> generation
	refuse  error
	hold    chan struct{}
}

func (m *memoryHub) Host() string { return m.host }

func (m *memoryHub) Check(a linkedhub.Admission) error {
	if len(a.DeviceID) > 100 {
		return fault.New(fault.ArgumentInvalid, "the device id is too long")
	}
	if a.Twin != nil && len(a.Twin.Tags) > 100 {
		return fault.New(fault.ArgumentInvalid, "the tags are too long")
	}
	if a.Twin != nil && len(a.Twin.Properties.Desired) > 100 {
		return fault.New(fault.ArgumentInvalid, "the desired properties are too long")
	}
	return nil
}

func (m *memoryHub) EnsureDevice(ctx context.Context, a linkedhub.Admission) (generation string, _ error) {
	if m.hold != nil {
		select {
		case <-m.hold:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.refuse != nil {
		return "", m.refuse
	}
	there := m.identity(a)
	if a.IfGeneration != nil && there.Differs && *a.IfGeneration != there.Generation {
		return "", fault.New(fault.DeviceAlreadyExists, "the device is another")
	}
	if there.Generation != "" {
		a.Twin, a.Status = m.devices[a.DeviceID].Twin, m.devices[a.DeviceID].Status
	} else {
		m.made++
		if m.of == nil {
			m.of = map[string]string{}
		}
		m.of[a.DeviceID] = fmt.Sprint(m.made)
	}
	m.devices[a.DeviceID] = a
	return m.of[a.DeviceID], nil
}

func (m *memoryHub) Identity(_ context.Context, a linkedhub.Admission) (linkedhub.Identity, error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.identity(a), nil
}

func (m *memoryHub) identity(a linkedhub.Admission) linkedhub.Identity {
	there, ok := m.devices[a.DeviceID]
	if !ok {
		return linkedhub.Identity{}
	}
	return linkedhub.Identity{Generation: m.of[a.DeviceID], Status: there.Status,
		Differs: there.PrimaryKey != a.PrimaryKey || there.SecondaryKey != a.SecondaryKey ||
			there.PrimaryThumbprint != a.PrimaryThumbprint || there.SecondaryThumbprint != a.SecondaryThumbprint}
}

func (m *memoryHub) Twin(_ context.Context, deviceID string) (*linkedhub.InitialTwin, error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	there, ok := m.devices[deviceID]
	if ok && there.Twin == nil {
		return &linkedhub.InitialTwin{}, nil
	}
	return there.Twin, nil
}

func (m *memoryHub) Remove(_ context.Context, deviceID string) error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	delete(m.devices, deviceID)
	return nil
}

func (m *memoryHub) device(id string) (linkedhub.Admission, bool) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	a, ok := m.devices[id]
	return a, ok
}

// deviceIdentity is a device certificate and the evidence it gives.
type deviceIdentity struct {
	PEM      string
	evidence credential.Evidence
}

func newIdentity(t testing.TB, commonName string, notBefore time.Time, validity time.Duration) deviceIdentity {
	t.Helper()
	text, _, err := credential.NewDeviceCertificate(credential.DeviceCertificate{
		CommonName: commonName, KeyType: credential.EC256, NotBefore: notBefore, Validity: validity})
	if err != nil {
		t.Fatal(err)
	}
	certificates, err := credential.ParseCertificates(text)
	if err != nil {
		t.Fatal(err)
	}
	return deviceIdentity{string(text),
		credential.Evidence{Certificates: certificates, Protocol: "mqtt", RemoteAddr: "127.0.0.1:4711"}}
}

func valid(t testing.TB, commonName string) deviceIdentity {
	return newIdentity(t, commonName, noon.Add(-time.Hour), 365*24*time.Hour)
}

// enrollment is the enrollment of a device by its certificate.
func (d deviceIdentity) enrollment() enroll.Enrollment {
	return enroll.Enrollment{
		RegistrationID: d.evidence.Certificates[0].Subject.CommonName,
		Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: enroll.X509,
			X509: &enroll.X509Attestation{ClientCertificates: &enroll.X509Certificates{
				Primary: &enroll.X509Certificate{Certificate: d.PEM}}}}},
	}
}

func (h *fixture) enroll(e enroll.Enrollment) enroll.Enrollment {
	h.t.Helper()
	written, err := h.Enrollments().Put(context.Background(), e, "")
	if err != nil {
		h.t.Fatal(err)
	}
	return written
}

func (h *fixture) register(d deviceIdentity) (Operation, error) {
	id := d.evidence.Certificates[0].Subject.CommonName
	return h.OpenSession(scope, id, d.evidence).Register(context.Background(),
		[]byte(`{"registrationId":"`+id+`","payload":null}`))
}

func (h *fixture) mustRegister(d deviceIdentity) DeviceRegistration {
	h.t.Helper()
	operation, err := h.register(d)
	if err != nil {
		h.t.Fatal(err)
	}
	if operation.RegistrationState == nil || operation.Status != StatusAssigned {
		h.t.Fatalf("the operation is %+v with state %+v", operation, operation.RegistrationState)
	}
	return *operation.RegistrationState
}

func (h *fixture) lastAttempt(registrationID string) attest.Attempt {
	h.t.Helper()
	attempts, err := h.Attempts().Find(context.Background(), attempts.Filter{RegistrationID: registrationID, Max: 1})
	if err != nil || len(attempts) != 1 {
		h.t.Fatalf("%d attempts of %s, error %v", len(attempts), registrationID, err)
	}
	return attempts[0]
}
