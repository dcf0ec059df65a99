package portaltest

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/cluster/local"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/segment"
)

// Services are what the pages show: the provisioning service of ID scope 0ne1, and the hub
// berth at 127.0.0.1.
type Services struct {
	*Fixture
	Provisioning *provisioning.Service
	Hub          *hub.Hub
	Hubs         *hub.Directory
	Audit        *audit.Log
	Issuer       *issuance.Service

	attempts store.Log
}

// OpenServices opens the services on the documents of a fixture.
func OpenServices(f *Fixture) *Services {
	t := f.T
	t.Helper()
	s := &Services{Fixture: f}
	logs, err := segment.Open(filepath.Join(f.DataDir, "logs"), segment.Options{Now: f.Now, Logger: f.Logger})
	f.Must(err)
	t.Cleanup(func() { logs.Close() })
	telemetry, err := logs.Open("telemetry", store.LogOptions{Partitions: 4})
	f.Must(err)
	attempts, err := logs.Open("attempts", store.LogOptions{Partitions: 1})
	f.Must(err)
	s.attempts = countedLog{attempts, &f.Reads}
	s.Hub, err = hub.Open(f.Context, hub.Config{Name: "berth", Host: "127.0.0.1", Documents: f.Documents,
		Telemetry: countedLog{telemetry, &f.Reads}, Bus: local.New(), Now: f.Now, Logger: f.Logger})
	f.Must(err)
	t.Cleanup(func() { s.Hub.Close(f.Context) })
	s.Hubs = hub.NewDirectory(s.Hub)
	s.Audit = audit.Open(f.Documents, f.Now)
	s.Issuer, err = issuance.Open(f.Context, issuance.Config{Documents: f.Documents, Now: f.Now, Audit: s.Audit})
	f.Must(err)
	s.Provisioning, err = provisioning.Open(f.Context, provisioning.Config{IDScope: "0ne1", Host: "localhost",
		Documents: f.Documents, Attempts: s.attempts, Issuer: s.Issuer, Audit: s.Audit, Now: f.Now, Logger: f.Logger})
	f.Must(err)
	t.Cleanup(func() { s.Provisioning.Close(f.Context) })
	return s
}

// AuthorityCertificate makes the certificate of an authority, PEM.
func (s *Services) AuthorityCertificate(name string) string {
	s.T.Helper()
	made, err := credential.NewAuthority(name, Start, 365*24*time.Hour)
	s.Must(err)
	certificate, _, err := made.PEM()
	s.Must(err)
	return string(certificate)
}

// DeviceCertificate makes a device's certificate, PEM.
func (s *Services) DeviceCertificate(name string) string {
	s.T.Helper()
	certificate, _, err := credential.NewDeviceCertificate(credential.DeviceCertificate{
		CommonName: name, KeyType: credential.EC256, NotBefore: Start, Validity: 365 * 24 * time.Hour})
	s.Must(err)
	return string(certificate)
}

// WithKeys are the settings of an enrollment or group by symmetric keys that the service
// makes.
func WithKeys() enroll.Settings {
	return enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "symmetricKey"}}
}

// Enroll adds an individual enrollment by symmetric keys.
func (s *Services) Enroll(id string) {
	s.T.Helper()
	_, err := s.Provisioning.Enrollments().Create(
		s.Context,
		enroll.Enrollment{RegistrationID: id, Settings: WithKeys()},
	)
	s.Must(err)
}

// EnrollGroup adds an enrollment group by symmetric keys.
func (s *Services) EnrollGroup(id string) {
	s.T.Helper()
	_, err := s.Provisioning.Groups().Put(
		s.Context,
		enroll.Group{EnrollmentGroupID: id, Settings: WithKeys()},
		"",
	)
	s.Must(err)
}

// AddDevice adds a device to the hub.
func (s *Services) AddDevice(id string) identity.Device {
	s.T.Helper()
	device, err := s.Hub.CreateDevice(s.Context, identity.Device{DeviceID: id})
	s.Must(err)
	return device
}

// AddModule adds a module to a device of the hub.
func (s *Services) AddModule(deviceID, moduleID string) identity.Module {
	s.T.Helper()
	module, err := s.Hub.CreateModule(s.Context, identity.Module{DeviceID: deviceID, ModuleID: moduleID})
	s.Must(err)
	return module
}

// Attempt puts attempts to register into the log, one a registration id.
func (s *Services) Attempt(outcome attest.Outcome, ids ...string) {
	s.T.Helper()
	attempts := make([]attest.Attempt, len(ids))
	for i, id := range ids {
		attempts[i] = attest.Attempt{Time: s.Now(), RegistrationID: id, Outcome: outcome, Protocol: "mqtt"}
	}
	s.AddAttempts(attempts...)
}

// AddAttempts puts these attempts to register into the log.
func (s *Services) AddAttempts(attempts ...attest.Attempt) {
	s.T.Helper()
	done := make(committed, len(attempts))
	for _, attempt := range attempts {
		record, err := json.Marshal(attempt)
		s.Must(err)
		s.attempts.Append(0, record, done, 0)
	}
	for range attempts {
		s.Must(<-done)
	}
}

// committed waits for a record of a log to be durable.
type committed chan error

// Committed implements store.Committer.
func (c committed) Committed(_ uint64, _ store.Position, err error) { c <- err }

// Names returns n ids of a prefix.
func Names(prefix string, n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("%s-%d", prefix, i))
	}
	return ids
}
