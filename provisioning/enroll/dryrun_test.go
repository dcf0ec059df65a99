package enroll

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// contents is all that the service and its audit keep, to see that nothing changed.
func (h *fixture) contents() string {
	h.t.Helper()
	var kept strings.Builder
	for _, collection := range []string{EnrollmentRecords, GroupRecords, h.groups.signers.Collection,
		generations} {
		documents, err := h.documents.List(context.Background(), collection, "", "", 1000)
		if err != nil {
			h.t.Fatal(err)
		}
		for _, document := range documents {
			kept.WriteString(collection + " " + document.Key + " " + document.ETag + "\n")
		}
	}
	entries, _, err := h.audit.Entries(context.Background(), audit.Filter{Max: 1000})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, entry := range entries {
		kept.WriteString(string(entry.Action) + " " + entry.ID + "\n")
	}
	return kept.String()
}

// outcome is the code and message of a fault, "" for none.
func outcome(err error) string {
	if err == nil {
		return ""
	}
	problem := fault.From(err)
	return problem.Code.Name() + ": " + problem.Message
}

// TestDryRunOfEnrollments holds what a dry run says of an enrollment against what the
// run says then, in every way of writing it.
func TestDryRunOfEnrollments(t *testing.T) {
	keyed := func(id string, change func(*Enrollment)) Enrollment {
		e := Enrollment{RegistrationID: id, Settings: Settings{Attestation: AttestationMechanism{Type: SymmetricKey}}}
		if change != nil {
			change(&e)
		}
		return e
	}
	for name, e := range map[string]Enrollment{
		"right":                keyed("new", nil),
		"there already":        keyed("THERE", nil),
		"no id":                keyed("", nil),
		"an id of other signs": keyed("café", nil),
		"another type":         keyed("new", func(e *Enrollment) { e.Attestation.Type = "magic" }),
		"a short key": keyed("new",
			func(e *Enrollment) {
				e.Attestation.SymmetricKey = &SymmetricKeyAttestation{PrimaryKey: "short"}
			}),
		"no certificate": keyed("new", func(e *Enrollment) { e.Attestation = AttestationMechanism{Type: X509} }),
		"an unknown hub": keyed("new", func(e *Enrollment) { e.HubHostName = "elsewhere.example" }),
		"an unknown hub of two": keyed("new", func(e *Enrollment) {
			e.Hubs = []string{"hub.local",
				"elsewhere.example"}
		}),
		"another policy":       keyed("new", func(e *Enrollment) { e.AllocationPolicy = "dice" }),
		"no webhook":           keyed("new", func(e *Enrollment) { e.AllocationPolicy = allocation.Custom }),
		"another status":       keyed("new", func(e *Enrollment) { e.ProvisioningStatus = "sleeping" }),
		"no credential policy": keyed("new", func(e *Enrollment) { e.CredentialPolicyName = "none" }),
		"what the hub refuses": keyed("new", func(e *Enrollment) { e.DeviceID = strings.Repeat("d", 101) }),
		"tags the hub refuses": keyed("new", func(e *Enrollment) {
			e.InitialTwin = &linkedhub.InitialTwin{Tags: []byte(`{"t":"` + strings.Repeat("x", 101) + `"}`)}
		}),
		"a twin that is none": keyed("new",
			func(e *Enrollment) { e.InitialTwin = &linkedhub.InitialTwin{Tags: []byte(`[]`)} }),
		"bad information": keyed("new", func(e *Enrollment) { e.OptionalDeviceInformation = []byte(`{`) }),
	} {
		t.Run(name, func(t *testing.T) {
			for how, write := range map[string]func(*fixture, context.Context) error{
				"create": func(h *fixture, ctx context.Context) error {
					_, err := h.enrollments.Create(ctx,
						e)
					return err
				},
				"update": func(h *fixture, ctx context.Context) error {
					_, err := h.enrollments.Put(ctx, e,
						"*")
					return err
				},
				"put": func(h *fixture, ctx context.Context) error {
					_, err := h.enrollments.Put(ctx, e,
						"")
					return err
				},
				"delete": func(h *fixture, ctx context.Context) error {
					return h.enrollments.Delete(ctx,
						e.RegistrationID, "")
				},
			} {
				h := newFixture(t, "hub.local")
				h.enroll(keyed("there", nil))
				before := h.contents()
				dry := outcome(write(h, DryRun(context.Background(), nil)))
				if after := h.contents(); after != before {
					t.Errorf("%s: after the dry run there is\n%s\nand there was\n%s", how, after, before)
				}
				if real := outcome(write(h, context.Background())); dry != real {
					t.Errorf("%s: the dry run says %q, the run %q", how, dry, real)
				}
			}
		})
	}
}

// TestDryRunWithinLimits: what a dry run would have created counts against the limits, in
// the same call or in one before.
func TestDryRunWithinLimits(t *testing.T) {
	h := newFixture(t, "hub.local").limited(Limits{Enrollments: 3, X509Groups: 1, KeyGroups: 2})
	keyed := AttestationMechanism{Type: SymmetricKey}
	h.enroll(Enrollment{RegistrationID: "there", Settings: Settings{Attestation: keyed}})
	create := func(ctx context.Context, id string) error {
		_, err := h.enrollments.Create(ctx, Enrollment{RegistrationID: id, Settings: Settings{Attestation: keyed}})
		return err
	}
	group := func(ctx context.Context, id string) error {
		_, err := h.groups.Create(ctx, Group{EnrollmentGroupID: id, Settings: Settings{Attestation: keyed}})
		return err
	}
	dry := DryRun(context.Background(), nil)
	for i, c := range []struct {
		ctx   context.Context
		write func(context.Context, string) error
		id    string
		full  bool
	}{
		{dry, create, "a", false}, {dry, create, "b", false}, {dry, create, "c", true},
		{DryRun(context.Background(), map[string]int{X509: 1, TPM: 1}), create, "a", true},
		{DryRun(context.Background(), map[string]int{X509: 1}), create, "a", false},
		{DryRun(context.Background(), map[string]int{X509: 7, SymmetricKey: 1}), group, "a", false},
		{DryRun(context.Background(), map[string]int{SymmetricKey: 2}), group, "a", true},
		{context.Background(), create, "a", false}, {context.Background(), create, "b", false}, {context.Background(),
			create, "c", true},
	} {
		if err := c.write(c.ctx, c.id); errors.Is(err, fault.QuotaExceeded) != c.full || !c.full && err != nil {
			t.Errorf("%d, %s: %v", i, c.id, err)
		}
	}
}

// TestDryRunOfGroups is TestDryRunOfEnrollments for groups.
func TestDryRunOfGroups(t *testing.T) {
	signer := newSigner(t, "one")
	device, _, err := credential.NewDeviceCertificate(credential.DeviceCertificate{CommonName: "d",
		KeyType: credential.EC256, NotBefore: noon, Validity: 1})
	if err != nil {
		t.Fatal(err)
	}
	keyed := func(id string, change func(*Group)) Group {
		g := Group{EnrollmentGroupID: id, Settings: Settings{Attestation: AttestationMechanism{Type: SymmetricKey}}}
		if change != nil {
			change(&g)
		}
		return g
	}
	for name, g := range map[string]Group{
		"right":         keyed("new", nil),
		"signed":        signedGroup("new", &X509Certificate{Certificate: signer}, nil),
		"there already": keyed("there", nil),
		"a bad id":      keyed("a b", nil),
		"a TPM":         keyed("new", func(g *Group) { g.Attestation.Type = TPM }),
		"a short key": keyed("new",
			func(g *Group) {
				g.Attestation.SymmetricKey = &SymmetricKeyAttestation{PrimaryKey: "short"}
			}),
		"an unknown hub": keyed("new", func(g *Group) { g.Hubs = []string{"elsewhere.example"} }),
		"an unknown authority": {EnrollmentGroupID: "new",
			Settings: Settings{Attestation: AttestationMechanism{Type: X509,
				X509: &X509Attestation{CAReferences: &X509CAReferences{Primary: "none"}}}}},
		"only a thumbprint": signedGroup("new",
			&X509Certificate{Info: &credential.X509CertificateInfo{SHA256Thumbprint: strings.Repeat("A", 64)}}, nil),
		"a device's own": signedGroup("new", &X509Certificate{Certificate: string(device)}, nil),
	} {
		t.Run(name, func(t *testing.T) {
			for how, write := range map[string]func(*fixture, context.Context) error{
				"create": func(h *fixture, ctx context.Context) error { _, err := h.groups.Create(ctx, g); return err },
				"update": func(h *fixture, ctx context.Context) error {
					_, err := h.groups.Put(ctx, g,
						"*")
					return err
				},
				"put": func(h *fixture, ctx context.Context) error {
					_, err := h.groups.Put(ctx, g,
						"")
					return err
				},
				"delete": func(h *fixture, ctx context.Context) error {
					return h.groups.Delete(ctx,
						g.EnrollmentGroupID, "")
				},
			} {
				h := newFixture(t, "hub.local")
				if _, err := h.groups.Create(context.Background(), keyed("there", nil)); err != nil {
					t.Fatal(err)
				}
				before := h.contents()
				dry := outcome(write(h, DryRun(context.Background(), nil)))
				if after := h.contents(); after != before {
					t.Errorf("%s: after the dry run there is\n%s\nand there was\n%s", how, after, before)
				}
				if real := outcome(write(h, context.Background())); dry != real {
					t.Errorf("%s: the dry run says %q, the run %q", how, dry, real)
				}
			}
		})
	}
}
