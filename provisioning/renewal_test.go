package provisioning

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"testing"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/store"
)

// issues has the service issue operational certificates.
func (h *fixture) issues() *issuance.Service {
	h.t.Helper()
	issuer, err := issuance.Open(h.t.Context(),
		issuance.Config{Documents: h.config.Documents, Now: h.clock.Now})
	if err != nil {
		h.t.Fatal(err)
	}
	h.config.Issuer = issuer
	issuer.Follow(renewals{h.Service})
	return issuer
}

// registerForCertificate registers a device with a request, by its key.
func (h *fixture) registerForCertificate(id, key string) error {
	h.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		h.t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: id}},
		private)
	if err != nil {
		h.t.Fatal(err)
	}
	token, err := credential.NewToken(scope+"/registrations/"+id, "registration", key, h.clock.Now().Add(time.Hour))
	if err != nil {
		h.t.Fatal(err)
	}
	operation, err := h.OpenSession(scope, id, credential.Evidence{Token: token, Protocol: "mqtt"}).
		Register(h.t.Context(), []byte(`{"csr":"`+base64.StdEncoding.EncodeToString(der)+`"}`))
	if err == nil && (operation.RegistrationState == nil ||
		len(operation.RegistrationState.IssuedCertificateChain) != 3) {
		h.t.Fatalf("registering is answered %+v", operation)
	}
	return err
}

// Whether a device gets another certificate at its hub is asked as if it registered: of
// its enrollment as it is now, which decides alone if there is one of its own.
func TestMayRenew(t *testing.T) {
	attested := keys()
	h := newFixture(t, "hub.local")
	issuer, ctx := h.issues(), t.Context()
	if _, err := issuer.PutPolicy(ctx, issuance.Policy{Name: "other"}, ""); err != nil {
		t.Fatal(err)
	}
	group, err := h.Groups().Put(ctx,
		enroll.Group{EnrollmentGroupID: "meters", Settings: enroll.Settings{Attestation: attested,
			CredentialPolicyName: issuance.DefaultPolicy}}, "")
	if err != nil {
		t.Fatal(err)
	}
	own := enroll.Enrollment{RegistrationID: "alone",
		Settings: enroll.Settings{Attestation: attested, CredentialPolicyName: issuance.DefaultPolicy}}
	h.enroll(own)
	for id, key := range map[string]string{"member": attest.DeriveKey(attested.SymmetricKey.PrimaryKey, "member"),
		"alone": attested.SymmetricKey.PrimaryKey} {
		if err := h.registerForCertificate(id, key); err != nil {
			t.Fatal(err)
		}
	}
	may := func(id string, code fault.Code) {
		t.Helper()
		checks, err := issuer.MayRenew(ctx, id, issuance.DefaultPolicy)
		switch {
		case code == 0 && err != nil, code != 0 && !errors.Is(err, code):
			t.Errorf("%s is answered %v, want %d", id, err, int(code))
		case code == 0:
			if _, err := h.config.Documents.Commit(ctx, checks...); err != nil || len(checks) == 0 {
				t.Errorf("the %d checks of %s do not hold: %v", len(checks), id, err)
			}
		}
	}
	changeGroup := func(change func(*enroll.Group)) {
		t.Helper()
		changed := group
		change(&changed)
		if _, err := h.Groups().Put(ctx, changed, "*"); err != nil {
			t.Fatal(err)
		}
	}
	may("member", 0)
	may("alone", 0)
	may("stranger", fault.RegistrationNotFound)

	// The checks are those of the state that was looked at.
	checks, err := issuer.MayRenew(ctx, "member", issuance.DefaultPolicy)
	if err != nil {
		t.Fatal(err)
	}
	changeGroup(func(g *enroll.Group) { g.ProvisioningStatus = enroll.Disabled })
	if _, err := h.config.Documents.Commit(ctx, checks...); !isConflict(err) {
		t.Errorf("after the group was disabled the checks end with %v", err)
	}
	may("member", fault.UnauthorizedAccess)
	changeGroup(func(g *enroll.Group) { g.CredentialPolicyName = "" })
	may("member", fault.ArgumentInvalid)
	changeGroup(func(g *enroll.Group) { g.CredentialPolicyName = "other" })
	may("member", fault.ArgumentInvalid)
	changeGroup(func(*enroll.Group) {})
	may("member", 0)

	// An individual enrollment takes the group's place, also to keep the device out.
	h.enroll(enroll.Enrollment{RegistrationID: "member",
		Settings: enroll.Settings{Attestation: attested, ProvisioningStatus: enroll.Disabled,
			CredentialPolicyName: issuance.DefaultPolicy}})
	may("member", fault.UnauthorizedAccess)
	if err := h.Enrollments().Delete(ctx, "member", ""); err != nil {
		t.Fatal(err)
	}
	may("member", 0)
	if err := h.Groups().Delete(ctx, "meters", ""); err != nil {
		t.Fatal(err)
	}
	may("member", fault.UnauthorizedAccess)

	own.ProvisioningStatus = enroll.Disabled
	h.enroll(own)
	may("alone", fault.UnauthorizedAccess)
	if err := h.Enrollments().Delete(ctx, "alone", ""); err != nil {
		t.Fatal(err)
	}
	may("alone", fault.UnauthorizedAccess)
}

func isConflict(err error) bool {
	_, conflict := store.IsConflict(err)
	return conflict
}

// A certificate at the hub is counted as a registration.
func TestRenewalsAreThrottled(t *testing.T) {
	attested := keys()
	h := newFixture(t, "hub.local").limited(Limits{DevicePerMinute: 3})
	issuer := h.issues()
	h.enroll(enroll.Enrollment{RegistrationID: "d1",
		Settings: enroll.Settings{Attestation: attested, CredentialPolicyName: issuance.DefaultPolicy}})
	if err := h.registerForCertificate("d1", attested.SymmetricKey.PrimaryKey); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := issuer.ThrottleRenewal("D1"); err != nil {
			t.Fatal(err)
		}
	}
	if err := issuer.ThrottleRenewal("d1"); !comeBack(err, 20*time.Second) {
		t.Errorf("one too many is answered %v", err)
	}
	if err := h.registerForCertificate("d1", attested.SymmetricKey.PrimaryKey); !comeBack(err, 20*time.Second) {
		t.Errorf("then registering is answered %v", err)
	}
	if err := issuer.ThrottleRenewal("d2"); err != nil {
		t.Errorf("another device is answered %v", err)
	}
}

// Whoever names a policy is found, among many who don't.
func TestPolicyUser(t *testing.T) {
	attested := keys()
	h := newFixture(t, "hub.local")
	issuer, ctx := h.issues(), t.Context()
	var changes []store.Change
	for range 1005 {
		id := "d-" + fault.NewTrackingID()
		changes = append(changes,
			h.enrollments.Restore(enroll.Enrollment{RegistrationID: id, Settings: enroll.Settings{Attestation: attested,
				ProvisioningStatus: enroll.Enabled, ReprovisionPolicy: &enroll.ReprovisionPolicy{}}}))
	}
	if _, err := h.config.Documents.Commit(ctx, changes...); err != nil {
		t.Fatal(err)
	}
	is := func(want issuance.PolicyUser) {
		t.Helper()
		if user, err := (renewals{h.Service}).PolicyUser(ctx, issuance.DefaultPolicy); err != nil || user != want {
			t.Errorf("it is %+v, want %+v, error %v", user, want, err)
		}
	}
	is(issuance.PolicyUser{})
	h.enroll(enroll.Enrollment{RegistrationID: "zoe",
		Settings: enroll.Settings{Attestation: attested, CredentialPolicyName: "DEFAULT"}})
	is(issuance.PolicyUser{ID: "zoe"})
	if err := issuer.DeletePolicy(ctx, issuance.DefaultPolicy, "", false); !errors.Is(err, fault.Conflict) {
		t.Errorf("deleting it is answered %v", err)
	}
	if _, err := h.Groups().Put(ctx,
		enroll.Group{EnrollmentGroupID: "meters", Settings: enroll.Settings{Attestation: attested,
			CredentialPolicyName: issuance.DefaultPolicy}}, ""); err != nil {
		t.Fatal(err)
	}
	is(issuance.PolicyUser{ID: "meters", Group: true})
}
