package backend_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/berthtest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/inject"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// keyGroup is a group whose devices have keys that are derived from its own.
func keyGroup(id string) enroll.Group {
	group := enroll.Group{EnrollmentGroupID: id}
	group.Attestation.Type = "symmetricKey"
	return group
}

// What a client of the provisioning service writes, a real server has, and what it reads
// is what was written.
func TestGroupsAndBulkOperations(t *testing.T) {
	dps, ctx := berthtest.Start(t).Provisioning, t.Context()
	group, err := dps.PutGroup(ctx, keyGroup("line-1"), "")
	if err != nil || group.ETag == "" {
		t.Fatalf("the group is %+v, error %v", group, err)
	}
	_, err = dps.PutGroup(ctx, group, `"another"`)
	expect(t, err, fault.PreconditionFailed)
	if read, err := dps.Group(ctx, "line-1"); err != nil || read.ETag != group.ETag {
		t.Errorf("the group is read as %+v, error %v", read, err)
	}
	if keys, err := dps.GroupAttestationMechanism(ctx, "line-1"); err != nil || keys.SymmetricKey.PrimaryKey == "" {
		t.Errorf("the group's keys are %+v, error %v", keys, err)
	}
	groups := []enroll.Group{keyGroup("line-1"), keyGroup("line-2")}
	dryRun := func() ([]backend.BulkError, error) {
		return dps.DryRunGroups(ctx, backend.BulkCreate, groups, map[string]int{"symmetricKey": 1})
	}
	create := func() ([]backend.BulkError, error) { return dps.BulkGroups(ctx, backend.BulkCreate, groups) }
	for i, run := range []func() ([]backend.BulkError, error){dryRun, create} {
		failed, err := run()
		if err != nil || len(failed) != 1 || failed[0].ID != "line-1" || failed[0].Code/1000 != 409 {
			t.Errorf("run %d answers %+v, error %v", i, failed, err)
		}
	}
	if page, next, err := dps.Groups(ctx, "line-", "", 10); err != nil || len(page) != 2 || next != "" {
		t.Errorf("the groups are %+v, %q, error %v", page, next, err)
	}
	if err := dps.DeleteGroup(ctx, "line-2", "*"); err != nil {
		t.Error(err)
	}
	_, err = dps.Group(ctx, "line-2")
	expect(t, err, fault.GroupNotFound)

	one := enrollment(t, "d1")
	if failed, err := dps.DryRunEnrollments(ctx, backend.BulkCreate, []enroll.Enrollment{one}, nil); err != nil ||
		len(failed) != 0 {
		t.Errorf("the dry run answers %+v, error %v", failed, err)
	}
	_, err = dps.Enrollment(ctx, "d1")
	expect(t, err, fault.EnrollmentNotFound)
	if failed, err := dps.BulkEnrollments(ctx, backend.BulkCreate, []enroll.Enrollment{one}); err != nil ||
		len(failed) != 0 {
		t.Errorf("the bulk operation answers %+v, error %v", failed, err)
	}
	if mechanism, err := dps.AttestationMechanism(ctx, "d1"); err != nil || mechanism.Type != "x509" {
		t.Errorf("the device is attested by %+v, error %v", mechanism, err)
	}
}

func TestHubLinksAndNetworks(t *testing.T) {
	dps, ctx := berthtest.Start(t).Provisioning, t.Context()
	links, err := dps.HubLinks(ctx)
	if err != nil || len(links) != 1 || links[0].HostName != "127.0.0.1" {
		t.Fatalf("the links are %+v, error %v", links, err)
	}
	weight := 7
	linked, err := dps.LinkHub(ctx, linkedhub.Link{HostName: "127.0.0.1", AllocationWeight: &weight}, "")
	if err != nil || *linked.AllocationWeight != 7 {
		t.Errorf("the link is %+v, error %v", linked, err)
	}
	if link, err := dps.HubLink(ctx, "127.0.0.1", true); err != nil || link.AssignedDevices == nil ||
		*link.AssignedDevices != 0 {
		t.Errorf("the link is %+v, error %v", link, err)
	}
	second, err := dps.CreateHub(ctx, "second", "second.local")
	if err != nil || second.HostName != "second.local" {
		t.Errorf("the new hub is %+v, error %v", second, err)
	}
	preview, err := dps.PreviewAllocation(ctx, provisioning.PreviewRequest{RegistrationID: "none"})
	expect(t, err, fault.EnrollmentNotFound)
	if _, err := dps.CreateEnrollment(ctx, enrollment(t, "d1")); err != nil {
		t.Fatal(err)
	}
	if preview, err = dps.PreviewAllocation(ctx, provisioning.PreviewRequest{RegistrationID: "d1"}); err != nil ||
		len(preview.Candidates) != 2 {
		t.Errorf("the preview is %+v, error %v", preview, err)
	}
	if err := dps.UnlinkHub(ctx, "second.local", "", true); err != nil {
		t.Error(err)
	}
	_, err = dps.HubLink(ctx, "second.local", false)
	expect(t, err, fault.NotFound)

	network := allocation.Network{Prefix: "192.0.2.0/24", Latencies: map[string]float64{"lyon": 12}}
	if network, err = dps.PutNetwork(ctx, network, ""); err != nil || network.ETag == "" {
		t.Errorf("the network is %+v, error %v", network, err)
	}
	if networks, err := dps.Networks(ctx); err != nil || len(networks) != 1 || networks[0].Latencies["lyon"] != 12 {
		t.Errorf("the networks are %+v, error %v", networks, err)
	}
	if err := dps.DeleteNetwork(ctx, network.Prefix); err != nil {
		t.Error(err)
	}
	expect(t, dps.DeleteNetwork(ctx, network.Prefix), fault.NotFound)
}

func TestCertificateAuthorities(t *testing.T) {
	dps, ctx := berthtest.Start(t).Provisioning, t.Context()
	made, err := credential.NewAuthority("Factory", time.Now().Add(-time.Hour), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	certificate, _, err := made.PEM()
	if err != nil {
		t.Fatal(err)
	}
	put, err := dps.PutAuthority(ctx, "factory", certificate, false, "")
	if err != nil || put.IsVerified {
		t.Fatalf("the authority is %+v, error %v", put, err)
	}
	if coded, err := dps.NewVerificationCode(ctx, "factory"); err != nil || coded.VerificationCode == "" {
		t.Errorf("the authority is %+v, error %v", coded, err)
	}
	if _, err := dps.VerifyAuthority(ctx, "factory", certificate); err == nil {
		t.Error("the authority's own certificate proves that it has its key")
	}
	if read, err := dps.Authority(ctx, "factory"); err != nil || read.IsVerified {
		t.Errorf("the authority is %+v, error %v", read, err)
	}
	if all, next, err := dps.Authorities(ctx, "fact", "", 10); err != nil || len(all) != 1 || next != "" {
		t.Errorf("the authorities are %+v, %q, error %v", all, next, err)
	}
	if decision, err := dps.CheckChain(ctx, certificate, "d1"); err != nil || decision.Admitted {
		t.Errorf("the chain is judged %+v, error %v", decision, err)
	}
	if err := dps.DeleteAuthority(ctx, "factory", "", true); err != nil {
		t.Error(err)
	}
	_, err = dps.Authority(ctx, "factory")
	expect(t, err, fault.NotFound)
}

func TestOperationalCertificates(t *testing.T) {
	dps, ctx := berthtest.Start(t).Provisioning, t.Context()
	if issuer, err := dps.CreateIssuingAuthority(ctx, "line-1"); err != nil || issuer.Name != "line-1" {
		t.Fatalf("the authority is %+v, error %v", issuer, err)
	}
	requested, err := dps.RequestIssuingAuthority(ctx, "own", "Our operational CA")
	if err != nil || requested.Name != "own" {
		t.Errorf("the authority is %+v, error %v", requested, err)
	}
	if _, err := dps.ActivateIssuingAuthority(ctx, "own", []byte("none")); err == nil {
		t.Error("the authority is active without a certificate")
	}
	policy, err := dps.PutCredentialPolicy(ctx, issuance.Policy{Name: "short", Authority: "line-1"}, "")
	if err != nil || policy.Authority != "line-1" {
		t.Errorf("the policy is %+v, error %v", policy, err)
	}
	if read, err := dps.CredentialPolicy(ctx, "short"); err != nil || read.ETag != policy.ETag {
		t.Errorf("the policy is %+v, error %v", read, err)
	}
	if all, err := dps.CredentialPolicies(ctx); err != nil || len(all) < 1 {
		t.Errorf("the policies are %+v, error %v", all, err)
	}
	if err := dps.DeleteCredentialPolicy(ctx, "short", true); err != nil {
		t.Error(err)
	}
	if revoked, err := dps.RevokeIssuingAuthority(ctx, "line-1", "line-2"); err != nil || revoked.Name != "line-1" {
		t.Errorf("the authority is %+v, error %v", revoked, err)
	}
	if err := dps.DeleteIssuingAuthority(ctx, "own", true); err != nil {
		t.Error(err)
	}
	var names []string
	all, err := dps.IssuingAuthorities(ctx)
	for _, issuer := range all {
		names = append(names, issuer.Name)
	}
	if err != nil || !strings.Contains(fmt.Sprint(names), "line-1 line-2") ||
		strings.Contains(fmt.Sprint(names), "own") {
		t.Errorf("the authorities are %v, error %v", names, err)
	}
	if issued, next, err := dps.IssuedCertificates(ctx, "", 10); err != nil || len(issued) != 0 || next != "" {
		t.Errorf("issued were %+v, %q, error %v", issued, next, err)
	}
	if issued, err := dps.IssuedTo(ctx, "d1"); err != nil || len(issued) != 0 {
		t.Errorf("the device has %+v, error %v", issued, err)
	}
	_, err = dps.RevokeIssuedTo(ctx, "d1")
	expect(t, err, fault.NotFound)
	_, err = dps.RevokeCertificate(ctx, strings.Repeat("AB", 32))
	expect(t, err, fault.NotFound)
}

func TestPoliciesAndRecords(t *testing.T) {
	berth, ctx := berthtest.Start(t), t.Context()
	dps := berth.Provisioning
	if dps.Host() != "localhost" || berth.Hub.Host() != "127.0.0.1" {
		t.Errorf("the hosts are %s and %s", dps.Host(), berth.Hub.Host())
	}
	made, err := dps.CreatePolicy(ctx, "reader", []string{provisioning.EnrollmentRead})
	if err != nil || made.PrimaryKey == "" {
		t.Fatalf("the policy is %+v, error %v", made, err)
	}
	changed, err := dps.SetPolicyRights(ctx, "reader", []string{provisioning.RegistrationStatusRead}, made.ETag)
	if err != nil || changed.Allows(provisioning.EnrollmentRead) {
		t.Errorf("the policy is %+v, error %v", changed, err)
	}
	renewed, err := dps.RegeneratePolicyKey(ctx, "reader", "primary", changed.ETag)
	if err != nil || renewed.PrimaryKey == made.PrimaryKey {
		t.Errorf("the policy is %+v, error %v", renewed, err)
	}
	expect(t, dps.DeletePolicy(ctx, "reader", made.ETag), fault.PreconditionFailed)
	if read, err := dps.Policy(ctx, "reader"); err != nil || read.PrimaryKey != renewed.PrimaryKey {
		t.Errorf("the policy is %+v, error %v", read, err)
	}
	if err := dps.DeletePolicy(ctx, "reader", renewed.ETag); err != nil {
		t.Error(err)
	}
	if all, err := dps.Policies(ctx); err != nil || len(all) != 1 {
		t.Errorf("the policies are %+v, error %v", all, err)
	}
	entries, _, err := dps.Audit(ctx, audit.Filter{Kind: audit.AccessPolicy, ID: "reader", Max: 10,
		Since: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour)})
	if err != nil || len(entries) != 4 {
		t.Errorf("the audit has %+v, error %v", entries, err)
	}
	_, _, err = dps.AuditItems(ctx, "none", "")
	expect(t, err, fault.NotFound)
	if locked, err := dps.LockedOut(ctx); err != nil || len(locked) != 0 {
		t.Errorf("locked out are %+v, error %v", locked, err)
	}
	expect(t, dps.LiftLockout(ctx, "192.0.2.1"), fault.NotFound)
	if link, err := dps.LoginLink(ctx, "reader"); err != nil || link.Role != "reader" || link.URL == "" {
		t.Errorf("the link is %+v, error %v", link, err)
	}
	if records, err := dps.Unreadable(ctx); err != nil || len(records) != 0 {
		t.Errorf("unreadable are %+v, error %v", records, err)
	}
	expect(t, dps.DeleteUnreadable(ctx, enroll.EnrollmentRecords, "d1"), fault.NotFound)
	_, err = dps.Attempt(ctx, 7)
	expect(t, err, fault.NotFound)
}

func TestFaultsAreInjected(t *testing.T) {
	dps, ctx := berthtest.Start(t).Provisioning, t.Context()
	for range 2 {
		if _, err := dps.InjectFault(ctx, inject.Fault{Kind: inject.Fail, Times: 1}); err != nil {
			t.Fatal(err)
		}
	}
	all, err := dps.InjectedFaults(ctx)
	if err != nil || len(all) != 2 {
		t.Fatalf("injected are %+v, error %v", all, err)
	}
	if err := dps.RemoveFault(ctx, all[0].ID); err != nil {
		t.Error(err)
	}
	expect(t, dps.RemoveFault(ctx, all[0].ID), fault.NotFound)
	if err := dps.RemoveFault(ctx, ""); err != nil {
		t.Error(err)
	}
	if all, err := dps.InjectedFaults(ctx); err != nil || len(all) != 0 {
		t.Errorf("injected are %+v, error %v", all, err)
	}
}

// Of several devices some can't be deleted, and each is told of by itself.
func TestDevicesAreDeletedTogether(t *testing.T) {
	iot, ctx := berthtest.Start(t).Hub, t.Context()
	if _, err := iot.CreateDevice(ctx, identity.Device{DeviceID: "d1"}); err != nil {
		t.Fatal(err)
	}
	failed, err := iot.DeleteDevices(ctx, []string{"d1", "d2"})
	if err != nil || len(failed) != 1 || failed[0].ID != "d2" || fault.Code(failed[0].Code) != fault.DeviceNotFound {
		t.Errorf("answered %+v, error %v", failed, err)
	}
	_, err = iot.Device(ctx, "d1")
	expect(t, err, fault.DeviceNotFound)
}
