package enroll

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// TestUnchangedIsNotJudged changes one thing of enrollments and groups of which
// something else is no longer as it was when they were written: who disables one must
// not have to mend it first. What is written anew is judged as ever.
func TestUnchangedIsNotJudged(t *testing.T) {
	ctx := context.Background()
	h := newFixture(t, "one.local", "two.local")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	h.policies["weekly"] = true
	for _, name := range []string{"first", "second", "third"} {
		_, err := h.authorities.Put(ctx, name, []byte(newSigner(t, name)), true, "")
		must(err)
	}
	named := authorityGroup("named", "first")
	named.Attestation.X509.CAReferences.Secondary = "second"
	named.HubHostName, named.CredentialPolicyName = "two.local", "weekly"
	_, err := h.groups.Put(ctx, named, "")
	must(err)
	single := valid(t, "single").enrollment()
	single.Hubs, single.CredentialPolicyName = []string{"TWO.local", "one.local"}, "weekly"
	single = h.enroll(single)
	tall := valid(t, "tall").enrollment()
	h.enroll(tall)
	tall, err = h.enrollments.Load(ctx, "tall")
	must(err)
	tall.InitialTwin = &linkedhub.InitialTwin{Tags: json.RawMessage(`{"text":"` + strings.Repeat("x", 200) +
		`"}`)} // before there was a limit
	_, err = h.documents.Commit(ctx, h.enrollments.Restore(tall))
	must(err)

	must(h.authorities.Delete(ctx, "first", "", true))
	_, err = h.authorities.Put(ctx, "second", []byte(newSigner(t, "second")), false, "") // another, not verified
	must(err)
	must(h.links.Delete(ctx, "two.local", "", true))
	delete(h.policies, "weekly")

	group := func(change func(*Group)) error {
		stored, err := h.groups.Get(ctx, "named")
		must(err)
		change(&stored)
		_, err = h.groups.Put(ctx, stored, stored.ETag)
		return err
	}
	enrollment := func(id string, change func(*Enrollment)) error {
		stored, err := h.enrollments.Get(ctx, id)
		must(err)
		change(&stored)
		_, err = h.enrollments.Put(ctx, stored, stored.ETag)
		return err
	}
	for _, c := range []struct {
		name    string
		refused string // what the refusal says; "" for none
		err     error
	}{
		{"disable the group", "", group(func(g *Group) { g.ProvisioningStatus = Disabled })},
		{"the group's authorities change places", "", group(func(g *Group) {
			g.Attestation.X509.CAReferences = &X509CAReferences{Primary: "SECOND", Secondary: "First"}
		})},
		{"roll the group to a third authority", "",
			group(func(g *Group) { g.Attestation.X509.CAReferences.Secondary = "third" })},
		{"give it an authority that is gone", `There is no certificate authority "first"`, group(func(g *Group) {
			g.Attestation.X509.CAReferences.Secondary = "first"
		})},
		{"bind the group to another hub that is gone", "is not linked",
			group(func(g *Group) { g.HubHostName = "three.local" })},
		{"give the group another policy that is gone", "credentialPolicyName",
			group(func(g *Group) { g.CredentialPolicyName = "daily" })},
		{"disable the enrollment", "", enrollment("single", func(e *Enrollment) { e.ProvisioningStatus = Disabled })},
		{"leave the enrollment the hub that is gone alone", "", enrollment("single",
			func(e *Enrollment) { e.Hubs = []string{"two.local"} })},
		{"give the enrollment a hub that is not linked", "is not linked", enrollment("single",
			func(e *Enrollment) { e.Hubs = []string{"two.local", "three.local"} })},
		{"disable one whose twin is too large", "", enrollment("tall",
			func(e *Enrollment) { e.ProvisioningStatus = Disabled })},
		{"give one whose twin is too large another certificate", "", enrollment("tall", func(e *Enrollment) {
			e.Attestation = valid(t, "tall").enrollment().Attestation
		})},
		{"change the twin that is too large", "tags are too long", enrollment("tall", func(e *Enrollment) {
			e.InitialTwin.Tags = json.RawMessage(strings.Replace(string(e.InitialTwin.Tags), "x", "yy", 1))
		})},
	} {
		if c.refused == "" && c.err != nil || c.refused != "" && (!errors.Is(c.err, fault.ArgumentInvalid) ||
			!strings.Contains(c.err.Error(), c.refused)) {
			t.Errorf("%s: %v, want a refusal that says %q", c.name, c.err, c.refused)
		}
	}
	if stored, err := h.groups.Get(ctx, "named"); err != nil || stored.ProvisioningStatus != Disabled ||
		*stored.Attestation.X509.CAReferences != (X509CAReferences{Primary: "SECOND", Secondary: "third"}) {
		t.Errorf("the group is %+v, error %v", stored, err)
	}
}

// TestAuthorityInUse deletes an authority that groups name, as their primary or
// secondary one.
func TestAuthorityInUse(t *testing.T) {
	ctx := context.Background()
	h := newFixture(t, "hub.local")
	for _, name := range []string{"Factory", "spare"} {
		if _, err := h.authorities.Put(ctx, name, []byte(newSigner(t, name)), true, ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"line-1", "line-2", "line-3", "line-4", "line-5", "line-6", "line-7"} {
		group := authorityGroup(id, "factory")
		if id == "line-2" {
			group.Attestation.X509.CAReferences = &X509CAReferences{Primary: "spare", Secondary: "FACTORY"}
		}
		if _, err := h.groups.Put(ctx, group, ""); err != nil {
			t.Fatal(err)
		}
	}
	err := h.authorities.Delete(ctx, "factory", "", false)
	if !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(),
		`"Factory": line-1, line-2, line-3, line-4, line-5, +2. `) || !strings.Contains(err.Error(), "by force") {
		t.Errorf("one that groups name: %v", err)
	}
	if err := h.authorities.Delete(ctx, "spare", "", false); !errors.Is(err, fault.Conflict) ||
		!strings.Contains(err.Error(), `"spare": line-2. `) {
		t.Errorf("one that a group names: %v", err)
	}
	if err := h.authorities.Delete(ctx, "factory", "", true); err != nil {
		t.Errorf("by force: %v", err)
	}
	if err := h.groups.Delete(ctx, "line-2", ""); err != nil {
		t.Fatal(err)
	}
	if err := h.authorities.Delete(ctx, "spare", "", false); err != nil {
		t.Errorf("one that no group names any more: %v", err)
	}
}

// TestAuthorityDeletedMeanwhile deletes an authority while a group that names it is
// made: either is refused, or the group was there first and keeps the authority.
func TestAuthorityDeletedMeanwhile(t *testing.T) {
	ctx := context.Background()
	h := newFixture(t, "hub.local")
	certificate := []byte(newSigner(t, "Factory"))
	for round := range 40 {
		if _, err := h.authorities.Put(ctx, "factory", certificate, true, ""); err != nil {
			t.Fatal(err)
		}
		made := make(chan error)
		go func() {
			_, err := h.groups.Create(ctx, authorityGroup("line", "factory"))
			made <- err
		}()
		deleted := h.authorities.Delete(ctx, "factory", "", false)
		if err := <-made; (err == nil) == (deleted == nil) {
			t.Fatalf("round %d: making the group %v, deleting its authority %v", round, err, deleted)
		}
		if deleted != nil {
			if err := h.groups.Delete(ctx, "line", ""); err != nil {
				t.Fatal(err)
			}
		}
	}
}
