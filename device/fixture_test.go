package device_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"testing"
	"time"

	"github.com/berth-iot/berth/berthtest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/telemetry"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// fixture is a running server and a test's way into it.
type fixture struct {
	*berthtest.Server
	t   *testing.T
	ctx context.Context // ends long before the test's own timeout
}

func newFixture(t *testing.T, options ...berthtest.Option) *fixture {
	t.Helper()
	server := berthtest.Start(t, options...)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel) // before the server stops
	return &fixture{server, t, ctx}
}

// certificate makes the certificate of a device, which may be enrolled with it.
func (f *fixture) certificate(registrationID string, enrolled bool) *tls.Certificate {
	f.t.Helper()
	certificatePEM, keyPEM, err := credential.NewDeviceCertificate(credential.DeviceCertificate{
		CommonName: registrationID, KeyType: credential.EC256, NotBefore: time.Now().Add(-time.Hour),
		Validity: 24 * time.Hour})
	if err != nil {
		f.t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certificatePEM, keyPEM)
	if err != nil {
		f.t.Fatal(err)
	}
	if enrolled {
		attestation := enroll.AttestationMechanism{Type: "x509", X509: &enroll.X509Attestation{
			ClientCertificates: &enroll.X509Certificates{
				Primary: &enroll.X509Certificate{Certificate: string(certificatePEM)}}}}
		enrollment := enroll.Enrollment{RegistrationID: registrationID,
			Settings: enroll.Settings{Attestation: attestation,
				InitialTwin: &linkedhub.InitialTwin{Properties: linkedhub.InitialTwinProperties{Desired: json.RawMessage(`{"interval":5}`)}}}}
		if _, err := f.Provisioning.PutEnrollment(f.ctx, enrollment, ""); err != nil {
			f.t.Fatal(err)
		}
	}
	return &pair
}

// provision returns the options of a device that registers with its certificate.
func (f *fixture) provision(registrationID string, certificate *tls.Certificate) device.ProvisioningOptions {
	return device.ProvisioningOptions{Host: f.MQTTAddress(), IDScope: f.Info().IDScope, RegistrationID: registrationID,
		Certificate: certificate, RootCAs: f.RootCAs}
}

// sasDevice makes a device with a key in the hub and returns its options.
func (f *fixture) sasDevice(id string) device.HubOptions {
	f.t.Helper()
	created, err := f.Hub.CreateDevice(f.ctx, identity.Device{DeviceID: id})
	if err != nil {
		f.t.Fatal(err)
	}
	return device.HubOptions{Host: f.MQTTAddress(), DeviceID: id,
		SASKey: *created.Authentication.SymmetricKey.PrimaryKey, RootCAs: f.RootCAs}
}

// connect connects a device that disconnects when the test ends.
func (f *fixture) connect(options device.HubOptions) *device.Client {
	f.t.Helper()
	client, err := device.Connect(f.ctx, options)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { client.Close() }) // a test may have ended it on purpose
	return client
}

// telemetry returns the first n messages of a device.
func (f *fixture) telemetry(deviceID string, n int) []telemetry.Message {
	f.t.Helper()
	var messages []telemetry.Message
	err := f.Hub.Telemetry(f.ctx, telemetry.Position{Earliest: true}, deviceID, n,
		func(message telemetry.Message) error {
			messages = append(messages, message)
			return nil
		})
	if err != nil || len(messages) != n {
		f.t.Fatalf("got %d messages of %s and %v, want %d", len(messages), deviceID, err, n)
	}
	return messages
}
