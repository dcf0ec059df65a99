package enroll

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/authority"
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/linkedhub"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/memory"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// fixture is the enrollments and groups of a service with linked hubs, on a store in
// memory. No device has registered.
type fixture struct {
	t           *testing.T
	config      Config
	documents   store.Documents
	enrollments *Enrollments
	groups      *Groups
	authorities *authority.Authorities
	links       *linkedhub.Links
	audit       *audit.Log
	policies    map[string]bool // credential policies that there are
}

func newFixture(t *testing.T, hosts ...string) *fixture {
	t.Helper()
	documents := memory.New().Open()
	t.Cleanup(func() {
		if err := documents.Close(); err != nil {
			t.Error(err)
		}
	})
	now, logger := func() time.Time { return noon }, slog.New(slog.DiscardHandler)
	h := &fixture{t: t, documents: documents, audit: audit.Open(documents, now), policies: make(map[string]bool)}
	h.authorities = authority.Open(authority.Config{Documents: documents, Collection: "provisioning/authorities",
		Subjects: "provisioning/authority-names", Audit: h.audit, Now: now,
		CheckUnused: func(ctx context.Context, name string) ([]store.Change, error) {
			return h.groups.CheckAuthorityUnused(ctx, name)
		}})
	var hubs []linkedhub.Hub
	for _, host := range hosts {
		hubs = append(hubs, strictHub{host: host})
	}
	h.links = linkedhub.New(linkedhub.Config{Documents: documents, Hubs: hubs, Audit: h.audit, Logger: logger,
		AssignedTo: func(context.Context, string) (int, error) { return 0, nil }})
	if err := h.links.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	h.config = Config{
		Documents: documents, Authorities: h.authorities, Links: h.links, Audit: h.audit, Now: now, Logger: logger,
		Allocator: allocation.New(allocation.Config{Links: h.links,
			Networks: allocation.NewNetworks(documents, h.audit, logger)}),
		CheckPolicy: func(_ context.Context, name string) error {
			if h.policies[name] {
				return nil
			}
			return fault.New(fault.ArgumentInvalid, "credentialPolicyName: there is no policy %q", name)
		},
		State: func(context.Context, string) (*contract.Registration, error) { return nil, nil },
	}
	h.enrollments, h.groups = New(h.config)
	return h
}

// limited is the fixture with limits on how many there may be.
func (h *fixture) limited(limits Limits) *fixture {
	h.config.Limits = limits
	h.enrollments, h.groups = New(h.config)
	return h
}

func (h *fixture) enroll(e Enrollment) Enrollment {
	h.t.Helper()
	written, err := h.enrollments.Put(context.Background(), e, "")
	if err != nil {
		h.t.Fatal(err)
	}
	return written
}

// strictHub is a hub that is only asked what it would refuse.
type strictHub struct {
	linkedhub.Hub
	host string
}

func (s strictHub) Host() string { return s.host }

func (s strictHub) Check(a linkedhub.Admission) error {
	switch {
	case len(a.DeviceID) > 100:
		return fault.New(fault.ArgumentInvalid, "the device id is too long")
	case a.Twin != nil && len(a.Twin.Tags) > 100:
		return fault.New(fault.ArgumentInvalid, "the tags are too long")
	case a.Twin != nil && len(a.Twin.Properties.Desired) > 100:
		return fault.New(fault.ArgumentInvalid, "the desired properties are too long")
	}
	return nil
}

// deviceCertificate is a device's own certificate in PEM.
type deviceCertificate struct{ name, PEM string }

func valid(t *testing.T, commonName string) deviceCertificate {
	t.Helper()
	text, _, err := credential.NewDeviceCertificate(credential.DeviceCertificate{CommonName: commonName,
		KeyType: credential.EC256, NotBefore: noon.Add(-time.Hour), Validity: 365 * 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return deviceCertificate{commonName, string(text)}
}

// enrollment is the enrollment of a device by its certificate.
func (d deviceCertificate) enrollment() Enrollment {
	certificates := &X509Certificates{Primary: &X509Certificate{Certificate: d.PEM}}
	return Enrollment{RegistrationID: d.name, Settings: Settings{
		Attestation: AttestationMechanism{Type: X509, X509: &X509Attestation{ClientCertificates: certificates}}}}
}

func signedGroup(id string, primary, secondary *X509Certificate) Group {
	certificates := &X509Certificates{Primary: primary, Secondary: secondary}
	return Group{EnrollmentGroupID: id, Settings: Settings{
		Attestation: AttestationMechanism{Type: X509, X509: &X509Attestation{SigningCertificates: certificates}}}}
}

func authorityGroup(id, authority string) Group {
	references := &X509CAReferences{Primary: authority}
	return Group{EnrollmentGroupID: id, Settings: Settings{
		Attestation: AttestationMechanism{Type: X509, X509: &X509Attestation{CAReferences: references}}}}
}
