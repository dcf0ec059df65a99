package provisioning

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/provisioning/attempts"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// issued is a certificate with its key, to sign others with.
type issued struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         string
}

// certify makes a certificate for a name that parent signs; nil signs itself.
func certify(t *testing.T, name string, parent *issued, authority bool) *issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(365 * 24 * time.Hour), BasicConstraintsValid: true,
		IsCA: authority}
	if authority {
		template.KeyUsage = x509.KeyUsageCertSign
	}
	signer := &issued{template, key, ""}
	if parent != nil {
		signer = parent
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer.certificate, key.Public(), signer.key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &issued{certificate, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

// evidenceOf is what a device with these certificates shows, its own first.
func evidenceOf(chain ...*issued) credential.Evidence {
	evidence := credential.Evidence{Protocol: "mqtt", RemoteAddr: "127.0.0.1:1"}
	for _, one := range chain {
		evidence.Certificates = append(evidence.Certificates, one.certificate)
	}
	return evidence
}

// registerChain has a device with these certificates register and returns its state,
// or the check that failed.
func (h *fixture) registerChain(id string, chain ...*issued) (DeviceRegistration, attest.Check, error) {
	h.t.Helper()
	operation, err := h.OpenSession(scope, id, evidenceOf(chain...)).Register(context.Background(), nil)
	if err != nil {
		attempts, listing := h.Attempts().Find(context.Background(), attempts.Filter{Max: 1})
		if listing != nil || len(attempts) == 0 {
			h.t.Fatalf("attempts: %v", listing)
		}
		failed, _ := attempts[0].Checks.Failed()
		return DeviceRegistration{}, failed, err
	}
	return *operation.RegistrationState, attest.Check{}, nil
}

func signedGroup(id string, primary, secondary *enroll.X509Certificate) enroll.Group {
	return enroll.Group{EnrollmentGroupID: id,
		Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: enroll.X509,
			X509: &enroll.X509Attestation{
				SigningCertificates: &enroll.X509Certificates{Primary: primary, Secondary: secondary}}}}}
}

func authorityGroup(id, authority string) enroll.Group {
	return enroll.Group{EnrollmentGroupID: id,
		Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "x509",
			X509: &enroll.X509Attestation{CAReferences: &enroll.X509CAReferences{Primary: authority}}}}}
}

func TestProofOfPossession(t *testing.T) {
	h, ctx := newFixture(t, "hub.local"), context.Background()
	root := certify(t, "Root", nil, true)
	uploaded, err := h.Authorities().Put(ctx, "root", []byte(root.pem), false, "")
	if err != nil || uploaded.IsVerified || uploaded.Info.SubjectName != "CN=Root" {
		t.Fatalf("uploaded: %+v, %v", uploaded, err)
	}
	if _, err := h.Groups().Put(ctx, authorityGroup("g", "root"), ""); err == nil || !strings.Contains(err.Error(),
		"not verified") {
		t.Errorf("a group of an authority that is not verified: %v", err)
	}
	if _, err := h.Authorities().Verify(ctx, "root", []byte(root.pem),
		""); err == nil || !strings.Contains(err.Error(), "no verification code") {
		t.Errorf("verified without a code: %v", err)
	}
	asked, err := h.Authorities().NewVerificationCode(ctx, "root", uploaded.ETag)
	if err != nil || len(asked.VerificationCode) != 48 {
		t.Fatalf("the code: %+v, %v", asked, err)
	}
	stranger := certify(t, "Root", nil, true)
	for name, test := range map[string]struct{ certificate, says string }{
		"another name":      {certify(t, "code", root, false).pem, "not the verification code"},
		"another authority": {certify(t, asked.VerificationCode, stranger, false).pem, "not signed with the key"},
		"none":              {"hello", "refused"},
	} {
		if _, err := h.Authorities().Verify(ctx, "root", []byte(test.certificate),
			""); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want one that says %q", name, err, test.says)
		}
	}
	verified, err := h.Authorities().Verify(ctx, "root", []byte(certify(t, asked.VerificationCode, root, false).pem),
		asked.ETag)
	if err != nil || !verified.IsVerified || verified.VerificationCode != "" {
		t.Fatalf("verified: %+v, %v", verified, err)
	}
	if _, err := h.Groups().Put(ctx, authorityGroup("g", "root"), ""); err != nil {
		t.Fatal(err)
	}

	// A device comes in by way of an intermediate that it sends.
	between := certify(t, "Between", root, true)
	device := certify(t, "device-1", between, false)
	state, _, err := h.registerChain("device-1", device, between)
	if err != nil || state.Status != StatusAssigned || state.X509.EnrollmentGroupID != "g" ||
		state.X509.SigningCertificateInfo.SubjectName != "CN=Root" {
		t.Fatalf("by way of an intermediate: %+v, %v", state, err)
	}
	// One that it does not send must be known.
	if _, failed, err := h.registerChain("device-1",
		device); err == nil || failed.Name != "enrollment" || !strings.Contains(failed.Saw, "CN=Between") {
		t.Errorf("with an unknown intermediate: %+v, %v", failed, err)
	}
	if _, err := h.Authorities().Put(ctx, "between", []byte(between.pem), false, ""); err != nil {
		t.Fatal(err)
	}
	if _, failed, err := h.registerChain("device-1", device); err != nil {
		t.Errorf("with a registered intermediate: %+v, %v", failed, err)
	}

	// The key of an authority that was made anew is not the one that was proven.
	if replaced, err := h.Authorities().Put(ctx, "root", []byte(stranger.pem), false,
		""); err != nil || replaced.IsVerified {
		t.Fatalf("replaced: %+v, %v", replaced, err)
	}
	if _, failed, err := h.registerChain("device-1", device, between); err == nil ||
		failed.Name != "certificate authority" {
		t.Errorf("under an authority that was replaced: %+v, %v", failed, err)
	}
	if err := h.Authorities().Delete(ctx, "root", "", true); err != nil {
		t.Fatal(err)
	}
	if _, failed, err := h.registerChain("device-1", device, between); err == nil ||
		failed.Name != "certificate authority" || !strings.Contains(failed.Saw, "deleted") {
		t.Errorf("under an authority that was deleted: %+v, %v", failed, err)
	}
}
