package provisioning

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// contents is all that the service and its audit keep, to see that nothing changed.
func (h *fixture) contents() string {
	h.t.Helper()
	var kept strings.Builder
	for _, collection := range []string{enroll.Records, enroll.GroupRecords, h.signers().Collection,
		groupsChanged().Collection} {
		documents, err := h.config.Documents.List(context.Background(), collection, "", "", 1000)
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
	keyed := func(id string, change func(*enroll.Enrollment)) enroll.Enrollment {
		e := enroll.Enrollment{RegistrationID: id, Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: enroll.SymmetricKey}}}
		if change != nil {
			change(&e)
		}
		return e
	}
	for name, e := range map[string]enroll.Enrollment{
		"right":                keyed("new", nil),
		"there already":        keyed("THERE", nil),
		"no id":                keyed("", nil),
		"an id of other signs": keyed("café", nil),
		"another type":         keyed("new", func(e *enroll.Enrollment) { e.Attestation.Type = "magic" }),
		"a short key": keyed("new",
			func(e *enroll.Enrollment) {
				e.Attestation.SymmetricKey = &enroll.SymmetricKeyAttestation{PrimaryKey: "short"}
			}),
		"no certificate":        keyed("new", func(e *enroll.Enrollment) { e.Attestation = enroll.AttestationMechanism{Type: enroll.X509} }),
		"an unknown hub":        keyed("new", func(e *enroll.Enrollment) { e.HubHostName = "elsewhere.example" }),
		"an unknown hub of two": keyed("new", func(e *enroll.Enrollment) { e.Hubs = []string{"hub.local", "elsewhere.example"} }),
		"another policy":        keyed("new", func(e *enroll.Enrollment) { e.AllocationPolicy = "dice" }),
		"no webhook":            keyed("new", func(e *enroll.Enrollment) { e.AllocationPolicy = allocation.Custom }),
		"another status":        keyed("new", func(e *enroll.Enrollment) { e.ProvisioningStatus = "sleeping" }),
		"no credential policy":  keyed("new", func(e *enroll.Enrollment) { e.CredentialPolicyName = "none" }),
		"what the hub refuses":  keyed("new", func(e *enroll.Enrollment) { e.DeviceID = strings.Repeat("d", 101) }),
		"tags the hub refuses": keyed("new", func(e *enroll.Enrollment) {
			e.InitialTwin = &linkedhub.InitialTwin{Tags: []byte(`{"t":"` + strings.Repeat("x", 101) + `"}`)}
		}),
		"a twin that is none": keyed("new", func(e *enroll.Enrollment) { e.InitialTwin = &linkedhub.InitialTwin{Tags: []byte(`[]`)} }),
		"bad information":     keyed("new", func(e *enroll.Enrollment) { e.OptionalDeviceInformation = []byte(`{`) }),
	} {
		t.Run(name, func(t *testing.T) {
			for how, write := range map[string]func(*fixture, context.Context) error{
				"create": func(h *fixture, ctx context.Context) error { _, err := h.Enrollments().Create(ctx, e); return err },
				"update": func(h *fixture, ctx context.Context) error { _, err := h.Enrollments().Put(ctx, e, "*"); return err },
				"put":    func(h *fixture, ctx context.Context) error { _, err := h.Enrollments().Put(ctx, e, ""); return err },
				"delete": func(h *fixture, ctx context.Context) error { return h.Enrollments().Delete(ctx, e.RegistrationID, "") },
			} {
				h := newFixture(t, "hub.local")
				h.enroll(keyed("there", nil))
				before := h.contents()
				dry := outcome(write(h, enroll.DryRun(context.Background(), nil)))
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
	keyed := enroll.AttestationMechanism{Type: enroll.SymmetricKey}
	h.enroll(enroll.Enrollment{RegistrationID: "there", Settings: enroll.Settings{Attestation: keyed}})
	create := func(ctx context.Context, id string) error {
		_, err := h.Enrollments().Create(ctx, enroll.Enrollment{RegistrationID: id, Settings: enroll.Settings{Attestation: keyed}})
		return err
	}
	group := func(ctx context.Context, id string) error {
		_, err := h.Groups().Create(ctx, enroll.Group{EnrollmentGroupID: id, Settings: enroll.Settings{Attestation: keyed}})
		return err
	}
	dry := enroll.DryRun(context.Background(), nil)
	for i, c := range []struct {
		ctx   context.Context
		write func(context.Context, string) error
		id    string
		full  bool
	}{
		{dry, create, "a", false}, {dry, create, "b", false}, {dry, create, "c", true},
		{enroll.DryRun(context.Background(), map[string]int{enroll.X509: 1, enroll.TPM: 1}), create, "a", true},
		{enroll.DryRun(context.Background(), map[string]int{enroll.X509: 1}), create, "a", false},
		{enroll.DryRun(context.Background(), map[string]int{enroll.X509: 7, enroll.SymmetricKey: 1}), group, "a", false},
		{enroll.DryRun(context.Background(), map[string]int{enroll.SymmetricKey: 2}), group, "a", true},
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
	keyed := func(id string, change func(*enroll.Group)) enroll.Group {
		g := enroll.Group{EnrollmentGroupID: id, Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: enroll.SymmetricKey}}}
		if change != nil {
			change(&g)
		}
		return g
	}
	for name, g := range map[string]enroll.Group{
		"right":         keyed("new", nil),
		"signed":        signedGroup("new", &enroll.X509Certificate{Certificate: signer}, nil),
		"there already": keyed("there", nil),
		"a bad id":      keyed("a b", nil),
		"a TPM":         keyed("new", func(g *enroll.Group) { g.Attestation.Type = enroll.TPM }),
		"a short key": keyed("new",
			func(g *enroll.Group) {
				g.Attestation.SymmetricKey = &enroll.SymmetricKeyAttestation{PrimaryKey: "short"}
			}),
		"an unknown hub": keyed("new", func(g *enroll.Group) { g.Hubs = []string{"elsewhere.example"} }),
		"an unknown authority": {EnrollmentGroupID: "new", Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: enroll.X509,
			X509: &enroll.X509Attestation{CAReferences: &enroll.X509CAReferences{Primary: "none"}}}}},
		"only a thumbprint": signedGroup("new",
			&enroll.X509Certificate{Info: &credential.X509CertificateInfo{SHA256Thumbprint: strings.Repeat("A", 64)}}, nil),
		"a device's own": signedGroup("new", &enroll.X509Certificate{Certificate: string(device)}, nil),
	} {
		t.Run(name, func(t *testing.T) {
			for how, write := range map[string]func(*fixture, context.Context) error{
				"create": func(h *fixture, ctx context.Context) error { _, err := h.Groups().Create(ctx, g); return err },
				"update": func(h *fixture, ctx context.Context) error { _, err := h.Groups().Put(ctx, g, "*"); return err },
				"put":    func(h *fixture, ctx context.Context) error { _, err := h.Groups().Put(ctx, g, ""); return err },
				"delete": func(h *fixture, ctx context.Context) error { return h.Groups().Delete(ctx, g.EnrollmentGroupID, "") },
			} {
				h := newFixture(t, "hub.local")
				if _, err := h.Groups().Create(context.Background(), keyed("there", nil)); err != nil {
					t.Fatal(err)
				}
				before := h.contents()
				dry := outcome(write(h, enroll.DryRun(context.Background(), nil)))
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

// TestPreviewSaysWhatWouldBeRefused: a device that would not get as far as its hub is not
// shown as one that would.
func TestPreviewSaysWhatWouldBeRefused(t *testing.T) {
	h, ctx := newFixture(t, "hub.local"), context.Background()
	keyed := enroll.AttestationMechanism{Type: enroll.SymmetricKey}
	h.enroll(enroll.Enrollment{RegistrationID: "on", Settings: enroll.Settings{Attestation: keyed}})
	h.enroll(enroll.Enrollment{RegistrationID: "off", Settings: enroll.Settings{Attestation: keyed, ProvisioningStatus: enroll.Disabled}})
	for id, status := range map[string]enroll.ProvisioningStatus{"group-on": enroll.Enabled, "group-off": enroll.Disabled} {
		if _, err := h.Groups().Create(ctx, enroll.Group{EnrollmentGroupID: id, Settings: enroll.Settings{Attestation: keyed,
			ProvisioningStatus: status}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		id, group     string
		disabled, own bool
	}{
		{"on", "", false, false}, {"off", "", true, false}, {"member", "group-on", false, false}, {"member", "group-off",
			true, false}, {"on", "group-on", false, true},
	} {
		preview, err := h.PreviewAllocation(ctx, PreviewRequest{RegistrationID: c.id, GroupID: c.group})
		if err != nil || preview.HubHostName != "hub.local" || preview.Disabled != c.disabled ||
			preview.OwnEnrollment != c.own {
			t.Errorf("%s by %q: %+v, error %v", c.id, c.group, preview, err)
		}
	}
}
