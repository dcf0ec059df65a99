package enroll

import (
	"context"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
)

func newSigner(t *testing.T, name string) string {
	t.Helper()
	authority, err := credential.NewAuthority(name, noon.Add(-time.Hour), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Certificate.Raw}))
}

// A group trusts the certificates that it shows, and no others: it needs them whole,
// as a thumbprint says nothing of a key.
func TestGroupTrustsWhatItShows(t *testing.T) {
	h, ctx := newFixture(t, "hub.local"), context.Background()
	one, two := newSigner(t, "one"), newSigner(t, "two")
	stored, err := h.groups.Put(ctx, signedGroup("g", &X509Certificate{Certificate: one},
		&X509Certificate{Certificate: two}), "")
	if err != nil {
		t.Fatal(err)
	}
	trusted := func(want int) StoredGroup {
		t.Helper()
		group, err := h.groups.Load(ctx, "g")
		if err != nil {
			t.Fatal(err)
		}
		signers, err := h.groups.signers.List(ctx, "", "", 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(signers) != want {
			t.Errorf("devices of %d certificates come in, want %d", len(signers), want)
		}
		return group
	}
	primary, secondary := stored.Attestation.X509.SigningCertificates.Primary.Info,
		stored.Attestation.X509.SigningCertificates.Secondary.Info
	trusted(2)

	for name, group := range map[string]Group{
		"another's thumbprint": signedGroup("g", &X509Certificate{Info: secondary}, nil),
		"a new group":          signedGroup("new", &X509Certificate{Info: primary}, nil),
		"of a secondary":       signedGroup("g", &X509Certificate{Info: primary}, &X509Certificate{Info: primary}),
	} {
		if _, err := h.groups.Put(ctx, group, ""); !errors.Is(err, fault.ArgumentInvalid) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
	trusted(2)

	// What was read is written back as it is, and an empty one is none.
	if _, err := h.groups.Put(ctx, signedGroup("g", &X509Certificate{Info: primary},
		&X509Certificate{Info: secondary}), ""); err != nil {
		t.Error(err)
	}
	trusted(2)
	if _, err := h.groups.Put(ctx, signedGroup("g", &X509Certificate{Info: primary}, &X509Certificate{}),
		""); err != nil {
		t.Error(err)
	}
	trusted(1)
	if _, err := h.groups.Put(ctx, signedGroup("g", &X509Certificate{Info: primary},
		&X509Certificate{Certificate: two}), ""); err != nil {
		t.Error(err)
	}
	trusted(2)

	// The whole certificates are shown to who may see keys, to make the same elsewhere.
	mechanism, err := h.groups.AttestationMechanism(ctx, "g")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.groups.Put(ctx, Group{EnrollmentGroupID: "copy", Settings: Settings{Attestation: mechanism}},
		""); err != nil {
		t.Error(err)
	}
	if shown, err := h.groups.Get(ctx,
		"g"); err != nil || shown.Attestation.X509.SigningCertificates.Primary.Certificate != "" {
		t.Errorf("the group shows %+v, error %v", shown.Attestation.X509.SigningCertificates.Primary, err)
	}
}

// A group says in one way who signs its devices. What was read of another way, or is
// empty, says nothing.
func TestGroupsSignedInOneWay(t *testing.T) {
	h, ctx := newFixture(t, "hub.local"), context.Background()
	one := newSigner(t, "one")
	whole, read := &X509Certificate{Certificate: one}, &X509Certificate{Info: &credential.X509CertificateInfo{}}
	for name, c := range map[string]struct {
		x    X509Attestation
		says string
	}{
		"client certificates too": {X509Attestation{SigningCertificates: &X509Certificates{Primary: whole},
			ClientCertificates: &X509Certificates{Primary: whole}}, "of individual enrollments"},
		"client certificates": {X509Attestation{ClientCertificates: &X509Certificates{Primary: whole}},
			"of individual enrollments"},
		"an authority too": {X509Attestation{SigningCertificates: &X509Certificates{Primary: whole},
			CAReferences: &X509CAReferences{Primary: "factory"}}, "both signingCertificates and caReferences"},
		"a second authority": {X509Attestation{SigningCertificates: &X509Certificates{Primary: whole},
			CAReferences: &X509CAReferences{Secondary: "factory"}}, "both signingCertificates and caReferences"},
		"an authority, and what was read": {X509Attestation{SigningCertificates: &X509Certificates{Primary: read},
			CAReferences: &X509CAReferences{Primary: "factory"}}, `no certificate authority "factory"`},
		"what is empty": {X509Attestation{SigningCertificates: &X509Certificates{Primary: whole},
			ClientCertificates: &X509Certificates{Primary: &X509Certificate{}}, CAReferences: &X509CAReferences{}}, ""},
	} {
		group := Group{EnrollmentGroupID: "g",
			Settings: Settings{Attestation: AttestationMechanism{Type: X509, X509: &c.x}}}
		_, err := h.groups.Put(ctx, group, "")
		if c.says == "" && err != nil || c.says != "" && (!errors.Is(err, fault.ArgumentInvalid) ||
			!strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}
