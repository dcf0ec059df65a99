package provisioning

import (
	"context"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/enroll"
)

func newSigner(t *testing.T, name string) string {
	t.Helper()
	authority, err := credential.NewAuthority(name, noon.Add(-time.Hour), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Certificate.Raw}))
}

func signedGroup(id string, primary, secondary *enroll.X509Certificate) enroll.Group {
	return enroll.Group{EnrollmentGroupID: id, Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: enroll.X509, X509: &enroll.X509Attestation{
		SigningCertificates: &enroll.X509Certificates{Primary: primary, Secondary: secondary}}}}}
}

// A group trusts the certificates that it shows, and no others: it needs them whole,
// as a thumbprint says nothing of a key.
func TestGroupTrustsWhatItShows(t *testing.T) {
	h, ctx := newFixture(t, "hub.local"), context.Background()
	one, two := newSigner(t, "one"), newSigner(t, "two")
	stored, err := h.Groups().Put(ctx, signedGroup("g", &enroll.X509Certificate{Certificate: one}, &enroll.X509Certificate{Certificate: two}), "")
	if err != nil {
		t.Fatal(err)
	}
	trusted := func(want int) enroll.StoredGroup {
		t.Helper()
		group, err := h.groups.Load(ctx, "g")
		if err != nil {
			t.Fatal(err)
		}
		signers, err := h.signers().List(ctx, "", "", 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(signers) != want {
			t.Errorf("devices of %d certificates come in, want %d", len(signers), want)
		}
		return group
	}
	primary, secondary := stored.Attestation.X509.SigningCertificates.Primary.Info, stored.Attestation.X509.SigningCertificates.Secondary.Info
	trusted(2)

	for name, group := range map[string]enroll.Group{
		"another's thumbprint": signedGroup("g", &enroll.X509Certificate{Info: secondary}, nil),
		"a new group":          signedGroup("new", &enroll.X509Certificate{Info: primary}, nil),
		"of a secondary":       signedGroup("g", &enroll.X509Certificate{Info: primary}, &enroll.X509Certificate{Info: primary}),
	} {
		if _, err := h.Groups().Put(ctx, group, ""); !errors.Is(err, fault.ArgumentInvalid) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
	trusted(2)

	// What was read is written back as it is, and an empty one is none.
	if _, err := h.Groups().Put(ctx, signedGroup("g", &enroll.X509Certificate{Info: primary}, &enroll.X509Certificate{Info: secondary}), ""); err != nil {
		t.Error(err)
	}
	trusted(2)
	if _, err := h.Groups().Put(ctx, signedGroup("g", &enroll.X509Certificate{Info: primary}, &enroll.X509Certificate{}), ""); err != nil {
		t.Error(err)
	}
	trusted(1)
	if _, err := h.Groups().Put(ctx, signedGroup("g", &enroll.X509Certificate{Info: primary}, &enroll.X509Certificate{Certificate: two}), ""); err != nil {
		t.Error(err)
	}
	trusted(2)

	// The whole certificates are shown to who may see keys, to make the same elsewhere.
	mechanism, err := h.Groups().AttestationMechanism(ctx, "g")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Groups().Put(ctx, enroll.Group{EnrollmentGroupID: "copy", Settings: enroll.Settings{Attestation: mechanism}}, ""); err != nil {
		t.Error(err)
	}
	if shown, err := h.Groups().Get(ctx, "g"); err != nil || shown.Attestation.X509.SigningCertificates.Primary.Certificate != "" {
		t.Errorf("the group shows %+v, error %v", shown.Attestation.X509.SigningCertificates.Primary, err)
	}
}

// A group says in one way who signs its devices. What was read of another way, or is
// empty, says nothing.
func TestGroupsSignedInOneWay(t *testing.T) {
	h, ctx := newFixture(t, "hub.local"), context.Background()
	one := newSigner(t, "one")
	whole, read := &enroll.X509Certificate{Certificate: one}, &enroll.X509Certificate{Info: &credential.X509CertificateInfo{}}
	for name, c := range map[string]struct {
		x    enroll.X509Attestation
		says string
	}{
		"client certificates too": {enroll.X509Attestation{SigningCertificates: &enroll.X509Certificates{Primary: whole},
			ClientCertificates: &enroll.X509Certificates{Primary: whole}}, "of individual enrollments"},
		"client certificates": {enroll.X509Attestation{ClientCertificates: &enroll.X509Certificates{Primary: whole}},
			"of individual enrollments"},
		"an authority too": {enroll.X509Attestation{SigningCertificates: &enroll.X509Certificates{Primary: whole},
			CAReferences: &enroll.X509CAReferences{Primary: "factory"}}, "both signingCertificates and caReferences"},
		"a second authority": {enroll.X509Attestation{SigningCertificates: &enroll.X509Certificates{Primary: whole},
			CAReferences: &enroll.X509CAReferences{Secondary: "factory"}}, "both signingCertificates and caReferences"},
		"an authority, and what was read": {enroll.X509Attestation{SigningCertificates: &enroll.X509Certificates{Primary: read},
			CAReferences: &enroll.X509CAReferences{Primary: "factory"}}, `no certificate authority "factory"`},
		"what is empty": {enroll.X509Attestation{SigningCertificates: &enroll.X509Certificates{Primary: whole},
			ClientCertificates: &enroll.X509Certificates{Primary: &enroll.X509Certificate{}}, CAReferences: &enroll.X509CAReferences{}}, ""},
	} {
		group := enroll.Group{EnrollmentGroupID: "g",
			Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: enroll.X509, X509: &c.x}}}
		_, err := h.Groups().Put(ctx, group, "")
		if c.says == "" && err != nil || c.says != "" && (!errors.Is(err, fault.ArgumentInvalid) ||
			!strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}
