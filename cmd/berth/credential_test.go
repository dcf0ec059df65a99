package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/wire/mqtt"
)

// csrOf makes a certificate signing request.
func csrOf(t *testing.T, key crypto.Signer, name string, change ...func(*x509.CertificateRequest)) []byte {
	t.Helper()
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}
	for _, change := range change {
		change(template)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func ecKey(t *testing.T, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// operational registers a device with a request and returns its hub and the
// certificate it got.
func (f *fleet) operational(id string, key crypto.Signer) (string, tls.Certificate) {
	f.t.Helper()
	options := f.options(id)
	options.CSR = csrOf(f.t, key, id)
	registration, err := device.Provision(within(f.t, time.Minute), options)
	if err != nil {
		f.t.Fatalf("%s: %v", id, err)
	}
	return registration.RegistrationState.AssignedHub, f.chained(id,
		registration.RegistrationState.IssuedCertificateChain, key)
}

// chained checks an issued chain and makes a client's certificate of it.
func (f *fleet) chained(id string, chain [][]byte, key crypto.Signer) tls.Certificate {
	f.t.Helper()
	if len(chain) != 3 {
		f.t.Fatalf("%s got a chain of %d certificates", id, len(chain))
	}
	var certificates [3]*x509.Certificate
	for i, der := range chain {
		var err error
		if certificates[i], err = x509.ParseCertificate(der); err != nil {
			f.t.Fatal(err)
		}
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(certificates[2])
	between.AddCert(certificates[1])
	if _, err := certificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil ||
		certificates[0].Subject.String() != "CN="+id {
		f.t.Fatalf("the certificate of %s is for %s: %v", id, certificates[0].Subject, err)
	}
	return tls.Certificate{Certificate: chain, PrivateKey: key}
}

// connect connects a device to its hub, of whichever process.
func (f *fleet) connect(id, host string, certificate *tls.Certificate) (*device.Client, error) {
	p := f.first
	if host == secondHost {
		p = f.second
	}
	ctx, cancel := context.WithTimeout(f.t.Context(), 20*time.Second)
	defer cancel()
	client, err := device.Connect(ctx,
		device.HubOptions{Host: p.mqttHost(host), DeviceID: id, Certificate: certificate, RootCAs: p.roots})
	if err == nil {
		f.t.Cleanup(func() { client.Close() })
	}
	return client, err
}

func refusedByHub(err error) bool {
	var refused *mqtt.RefusedError
	return errors.As(err, &refused) && refused.Code == mqtt.NotAuthorized
}

// TestOperationalCertificates: a device registers with a request, connects with what
// it got to a hub of this process and to one elsewhere, renews it both ways, and
// loses it to a revocation within five seconds while others stay connected.
func TestOperationalCertificates(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	ctx := within(t, 2*time.Minute)
	f.run("group", "update", "meters", "--credential-policy", "default")
	f.run("hub", "link", secondHost, "--weight", "0")

	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	live := map[string]*device.Client{}
	certificates := map[string]tls.Certificate{}
	for id, key := range map[string]crypto.Signer{"ec-256": ecKey(t, elliptic.P256()),
		"ec-384": ecKey(t, elliptic.P384()), "rsa-2048": rsaKey} {
		host, certificate := f.operational(id, key)
		client, err := f.connect(id, host, &certificate)
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		if err := client.Send(ctx, device.Message{Payload: []byte("hello")}); err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		if stored, err := f.hubs[host].Device(ctx, id); err != nil ||
			stored.Authentication.Type != identity.CertificateAuthority || stored.Issuance == nil {
			t.Errorf("%s is in its hub as %+v, error %v", id, stored, err)
		}
		live[id], certificates[id] = client, certificate
	}

	// Renewed at the hub: both certificates are good.
	renewedKey := ecKey(t, elliptic.P256())
	chain, err := live["ec-256"].RenewCertificate(ctx, csrOf(t, renewedKey, "ec-256"))
	if err != nil {
		t.Fatal(err)
	}
	renewed := f.chained("ec-256", chain, renewedKey)
	host := f.register("ec-256").AssignedHub // without a request: it keeps its certificates
	live["ec-256"].Close()
	for _, certificate := range []tls.Certificate{certificates["ec-256"], renewed} {
		if live["ec-256"], err = f.connect("ec-256", host, &certificate); err != nil {
			t.Fatal(err)
		}
	}
	issued, err := f.first.provisioning.IssuedTo(ctx, "ec-256")
	if err != nil || len(issued) != 2 || issued[0].KeyType != "ec-p256" ||
		!issued[0].NotAfter.After(time.Now().Add(29*24*time.Hour)) {
		t.Fatalf("the device's certificates are %+v, error %v", issued, err)
	}

	// Another device's certificate, and one of nobody, are refused.
	for name, certificate := range map[string]tls.Certificate{"another's": certificates["ec-384"],
		"nobody's": selfSigned(t, "ec-256")} {
		if _, err := f.connect("ec-256", host, &certificate); !refusedByHub(err) {
			t.Errorf("%s certificate is answered %v", name, err)
		}
	}

	// One certificate is revoked: its connection ends, the others live, and the
	// other certificate of the same device is still good.
	f.run("credential", "revoke", issued[0].Thumbprint)
	select {
	case <-live["ec-256"].Ended():
	case <-time.After(5 * time.Second):
		t.Error("a revoked certificate's connection lives on")
	}
	if _, err := f.connect("ec-256", host, &renewed); !refusedByHub(err) {
		t.Errorf("a revoked certificate is answered %v", err)
	}
	older := certificates["ec-256"]
	if live["ec-256"], err = f.connect("ec-256", host, &older); err != nil {
		t.Errorf("the device's other certificate: %v", err)
	}

	// An authority is revoked: all of its connections end, those of another stay.
	f.run("credential", "authority", "create", "second")
	f.run("credential", "policy", "set", "other", "--authority", "second", "--validity", "24h")
	f.run("group", "update", "meters", "--credential-policy", "other")
	otherHost, other := f.operational("of-another", ecKey(t, elliptic.P256()))
	if live["of-another"], err = f.connect("of-another", otherHost, &other); err != nil {
		t.Fatal(err)
	}
	f.run("credential", "authority", "revoke", "default")
	deadline := time.After(5 * time.Second)
	for _, id := range []string{"ec-256", "ec-384", "rsa-2048"} {
		select {
		case <-live[id].Ended():
		case <-deadline:
			t.Errorf("%s lives on after its authority was revoked", id)
		}
	}
	if err := live["of-another"].Send(ctx, device.Message{Payload: []byte("still here")}); err != nil {
		t.Errorf("a device of another authority: %v", err)
	}
	// With a new request it is back.
	host, back := f.operational("ec-384", ecKey(t, elliptic.P384()))
	if _, err := f.connect("ec-384", host, &back); err != nil {
		t.Errorf("a device that registered anew: %v", err)
	}
	f.crash(true)
	if _, err := f.connect("ec-384", host, &back); err != nil {
		t.Errorf("after a crash: %v", err)
	}
	if _, err := f.connect("rsa-2048", f.hosts[0], ptr(certificates["rsa-2048"])); !refusedByHub(err) {
		t.Errorf("after a crash a revoked authority's certificate is answered %v", err)
	}

	// A hub of another process knows the certificate by its thumbprint.
	f.run("hub", "link", secondHost, "--weight", "1")
	f.run("hub", "link", "berth", "--weight", "0")
	f.run("hub", "link", "east", "--weight", "0")
	host, distant := f.operational("distant", ecKey(t, elliptic.P256()))
	if host != secondHost {
		t.Fatalf("it went to %s", host)
	}
	client, err := f.connect("distant", host, &distant)
	if err != nil {
		t.Fatal(err)
	}
	neighbour, err := f.connect("neighbour", host, ptr(second(f.operational("neighbour", ecKey(t, elliptic.P256())))))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.RenewCertificate(ctx, csrOf(t, ecKey(t, elliptic.P256()), "distant")); !errors.Is(err,
		fault.ArgumentInvalid) {
		t.Errorf("renewing at a hub that has no policies is answered %v", err)
	}
	if issued, err = f.first.provisioning.IssuedTo(ctx, "distant"); err != nil || len(issued) != 1 {
		t.Fatalf("its certificates are %+v, error %v", issued, err)
	}
	f.run("credential", "revoke", issued[0].Thumbprint)
	select {
	case <-client.Ended():
	case <-time.After(5 * time.Second):
		t.Error("a revoked certificate's connection to a hub elsewhere lives on")
	}
	if _, err := f.connect("distant", host, &distant); !refusedByHub(err) {
		t.Errorf("a revoked certificate is answered %v elsewhere", err)
	}
	// The hub does not learn of it again when the device registers without a request.
	if host := f.register("distant").AssignedHub; host != secondHost {
		t.Fatalf("it went to %s", host)
	}
	if _, err := f.connect("distant", host, &distant); !refusedByHub(err) {
		t.Errorf("a revoked certificate is answered %v elsewhere, after the device registered again", err)
	}
	if err := neighbour.Send(ctx, device.Message{Payload: []byte("still here")}); err != nil {
		t.Errorf("its neighbour: %v", err)
	}
}

func ptr[T any](value T) *T           { return &value }
func second[A, B any](_ A, value B) B { return value }
func selfSigned(t *testing.T, id string) tls.Certificate {
	t.Helper()
	certificate, _, err := newDevice(id)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// TestRequestsThatAreRefused: what is wrong with a certificate signing request is
// said, when a device registers with it and when it renews.
func TestRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	ctx := within(t, time.Minute)
	if _, err := f.first.provisioning.PutCredentialPolicy(ctx,
		issuance.Policy{Name: "strict", KeyTypes: []string{"ec-p256", "rsa-2048"},
			DNSNames: []string{"{registrationId}.devices.example"}}, ""); err != nil {
		t.Fatal(err)
	}
	f.run("group", "update", "meters", "--credential-policy", "strict")
	f.run("hub", "link", secondHost, "--weight", "0")
	good := ecKey(t, elliptic.P256())
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	forged := csrOf(t, good, "d1")
	forged[len(forged)-1] ^= 1
	for _, c := range []struct {
		name, says string
		csr        []byte
	}{
		{"another name", "common name", csrOf(t, good, "d2")},
		{"no name", "common name", csrOf(t, good, "")},
		{"bad signature", "not signed with its own key", forged},
		{"weak key", "rsa-1024", csrOf(t, weak, "d1")},
		{"key of another kind", "ec-p384", csrOf(t, ecKey(t, elliptic.P384()), "d1")},
		{"more of a subject", "common name alone",
			csrOf(t, good, "d1", func(r *x509.CertificateRequest) { r.Subject.Organization = []string{"Contoso"} })},
		{"a DNS name of another", "d2.devices.example",
			csrOf(t, good, "d1", func(r *x509.CertificateRequest) { r.DNSNames = []string{"d2.devices.example"} })},
		{"an address", "IP address",
			csrOf(t, good, "d1", func(r *x509.CertificateRequest) { r.IPAddresses = []net.IP{{10, 0, 0, 1}} })},
		{"no PKCS #10", "PKCS #10", []byte("hello")},
		{"too large", "limit", bytes.Repeat([]byte{0x30}, 7<<10)},
	} {
		t.Run(c.name, func(t *testing.T) {
			options := f.options("d1")
			options.CSR = c.csr
			_, err := device.Provision(ctx, options)
			if !errors.Is(err, fault.ArgumentInvalid) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("answered %v, want a fault 400004 that says %q", err, c.says)
			}
		})
	}
	f.run("group", "update", "meters", "--credential-policy", "")
	options := f.options("d1")
	options.CSR = csrOf(t, good, "d1")
	if _, err := device.Provision(ctx, options); !errors.Is(err, fault.ArgumentInvalid) ||
		!strings.Contains(err.Error(), "credential policy") {
		t.Errorf("a request without a policy is answered %v", err)
	}
	f.run("group", "update", "meters", "--credential-policy", "strict")
	options.CSR = csrOf(t, good, "d1", func(r *x509.CertificateRequest) { r.DNSNames = []string{"d1.devices.example"} })
	registration, err := device.Provision(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	chain := registration.RegistrationState.IssuedCertificateChain
	if leaf, err := x509.ParseCertificate(chain[0]); err != nil || len(leaf.DNSNames) != 1 ||
		leaf.DNSNames[0] != "d1.devices.example" {
		t.Errorf("the names are %+v, error %v", leaf, err)
	}
	client, err := f.connect("d1", registration.RegistrationState.AssignedHub, ptr(f.chained("d1", chain, good)))
	if err != nil {
		t.Fatal(err)
	}
	for name, csr := range map[string][]byte{"common name": csrOf(t, good, "d2"), "not signed": forged,
		"PKCS #10": []byte("hello")} {
		if _, err := client.RenewCertificate(ctx, csr); !errors.Is(err, fault.CredentialRequestInvalid) ||
			!strings.Contains(err.Error(), name) {
			t.Errorf("renewing is answered %v, want a fault 400040 that says %q", err, name)
		}
	}
	if _, err := client.RenewCertificate(ctx, nil); !errors.Is(err, fault.ArgumentInvalid) {
		t.Errorf("renewing without a request is answered %v", err)
	}
	if _, err := client.RenewCertificate(ctx, csrOf(t, good, "d1")); err != nil {
		t.Errorf("afterwards a good request is answered %v", err)
	}
}

// TestParents: an enrollment names the IoT Edge device that its device is a child
// of, and that stays so when the device moves to another hub.
func TestParents(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	ctx := within(t, time.Minute)
	create := func(id string, edge bool, parent string) {
		t.Helper()
		enrollment := enroll.Enrollment{RegistrationID: id,
			Settings: enroll.Settings{ParentDeviceID: parent, Capabilities: &enroll.Capabilities{IoTEdge: edge},
				Attestation: enroll.AttestationMechanism{Type: "symmetricKey",
					SymmetricKey: &enroll.SymmetricKeyAttestation{
						PrimaryKey:   attest.DeriveKey(f.groupKeys.PrimaryKey, id),
						SecondaryKey: attest.DeriveKey(f.groupKeys.SecondaryKey, id)}}}}
		if _, err := f.first.provisioning.PutEnrollment(ctx, enrollment, ""); err != nil {
			t.Fatal(err)
		}
	}
	create("gateway", true, "")
	create("inner", true, "gateway")
	create("leaf", false, "inner")
	create("orphan", false, "nobody")
	create("misled", false, "leaf")
	for round, host := range []string{"127.0.0.1", secondHost, "127.0.0.2"} {
		weights := []int{0, 0, 0}
		for i, other := range f.hosts {
			if other == host {
				weights[i] = 1
			}
		}
		f.weigh(ctx, weights...)
		scopes := map[string]identity.Device{}
		for _, id := range []string{"gateway", "inner", "leaf"} {
			if state := f.register(id); state.AssignedHub != host {
				t.Fatalf("%s went to %s", id, state.AssignedHub)
			}
			stored, err := f.hubs[host].Device(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			scopes[id] = stored
		}
		gateway, inner, leaf := scopes["gateway"], scopes["inner"], scopes["leaf"]
		if !strings.HasPrefix(gateway.DeviceScope, "ms-azure-iot-edge://gateway-") || len(gateway.ParentScopes) != 0 ||
			!strings.HasPrefix(inner.DeviceScope, "ms-azure-iot-edge://inner-") || len(inner.ParentScopes) != 1 ||
			inner.ParentScopes[0] != gateway.DeviceScope ||
			leaf.DeviceScope != inner.DeviceScope || len(leaf.ParentScopes) != 1 ||
			leaf.ParentScopes[0] != inner.DeviceScope {
			text, _ := json.MarshalIndent(scopes, "", " ")
			t.Errorf("round %d: in %s they are %s", round, host, text)
		}
		for id, says := range map[string]string{"orphan": "not in this hub", "misled": "not an IoT Edge device"} {
			_, err := device.Provision(ctx, f.options(id))
			if !errors.Is(err, fault.ArgumentInvalid) || !strings.Contains(err.Error(), says) {
				t.Errorf("%s is answered %v, want a fault that says %q", id, err, says)
			}
		}
	}
}
