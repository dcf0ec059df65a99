package device_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"testing"

	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// A device that registers with a request gets a certificate, connects to its hub with it,
// and renews it there.
func TestRenewCertificate(t *testing.T) {
	h := newFixture(t)
	enrollment := enroll.Enrollment{RegistrationID: "pump-1"}
	enrollment.Attestation.Type = "symmetricKey"
	enrollment.CredentialPolicyName = issuance.DefaultPolicy
	enrollment, err := h.Provisioning.PutEnrollment(h.ctx, enrollment, "")
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	request := func(name string) []byte {
		t.Helper()
		csr, err := x509.CreateCertificateRequest(rand.Reader,
			&x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
		if err != nil {
			t.Fatal(err)
		}
		return csr
	}
	options := h.provision("pump-1", nil)
	options.SASKey, options.CSR = enrollment.Attestation.SymmetricKey.PrimaryKey, request("pump-1")
	registration, err := device.Provision(h.ctx, options)
	if err != nil || len(registration.RegistrationState.IssuedCertificateChain) < 2 {
		t.Fatalf("registered as %+v, error %v", registration, err)
	}
	connect := func(chain [][]byte) *device.Client {
		t.Helper()
		return h.connect(device.HubOptions{Host: h.MQTTAddress(), DeviceID: "pump-1", RootCAs: h.RootCAs,
			Certificate: &tls.Certificate{Certificate: chain, PrivateKey: key}})
	}
	client := connect(registration.RegistrationState.IssuedCertificateChain)
	renewed, err := client.RenewCertificate(h.ctx, request("pump-1"))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(renewed[0])
	if err != nil || leaf.Subject.CommonName != "pump-1" || !key.PublicKey.Equal(leaf.PublicKey) {
		t.Errorf("renewed %+v, error %v", leaf, err)
	}
	var refused *fault.Error
	if chain, err := client.RenewCertificate(h.ctx, request("pump-2")); !errors.As(err, &refused) ||
		refused.Code.Status() != 400 {
		t.Errorf("another's certificate: %d of them, error %v", len(chain), err)
	}
	if _, _, err := connect(renewed).Twin(h.ctx); err != nil {
		t.Errorf("with the new certificate: %v", err)
	}
}
