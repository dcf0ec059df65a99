package provisioningpages

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/portal/portaltest"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning/enroll"
)

func TestGroupOfAuthority(t *testing.T) {
	h := newFixture(t)
	b, first := h.loggedIn(web.Operator), h.AuthorityCertificate("Factory")
	b.Shows(b.Send("groups/new", http.StatusBadRequest, url.Values{"groupId": {"factory"}, "mechanism": {"x509"}}),
		`id="primary-error"`, "is missing")
	b.Shows(b.Send("groups/new", http.StatusBadRequest,
		url.Values{"groupId": {"factory"}, "mechanism": {"x509"}, "primary": {h.DeviceCertificate("a-device")}}),
		"is not an authority")
	b.Shows(b.Send("groups/new", http.StatusBadRequest,
		url.Values{"groupId": {"a b"}, "mechanism": {"x509"}, "primary": {first}}), `id="groupId-error"`, `value="a b"`)
	b.Shows(b.Send("enrollments/certificate?which=primary&of=group", http.StatusOK, url.Values{"primary": {first}}),
		"CN=Factory")

	b.Send("groups/new", http.StatusOK,
		url.Values{"groupId": {"factory"}, "mechanism": {"x509"}, "primary": {first}, "enabled": {"yes"}, "hub": {""},
			"initialTwin": {`{"tags":{"line":7}}`}, "reprovision": {"never"}})
	group, err := h.Provisioning.Groups().Get(ctx, "factory")
	h.Must(err)
	if got := group.Attestation.X509.SigningCertificates.Primary.Info.SubjectName; got != "CN=Factory" {
		t.Errorf("the group is signed by %s", got)
	}
	if group.ReprovisionPolicy.UpdateHubAssignment || string(group.InitialTwin.Tags) != `{"line":7}` ||
		group.ProvisioningStatus != enroll.Enabled {
		t.Errorf("the group was saved as %+v", group)
	}

	// The certificate stays when none is sent, and a second one joins it.
	b.Send("group/factory", http.StatusOK,
		url.Values{"mechanism": {"x509"}, "secondary": {h.AuthorityCertificate("Next")}, "etag": {group.ETag}})
	changed, err := h.Provisioning.Groups().Get(ctx, "factory")
	h.Must(err)
	signers := changed.Attestation.X509.SigningCertificates
	if signers.Primary.Info.SubjectName != "CN=Factory" || signers.Secondary == nil ||
		signers.Secondary.Info.SubjectName != "CN=Next" || changed.ProvisioningStatus != enroll.Disabled {
		t.Errorf("the group was changed to %+v", changed)
	}

	// Who read it before that overwrites nothing.
	page := b.Send("group/factory", http.StatusPreconditionFailed,
		url.Values{"mechanism": {"x509"}, "enabled": {"yes"}, "etag": {group.ETag}})
	b.Shows(page, `class="diff"`, "CN=Next", `value="&#34;`)
	h.Must(h.Provisioning.Groups().Delete(ctx, "factory", ""))
	page = b.Send("group/factory", http.StatusPreconditionFailed,
		url.Values{"mechanism": {"x509"}, "etag": {changed.ETag}})
	b.Shows(page, "deleted meanwhile", `name="etag" value=""`)
	b.Send("group/factory", http.StatusBadRequest, url.Values{"mechanism": {"x509"}, "etag": {""}})
	b.Send("group/factory", http.StatusOK, url.Values{"mechanism": {"x509"}, "primary": {first}, "etag": {""}})
	if _, err := h.Provisioning.Groups().Get(ctx, "factory"); err != nil {
		t.Errorf("the group was not made anew: %v", err)
	}
}

// TestGroupOfNamedAuthority sees that the form leaves a group with the authority
// that it names, unless a certificate takes its place.
func TestGroupOfNamedAuthority(t *testing.T) {
	h := newFixture(t)
	service := h.Provisioning
	_, err := service.Authorities().Put(ctx, "root", []byte(h.AuthorityCertificate("web.Root")), true, "")
	h.Must(err)
	group, err := service.Groups().Create(ctx,
		enroll.Group{EnrollmentGroupID: "line", Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{
			Type: "x509", X509: &enroll.X509Attestation{CAReferences: &enroll.X509CAReferences{Primary: "root"}}}}})
	h.Must(err)
	b := h.loggedIn(web.Operator)
	_, page := b.Get("group/line")
	b.Shows(page, "<option selected>root</option>")
	b.Send("group/line", http.StatusOK,
		url.Values{"mechanism": {"x509"}, "enabled": {"yes"}, "iotEdge": {"yes"}, "etag": {group.ETag}})
	changed, err := service.Groups().Get(ctx, "line")
	h.Must(err)
	if x := changed.Attestation.X509; x.CAReferences == nil || x.CAReferences.Primary != "root" ||
		!changed.Capabilities.IoTEdge {
		t.Errorf("the group was changed to %+v", changed)
	}
	b.Send("group/line", http.StatusOK,
		url.Values{"mechanism": {"x509"}, "primary": {h.AuthorityCertificate("Own")}, "etag": {changed.ETag}})
	changed, err = service.Groups().Get(ctx, "line")
	h.Must(err)
	if x := changed.Attestation.X509; x.CAReferences != nil ||
		x.SigningCertificates.Primary.Info.SubjectName != "CN=Own" {
		t.Errorf("the group was changed to %+v", changed.Attestation.X509)
	}
}

func TestGroupOfKeys(t *testing.T) {
	h := newFixture(t)
	b, service := h.loggedIn(web.Operator), h.Provisioning
	page := b.Send("groups/new", http.StatusBadRequest,
		url.Values{"groupId": {"meters"}, "mechanism": {"symmetricKey"}, "secondaryKey": {"short"}})
	b.Shows(page, `id="secondaryKey-error"`, `value="short"`)
	// What is typed for the mechanism that is not chosen does not count.
	b.Send("groups/new", http.StatusOK,
		url.Values{"groupId": {"meters"}, "mechanism": {"symmetricKey"}, "primary": {"no certificate"},
			"enabled": {"yes"}})
	mechanism, err := service.Groups().AttestationMechanism(ctx, "meters")
	h.Must(err)
	stored := mechanism.SymmetricKey
	derived := attest.DeriveKey(stored.PrimaryKey, "Meter-1")
	reader := h.loggedIn(web.Reader)
	for _, shown := range []struct {
		who  *portaltest.Browser
		path string
		keys bool
		own  bool // of the device
	}{
		{b, "groups", false, false}, {b, "group/meters", false, false}, {b, "group/meters?show=keys", true, false},
		{b, "group/meters?registrationId=Meter-1", false, true}, {b, "group/meters?registrationId=a%20b", false, false},
		{reader, "group/meters?show=keys&registrationId=Meter-1", false, false},
	} {
		status, page := shown.who.Get(shown.path)
		page = strings.ReplaceAll(page, "&#43;", "+")
		if status != http.StatusOK || strings.Contains(page, stored.PrimaryKey) != shown.keys ||
			strings.Contains(page, stored.SecondaryKey) != shown.keys || strings.Contains(page, derived) != shown.own {
			t.Errorf("%s is answered %d:\n%s", shown.path, status, page)
		}
	}
	_, page = b.Get("group/meters?registrationId=a%20b")
	b.Shows(page, `id="registrationId-error"`)

	// Keys stay when none are typed, and one can be changed alone.
	group, err := service.Groups().Get(ctx, "meters")
	h.Must(err)
	other := credential.NewKey(32)
	b.Send("group/meters", http.StatusOK,
		url.Values{"mechanism": {"symmetricKey"}, "secondaryKey": {other}, "etag": {group.ETag}})
	mechanism, err = service.Groups().AttestationMechanism(ctx, "meters")
	h.Must(err)
	if got := *mechanism.SymmetricKey; got.PrimaryKey != stored.PrimaryKey || got.SecondaryKey != other {
		t.Errorf("the keys were changed to %+v", got)
	}
}

func TestGroupsAreDeleted(t *testing.T) {
	h := newFixture(t)
	b := h.loggedIn(web.Operator)
	for _, id := range []string{"one", "two"} {
		b.Send("groups/new", http.StatusOK, url.Values{"groupId": {id}, "mechanism": {"symmetricKey"}})
	}
	b.Shows(b.Send("groups/new", http.StatusConflict, url.Values{"groupId": {"ONE"}, "mechanism": {"symmetricKey"}}),
		"already")
	b.Shows(b.Send("groups/delete", http.StatusOK, url.Values{"id": {"one", "two"}}), "Delete 2 enrollment groups?")
	b.Shows(b.Send("groups/delete", http.StatusOK, url.Values{"id": {"one", "two", "gone"}, "confirm": {"yes"}}),
		"3 enrollment groups were deleted", "There is no enrollment group yet")
}

func TestEnrollmentWithKeys(t *testing.T) {
	h := newFixture(t)
	b, service := h.loggedIn(web.Operator), h.Provisioning
	b.Shows(b.Send("enrollments/new", http.StatusBadRequest,
		url.Values{"mechanism": {"symmetricKey"}, "primary": {h.DeviceCertificate("named")}}),
		`id="registrationId-error"`)
	given := credential.NewKey(16)
	b.Send("enrollments/new", http.StatusOK,
		url.Values{"registrationId": {"meter"}, "mechanism": {"symmetricKey"}, "primaryKey": {given},
			"enabled": {"yes"}})
	mechanism, err := service.Enrollments().AttestationMechanism(ctx, "meter")
	h.Must(err)
	if mechanism.SymmetricKey.PrimaryKey != given || mechanism.SymmetricKey.SecondaryKey == "" {
		t.Errorf("the enrollment has the mechanism %+v", mechanism)
	}
	for path, want := range map[string]bool{"enrollments": false, "enrollment/meter": false,
		"enrollment/meter?show=keys": true} {
		if _, page := b.Get(path); strings.Contains(strings.ReplaceAll(page, "&#43;", "+"), given) != want {
			t.Errorf("%s shows the key: %t, want %t", path, !want, want)
		}
	}
	if _, page := h.loggedIn(web.Reader).Get("enrollment/meter?show=keys"); strings.Contains(strings.ReplaceAll(page,
		"&#43;", "+"), given) {
		t.Error("a reader sees the key")
	}
	// From keys to a certificate.
	enrollment, err := service.Enrollments().Get(ctx, "meter")
	h.Must(err)
	b.Shows(b.Send("enrollment/meter", http.StatusBadRequest,
		url.Values{"mechanism": {"x509"}, "etag": {enrollment.ETag}}), `id="primary-error"`)
	b.Send("enrollment/meter", http.StatusOK,
		url.Values{"mechanism": {"x509"}, "primary": {h.DeviceCertificate("meter")}, "etag": {enrollment.ETag}})
	mechanism, err = service.Enrollments().AttestationMechanism(ctx, "meter")
	h.Must(err)
	if mechanism.Type != "x509" || mechanism.SymmetricKey != nil {
		t.Errorf("the enrollment has the mechanism %+v", mechanism)
	}
}

func TestRemedyOf(t *testing.T) {
	trace := func(names ...string) (checks attest.Trace) { // the last fails
		for i, name := range names {
			name, saw, _ := strings.Cut(name, "=")
			checks = append(checks, attest.Check{Name: name, Saw: saw, Passed: i < len(names)-1})
		}
		return checks
	}
	for _, example := range []struct {
		name     string
		attempt  attest.Attempt
		enrolled bool
		want     string
	}{
		{"another scope", attest.Attempt{Outcome: attest.Refused, Checks: trace("ID scope")}, true, ""},
		{"not enrolled", attest.Attempt{Outcome: attest.Refused, Checks: trace("ID scope", "enrollment")}, false,
			"enrollments/new?registrationId=d"},
		{"its own",
			attest.Attempt{Outcome: attest.Refused, Enrolled: true,
				Checks: trace("enrollment=individual, X.509", "certificate")}, true, "enrollment/d"},
		{"its own, deleted since",
			attest.Attempt{Outcome: attest.Refused, Enrolled: true,
				Checks: trace("enrollment=individual, X.509", "certificate")}, false,
			"enrollments/new?registrationId=d"},
		{"a group's", attest.Attempt{Outcome: attest.Refused, Checks: trace("enrollment=group g, X.509", "validity")},
			false, "groups"},
		{"a disabled group's",
			attest.Attempt{Outcome: attest.Refused, Enrolled: true,
				Checks: trace("enrollment=group g, X.509", "status")}, false, "groups"},
		{"a group's, without a hub",
			attest.Attempt{Outcome: attest.Failed, Enrolled: true,
				Checks: trace("enrollment=group g, symmetric key", "allocation")}, false, "groups"},
		{"before all that", attest.Attempt{Outcome: attest.Refused, Checks: trace("registration id")}, false,
			"quickstart"},
	} {
		example.attempt.RegistrationID = "d"
		failed, _ := example.attempt.Checks.Failed()
		if got := remedyOf(example.attempt, failed.Name, example.enrolled); got.Path != example.want {
			t.Errorf("%s: %q, want %q", example.name, got.Path, example.want)
		}
	}
}

// TestReplacingDevices is the setting of a group, as the form shows and writes it.
func TestReplacingDevices(t *testing.T) {
	h := newFixture(t)
	b := h.loggedIn(web.Operator)
	const unchecked, checked = `name="replace" value="yes" aria`, `name="replace" value="yes" checked`
	b.Send("groups/new", http.StatusOK,
		url.Values{"groupId": {"meters"}, "mechanism": {"symmetricKey"}, "enabled": {"yes"}})
	_, page := b.Get("group/meters")
	b.Shows(page, unchecked)
	for _, step := range []struct{ typed, shown string }{{"yes", checked}, {"", unchecked}, {"yes", checked}} {
		group, err := h.Provisioning.Groups().Get(ctx, "meters")
		h.Must(err)
		b.Send("group/meters", http.StatusOK,
			url.Values{"mechanism": {"symmetricKey"}, "enabled": {"yes"}, "etag": {group.ETag},
				"replace": {step.typed}})
		_, page := b.Get("group/meters")
		b.Shows(page, step.shown)
	}
}
