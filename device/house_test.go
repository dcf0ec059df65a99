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
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// house is a running server and a test's way into it.
type house struct {
	*berthtest.Server
	t   *testing.T
	ctx context.Context // ends long before the test's patience does
}

func newHouse(t *testing.T, options ...berthtest.Option) *house {
	t.Helper()
	server := berthtest.Start(t, options...)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel) // before the server stops
	return &house{server, t, ctx}
}

// certificate makes the certificate of a device, which may be enrolled with it.
func (h *house) certificate(registrationID string, enrolled bool) *tls.Certificate {
	h.t.Helper()
	certificatePEM, keyPEM, err := credential.NewDeviceCertificate(credential.DeviceCertificate{
		CommonName: registrationID, KeyType: credential.EC256, NotBefore: time.Now().Add(-time.Hour), Validity: 24 * time.Hour})
	if err != nil {
		h.t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certificatePEM, keyPEM)
	if err != nil {
		h.t.Fatal(err)
	}
	if enrolled {
		attestation := provisioning.AttestationMechanism{Type: "x509", X509: &provisioning.X509Attestation{
			ClientCertificates: &provisioning.X509Certificates{Primary: &provisioning.X509Certificate{Certificate: string(certificatePEM)}}}}
		enrollment := provisioning.Enrollment{RegistrationID: registrationID, EnrollmentSettings: provisioning.EnrollmentSettings{Attestation: attestation,
			InitialTwin: &linkedhub.InitialTwin{Properties: linkedhub.InitialTwinProperties{Desired: json.RawMessage(`{"interval":5}`)}}}}
		if _, err := h.Provisioning.PutEnrollment(h.ctx, enrollment, ""); err != nil {
			h.t.Fatal(err)
		}
	}
	return &pair
}

// provision returns the options of a device that registers with its certificate.
func (h *house) provision(registrationID string, certificate *tls.Certificate) device.ProvisioningOptions {
	return device.ProvisioningOptions{Host: h.MQTTAddress(), IDScope: h.Info().IDScope, RegistrationID: registrationID,
		Certificate: certificate, RootCAs: h.RootCAs}
}

// sasDevice makes a device with a key in the hub and returns its options.
func (h *house) sasDevice(id string) device.HubOptions {
	h.t.Helper()
	created, err := h.Hub.CreateDevice(h.ctx, identity.Device{DeviceID: id})
	if err != nil {
		h.t.Fatal(err)
	}
	return device.HubOptions{Host: h.MQTTAddress(), DeviceID: id, SASKey: *created.Authentication.SymmetricKey.PrimaryKey, RootCAs: h.RootCAs}
}

// connect connects a device that disconnects when the test ends.
func (h *house) connect(options device.HubOptions) *device.Client {
	h.t.Helper()
	client, err := device.Connect(h.ctx, options)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { client.Close() }) // a test may have ended it on purpose
	return client
}

// telemetry returns the first n messages of a device.
func (h *house) telemetry(deviceID string, n int) []telemetry.Message {
	h.t.Helper()
	var messages []telemetry.Message
	err := h.Hub.Telemetry(h.ctx, telemetry.Position{Earliest: true}, deviceID, n, func(message telemetry.Message) error {
		messages = append(messages, message)
		return nil
	})
	if err != nil || len(messages) != n {
		h.t.Fatalf("got %d messages of %s and %v, want %d", len(messages), deviceID, err, n)
	}
	return messages
}
