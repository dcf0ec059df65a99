package provisioningpages

import (
	"context"
	"errors"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// TestPages loads each page in both languages, as both roles.
func TestPages(t *testing.T) {
	h := newFixture(t)
	h.Enroll("e1")
	h.EnrollGroup("g1")
	h.Attempt(attest.Assigned, "good")
	h.Attempt(attest.Refused, "bad")
	_, err := h.Provisioning.Networks().Put(ctx,
		allocation.Network{Prefix: "192.0.2.0/24", Latencies: map[string]float64{"west": 3}}, "")
	h.Must(err)
	operator, reader := h.loggedIn(web.Operator), h.loggedIn(web.Reader)
	for _, c := range []struct {
		path            string
		status          int
		english, french string
	}{
		{"enrollments", 200, "e1", "Inscriptions individuelles"},
		{"enrollments/new", 200, `name="registrationId"`, "IoT Edge"},
		{"enrollment/e1", 200, "e1", "e1"},
		{"enrollment/none", 404, `There is no enrollment "none"`, `"none"`},
		{"groups", 200, "g1", "Groupes d'inscription"},
		{"groups/new", 200, `name="groupId"`, "IoT Edge"},
		{"group/g1", 200, "g1", "g1"},
		{"group/none", 404, "Not found", "none"},
		{"enrollments/exchange", 200, "Columns of CSV", "CSV"},
		{"groups/exchange", 200, "File (.json)", "JSON"},
		{"enrollments/export?format=xml", 400, "xml", "xml"},
		{"registrations", 200, "Registration records", "Enregistrements d'inscription"},
		{"registrations?status=failed&prefix=zz", 200, "zz", "zz"},
		{"attempts", 200, "good", "Tentatives d'inscription"},
		{"attempts?outcome=refused", 200, "bad", "bad"},
		{"attempts?before=1", 200, "good", "good"},
		{"attempts/1", 200, "bad", "bad"},
		{"attempts/99", 404, "Not found", ""},
		{"attempts/first", 404, "There is no such page", ""},
		{"attempts/1/saved", 200, `"registrationId": "bad"`, `"registrationId": "bad"`},
		{"attempts/first/saved", 404, "There is no such page", ""},
		{"attempts/99/saved", 404, "Not found", ""},
		{"lockouts", 200, "Lock-outs", "Blocages"},
		{"misbehaviours", 200, "Fault injection", "Pannes provoquées"},
		{"hubs", 200, "Linked IoT hubs", "Hubs IoT liés"},
		{"linkhub", 200, "Add a hub", `name="connectionString"`},
		{"link/none", 404, "none", "none"},
		{"allocate", 200, "Where would a device go?", `name="id"`},
		{"allocate?id=a%20b", 400, "a b", "a b"},
		{"networks", 200, "west=3", "Réseaux"},
		{"networks/new", 200, "Add a network", `name="prefix"`},
		{"network/192.0.2.0%2F24", 200, "west=3", "west=3"},
		{"network/none", 404, `There is no network "none"`, `"none"`},
		{"certificates", 200, "Certificates", "Certificats"},
		{"certificates/new", 200, "Add a certificate authority", `name="certificate"`},
		{"certificate/none", 404, "Not found", ""},
		{"check", 200, "Check a certificate chain", "Vérifier une chaîne de certificats"},
		{"credentials", 200, "Operational certificates", "Certificats opérationnels"},
		{"credentials?prefix=d1", 200, "d1", "d1"},
		{"credentials/new", 200, "43200", "43200"},
		{"credential/none", 404, "Not found", ""},
		{"issuer/none", 404, "Not found", ""},
		{"imports/none", 404, "This import is not known any more", ""},
	} {
		for language, want := range map[string]string{"en": c.english, "fr": c.french} {
			for _, get := range []func(string, string) (int, string){operator.GetIn, reader.GetIn} {
				status, page := get(language, c.path)
				if status != c.status || !strings.Contains(html.UnescapeString(page), want) {
					t.Errorf("%s in %s is answered %d without %q", c.path, language, status, want)
				}
			}
		}
	}
}

// TestPagesNeedSession asks for every page as somebody who is not logged in, and has
// a reader try every change.
func TestPagesNeedSession(t *testing.T) {
	h := newFixture(t)
	stranger, reader := h.Browser(), h.loggedIn(web.Reader)
	token := reader.Token()
	for _, routes := range New(Config{Provisioning: h.Provisioning, Hubs: h.Hubs}).Section().Routes {
		for pattern := range routes {
			method, path, _ := strings.Cut(pattern, " ")
			path = strings.NewReplacer("{id}", "d1", "{name}", "n", "{host}", "h", "{prefix}", "p", "{sequence}", "0").
				Replace(path)
			form := url.Values{"id": {"d1"}, "confirm": {"yes"}, "csrf": {token}}
			if method == http.MethodGet {
				form = nil
			}
			if status, _ := stranger.Do(stranger.NewRequest(method, path, form)); status != http.StatusUnauthorized {
				t.Errorf("%s of a stranger is answered %d", pattern, status)
			}
			inspects := strings.HasPrefix(path, "enrollments/") && !strings.HasSuffix(path, "/new") &&
				!strings.HasSuffix(path, "/delete")
			if method == http.MethodGet || inspects {
				continue
			}
			if status, _ := reader.Post(path, form); status != http.StatusForbidden {
				t.Errorf("%s of a reader is answered %d", pattern, status)
			}
		}
	}
}

// TestNetworks adds a network, changes and deletes it.
func TestNetworks(t *testing.T) {
	h := newFixture(t)
	b := h.loggedIn(web.Operator)
	const path = "network/192.0.2.0%2F24"
	for _, c := range []struct {
		path   string
		status int
		form   url.Values
		says   string
	}{
		{"networks/new", 400, url.Values{"prefix": {"192.0.2.0/24"}, "latencies": {"west"}},
			`The line "west" is not a latency`},
		{"networks/new", 400, url.Values{"prefix": {"no network"}, "latencies": {"west=1"}}, "no network"},
		{"networks/new", 200, url.Values{"prefix": {"192.0.2.0/24"}, "latencies": {"\nwest = 1\r\neast=2.5\n"}},
			"was saved"},
		{"networks/new", 409, url.Values{"prefix": {"192.0.2.0/24"}, "latencies": {"west=1"}}, "There is a network"},
		{path, 412, url.Values{"latencies": {"west=9"}, "etag": {"stale"}}, "west=9"},
		{"networks/delete", 200, url.Values{"id": {"192.0.2.0/24"}}, "Delete 1 network?"},
		{"networks/delete", 200, url.Values{"id": {"192.0.2.0/24"}, "confirm": {"yes"}}, "1 network was deleted"},
	} {
		b.Shows(html.UnescapeString(b.Send(c.path, c.status, c.form)), c.says)
		if c.says == "was saved" {
			if _, page := b.Get(path); !strings.Contains(page, "east=2.5\nwest=1</textarea>") {
				t.Errorf("the form of the network has\n%s", page)
			}
		}
	}
}

// TestLinks links a hub of this server that is created, changes the link, previews an
// allocation and ends the link.
func TestLinks(t *testing.T) {
	h := newFixture(t, func(c *Config) {
		c.CreateHub = func(ctx context.Context, name, host string) (linkedhub.Link, error) {
			if name == "" {
				return linkedhub.Link{}, fault.New(fault.ArgumentInvalid, "The name is empty")
			}
			return linkedhub.Link{HostName: host}, nil
		}
	})
	b := h.loggedIn(web.Operator)
	b.Shows(b.Send("createhub", 400, url.Values{"host": {"h.example"}}), "The name is empty")
	b.Shows(
		b.Send("createhub", 200, url.Values{"name": {"second"}, "host": {"h.example"}}),
		"The hub h.example was created and linked",
	)
	const text = "HostName=far.example;SharedAccessKeyName=iothubowner;SharedAccessKey=QUJDREVGR0hJSktMTU5PUA=="
	for _, c := range []struct {
		status int
		form   url.Values
		says   string
	}{
		{400, url.Values{"connectionString": {text}, "weight": {"many"}},
			`The weight must be a whole number from 0 to 1000, not "many"`},
		{400, url.Values{"connectionString": {"junk"}, "weight": {"1"}}, `name="connectionString"`},
		{400, url.Values{"connectionString": {text}, "weight": {"5000"}}, "5000"},
	} {
		b.Shows(html.UnescapeString(b.Send("linkhub", c.status, c.form)), c.says)
	}
	for _, path := range []string{"link/none", "link/none/unlink"} {
		b.Send(path, 404, url.Values{"weight": {"1"}})
	}
	if host := hostOfConnectionString(text); host != "far.example" {
		t.Errorf("the host of the connection string is %q", host)
	}
	_, page := b.Get("allocate?id=d1&group=none&from=192.0.2.1")
	b.Shows(html.UnescapeString(page), "none")
	h.Enroll("d1")
	_, page = b.Get("allocate?id=d1&from=192.0.2.1")
	b.Shows(html.UnescapeString(page), "berth allocate d1 --dry-run --from 192.0.2.1")
}

// TestInjections arms a fault that devices meet, and ends it.
func TestInjections(t *testing.T) {
	h := newFixture(t)
	b := h.loggedIn(web.Operator)
	for _, c := range []struct {
		status int
		form   url.Values
		says   string
	}{
		{400, url.Values{"kind": {"fail"}, "times": {"often"}}, "are whole numbers"},
		{400, url.Values{"kind": {"delay"}, "seconds": {"long"}}, "are whole numbers"},
		{400, url.Values{"kind": {"explode"}}, "explode"},
		{200, url.Values{"kind": {"delay"}, "times": {"3"}, "seconds": {"2"}, "registrationId": {" d1 "}}, "d1"},
	} {
		b.Shows(html.UnescapeString(b.Send("misbehaviours", c.status, c.form)), c.says)
	}
	injected, err := h.Provisioning.Injector().List(ctx)
	h.Must(err)
	if len(injected) != 1 || injected[0].RegistrationID != "d1" || injected[0].Times != 3 || injected[0].Seconds != 2 {
		t.Fatalf("injected are %+v", injected)
	}
	b.Send("misbehaviours/stop", 200, url.Values{"id": {injected[0].ID}})
	b.Send("misbehaviours/stop", 200, url.Values{"id": {injected[0].ID}}) // it may have been used up meanwhile
	if injected, _ = h.Provisioning.Injector().List(ctx); len(injected) != 0 {
		t.Errorf("still injected are %+v", injected)
	}
}

// TestLockouts: an address that is not locked out any more is lifted as well.
func TestLockouts(t *testing.T) {
	h := newFixture(t)
	page := h.loggedIn(web.Operator).Send("lockouts/lift", 200, url.Values{"source": {"192.0.2.7"}})
	if !strings.Contains(page, "192.0.2.7 is no longer locked out") {
		t.Errorf("the page says\n%s", page)
	}
	for d, want := range map[time.Duration]string{90 * time.Second: "1m30s", 10 * time.Minute: "10m",
		2 * time.Hour: "2h", time.Hour + time.Minute: "1h1m", 0: "0s"} {
		if text := formatDuration(d); text != want {
			t.Errorf("%d ns are %q, want %q", d, text, want)
		}
	}
}

// TestVerifyAuthority uploads an authority and proves that somebody holds its key.
func TestVerifyAuthority(t *testing.T) {
	h := newFixture(t)
	b := h.loggedIn(web.Operator)
	const bad = "junk"
	b.Shows(
		html.UnescapeString(b.Send("certificates/new", 400, url.Values{"name": {"a"}})),
		"The authority's certificate is missing",
	)
	b.Send("certificates/new", 400, url.Values{"name": {"a"}, "certificate": {bad}})
	b.Send(
		"certificates/new",
		400,
		url.Values{"name": {"not a name!"}, "certificate": {h.AuthorityCertificate("Factory")}},
	)
	page := b.Send("certificates/new", 200,
		url.Values{"name": {"a"}, "certificate": {h.AuthorityCertificate("Factory")}})
	b.Shows(page, "The certificate authority a was saved", "Generate verification code")
	page = b.Send("certificate/a/code", 200, url.Values{})
	code := regexp.MustCompile(`/CN=([0-9A-Fa-f]+)`).FindStringSubmatch(page)
	if code == nil {
		t.Fatalf("the page names no code:\n%s", page)
	}
	b.Shows(
		html.UnescapeString(b.Send("certificate/a/verify", 400, url.Values{})),
		"The verification certificate is missing",
	)
	b.Send("certificate/a/verify", 400, url.Values{"proof": {h.DeviceCertificate(code[1])}}) // not signed by it
	b.Send("certificate/none/code", 404, url.Values{})
	b.Send("certificate/none/verify", 404, url.Values{})
	page = b.Send(
		"certificates/new",
		200,
		url.Values{"name": {"trusted"}, "certificate": {h.AuthorityCertificate("Other")}, "trust": {"yes"}},
	)
	b.Shows(page, "trusted")
}

// TestCredentialPolicies creates a policy for certificates, changes and deletes it.
func TestCredentialPolicies(t *testing.T) {
	h := newFixture(t)
	b := h.loggedIn(web.Operator)
	b.Shows(b.Send("credentials", 200, url.Values{"name": {"ca"}}), "The issuing authority ca was created")
	b.Send("credentials", 409, url.Values{"name": {"ca"}})
	form := func(name, validity string, keys ...string) url.Values {
		return url.Values{
			"name":      {name},
			"authority": {"ca"},
			"validity":  {validity},
			"keyType":   keys,
			"dnsNames":  {"a.example\nb.example"},
		}
	}
	const ec = "ec-p256"
	b.Shows(html.UnescapeString(b.Send("credentials/new", 400, form("p", "long", ec))),
		`The validity must be a whole number of minutes, not "long"`)
	b.Shows(b.Send("credentials/new", 400, form("p", "60")), "Tick the kinds of keys")
	b.Shows(b.Send("credentials/new", 200, form("p", "120", ec)), "The credential policy p was saved", "2 hours")
	b.Shows(
		html.UnescapeString(b.Send("credentials/new", 409, form("p", "60", ec))),
		"There is a credential policy \"p\" already",
	)
	_, page := b.Get("credential/p")
	b.Shows(page, "a.example\nb.example", `value="120"`)
	policy, err := h.Issuer.Policy(ctx, "p")
	h.Must(err)
	changed := form("", "2880", ec)
	changed.Set("etag", "stale")
	b.Send("credential/p", 412, changed)
	changed.Set("etag", policy.ETag)
	b.Shows(b.Send("credential/p", 200, changed), "2 days")
	b.Shows(b.Send("credentials/authorities/revoke", 200, url.Values{"id": {"ca"}}), "Revoke 1 issuing authority?")
	b.Shows(b.Send("credentials/revoke", 200, url.Values{"id": {"ABCD"}}), "Revoke 1 certificate?")
	b.Send("credentials/revoke", 200, url.Values{"id": {"ABCD"}, "confirm": {"yes"}})
	b.Shows(
		b.Send("credentials/delete", 200, url.Values{"id": {"p"}, "confirm": {"yes"}}),
		"1 credential policy was deleted",
	)
	if validity(languages[0], 61) != "61 minutes" {
		t.Error("61 minutes are not said so")
	}
}

// TestInspections tells at once what is wrong with what is typed.
func TestInspections(t *testing.T) {
	h := newFixture(t)
	b := h.loggedIn(web.Reader)
	for _, c := range []struct {
		path, field, text, says string
	}{
		{"enrollments/twin", "initialTwin", `{"tag":{}}`, "tag is not known here. There can be: properties, tags"},
		{"enrollments/twin", "initialTwin", `{"tags":{}}`, `id="initialTwin-error"`},
		{"enrollments/information", "deviceInformation", `{"a":1,}`, "This comma is too much"},
		{"enrollments/information", "deviceInformation", "", `id="deviceInformation-error"`},
		{"enrollments/certificate?which=primary", "primary", "junk", "primary"},
		{"enrollments/certificate?which=other", "primary", h.DeviceCertificate("d1"), "d1"},
		{"enrollments/certificate?which=proof&of=group", "proof", h.AuthorityCertificate("Factory"), "Factory"},
	} {
		status, page := b.Post(c.path, url.Values{c.field: {c.text}})
		if status != http.StatusOK || !strings.Contains(html.UnescapeString(page), c.says) {
			t.Errorf("%s of %.20q is answered %d without %q:\n%s", c.path, c.text, status, c.says, page)
		}
	}
}

// TestFormsOfAnotherSession come back as they were typed, and nothing is stored.
func TestFormsOfAnotherSession(t *testing.T) {
	h := newFixture(t)
	h.Enroll("e1")
	h.EnrollGroup("g1")
	b := h.loggedIn(web.Operator)
	for path, field := range map[string]string{
		"enrollments/new": "registrationId", "enrollment/e1": "deviceId", "groups/new": "groupId",
		"group/g1":     "webhook",
		"networks/new": "prefix", "linkhub": "address", "certificates/new": "name", "credentials/new": "name",
		"check": "registrationId",
	} {
		status, page := b.Post(
			path,
			url.Values{"csrf": {"old"}, "mechanism": {"symmetricKey"}, "allocation": {"custom"}, field: {"typed-1"}},
		)
		if status != http.StatusOK || !strings.Contains(page, "typed-1") {
			t.Errorf("%s is answered %d without what was typed", path, status)
		}
	}
	if _, err := h.Provisioning.Enrollments().Get(ctx, "typed-1"); !errors.Is(err, fault.EnrollmentNotFound) {
		t.Errorf("the enrollment is stored: %v", err)
	}
}
