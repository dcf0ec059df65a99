package provisioningpages

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// TestAuthorityInUse deletes authorities of which groups name one: the page says so
// before, and only a box that is ticked deletes it all the same.
func TestAuthorityInUse(t *testing.T) {
	h := newFixture(t)
	b, service := h.loggedIn(web.Operator), h.Provisioning
	for _, name := range []string{"factory", "spare"} {
		_, err := service.Authorities().Put(ctx, name, []byte(h.AuthorityCertificate(name)), true, "")
		h.Must(err)
	}
	b.Send("groups/new", http.StatusOK, url.Values{"groupId": {"line-7"}, "mechanism": {"x509"},
		"authority": {"factory"}, "enabled": {"yes"}})
	const box = `name="force" value="yes"`
	page := b.Send("certificates/delete", http.StatusOK, url.Values{"id": {"factory", "spare"}})
	b.Shows(page, "factory is named by groups:", "line-7", box)
	if strings.Contains(page, "spare is named") {
		t.Errorf("the page asks of an authority that nobody names:\n%s", page)
	}
	if page := b.Send("certificates/delete", http.StatusOK, url.Values{"id": {"spare"}}); strings.Contains(page, box) {
		t.Errorf("there is a box for what nobody names:\n%s", page)
	}
	b.Shows(b.Send("certificates/delete", http.StatusConflict, url.Values{"id": {"factory", "spare"},
		"confirm": {"yes"}}), "409000", "line-7", "by force")
	if _, err := service.Authorities().Get(ctx, "spare"); fault.From(err).Code != fault.NotFound {
		t.Errorf("what nobody names is still there: %v", err)
	}
	b.Send("certificates/delete", http.StatusOK, url.Values{"id": {"factory"}, "confirm": {"yes"}, "force": {"yes"}})
	if _, err := service.Authorities().Get(ctx, "factory"); fault.From(err).Code != fault.NotFound {
		t.Errorf("by force it stays: %v", err)
	}
	// The group can be disabled all the same, and rolled to another.
	group, err := service.Groups().Get(ctx, "line-7")
	h.Must(err)
	b.Send("group/line-7", http.StatusOK, url.Values{"mechanism": {"x509"}, "authority": {"factory"},
		"etag": {group.ETag}})
	if group, err = service.Groups().Get(ctx, "line-7"); err != nil || group.ProvisioningStatus != enroll.Disabled {
		t.Errorf("the group is %+v, error %v", group, err)
	}
}

// TestAuthorityRollover gives a group a second authority, and makes it the only one.
func TestAuthorityRollover(t *testing.T) {
	h := newFixture(t)
	b, service := h.loggedIn(web.Operator), h.Provisioning
	for _, name := range []string{"first", "second", "third"} {
		_, err := service.Authorities().Put(ctx, name, []byte(h.AuthorityCertificate(name)), true, "")
		h.Must(err)
	}
	b.Send("groups/new", http.StatusOK, url.Values{"groupId": {"line"}, "mechanism": {"x509"}, "authority": {"first"},
		"enabled": {"yes"}})
	for _, step := range []struct {
		typed url.Values
		want  enroll.X509CAReferences
	}{
		{url.Values{"authority": {"first"}, "authoritySecondary": {"second"}},
			enroll.X509CAReferences{Primary: "first", Secondary: "second"}},
		{url.Values{"authority": {"first"}, "iotEdge": {"yes"}}, enroll.X509CAReferences{Primary: "first",
			Secondary: "second"}},
		{url.Values{"authority": {"third"}, "authoritySecondary": {"second"}},
			enroll.X509CAReferences{Primary: "third", Secondary: "second"}},
		{url.Values{"authority": {"third"}, "authoritySecondary": {""}}, enroll.X509CAReferences{Primary: "third"}},
	} {
		group, err := service.Groups().Get(ctx, "line")
		h.Must(err)
		form := url.Values{"mechanism": {"x509"}, "enabled": {"yes"}, "etag": {group.ETag}}
		for name, values := range step.typed {
			form[name] = values
		}
		b.Send("group/line", http.StatusOK, form)
		group, err = service.Groups().Get(ctx, "line")
		h.Must(err)
		if got := *group.Attestation.X509.CAReferences; got != step.want {
			t.Errorf("after %v the group names %+v, want %+v", step.typed, got, step.want)
		}
	}
	group, err := service.Groups().Get(ctx, "line")
	h.Must(err)
	b.Shows(b.Send("group/line", http.StatusBadRequest, url.Values{"mechanism": {"x509"}, "authority": {"third"},
		"secondary": {h.AuthorityCertificate("fourth")}, "etag": {group.ETag}}), `id="secondary-error"`)
}

// TestUnlinkedHubs shows an enrollment's hubs as they are chosen, also those that are
// not linked any more, and whatever the case that somebody wrote them in.
func TestUnlinkedHubs(t *testing.T) {
	h := newFixture(t)
	b, service := h.loggedIn(web.Operator), h.Provisioning
	for _, hub := range h.Hubs.All() {
		h.Must(service.Links().Add(ctx, linkedHub{host: hub.Host()}))
	}
	h.Must(service.Links().Add(ctx, linkedHub{host: "east.example.com"}))
	one := enroll.Enrollment{RegistrationID: "one", Settings: enroll.Settings{HubHostName: "EAST.example.com",
		Attestation: enroll.AttestationMechanism{Type: "symmetricKey"}}}
	some := enroll.Enrollment{RegistrationID: "some",
		Settings: enroll.Settings{Hubs: []string{"East.Example.com", "127.0.0.1"},
			Attestation: one.Attestation}}
	for _, enrollment := range []enroll.Enrollment{one, some} {
		_, err := service.Enrollments().Create(ctx, enrollment)
		h.Must(err)
	}
	look := func(hub string) {
		t.Helper()
		_, page := b.Get("enrollment/one")
		b.Shows(page, "<option selected>"+hub+"</option>")
		_, page = b.Get("enrollment/some")
		b.Shows(page, `name="hubs" value="`+hub+`" checked`, `name="hubs" value="127.0.0.1" checked`)
	}
	look("east.example.com")
	page := b.Send("link/east.example.com/unlink", http.StatusOK, url.Values{})
	b.Shows(page, "The enrollment one names the hub east.example.com", `name="confirm"`)
	err := service.Links().Delete(ctx, "east.example.com", "", false)
	if !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "The enrollment one names the hub") {
		t.Errorf("unlinking a hub that an enrollment names is answered %v", err)
	}
	h.Must(service.Links().Delete(ctx, "east.example.com", "", true))
	_, page = b.Get("enrollment/one")
	b.Shows(page, "<option selected>EAST.example.com</option>")
	stored, err := service.Enrollments().Get(ctx, "some")
	h.Must(err)
	b.Send("enrollment/some", http.StatusOK, url.Values{"mechanism": {"symmetricKey"}, "hubs": {"East.Example.com",
		"127.0.0.1"}, "etag": {stored.ETag}})
	if stored, err = service.Enrollments().Get(ctx, "some"); err != nil ||
		stored.ProvisioningStatus != enroll.Disabled ||
		len(stored.Hubs) != 2 {
		t.Errorf("the enrollment is %+v, error %v", stored, err)
	}
}

// linkedHub is a hub that no device comes to.
type linkedHub struct {
	linkedhub.Hub
	host string
}

func (l linkedHub) Host() string                    { return l.host }
func (l linkedHub) Check(linkedhub.Admission) error { return nil }
