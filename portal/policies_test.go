package portal

import (
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/berth-iot/berth/portal/web"
)

// TestPages loads the pages that are of neither service, or of both, in both languages.
func TestPages(t *testing.T) {
	h := newFixture(t)
	h.fill()
	operator, reader := h.loggedIn(web.Operator), h.loggedIn(web.Reader)
	for _, c := range []struct {
		path            string
		status          int
		english, french string
	}{
		{"", 200, "Registrations over time", "Vue d'ensemble"},
		{"quickstart", 200, "Python-device-01", "Démarrage rapide"},
		{"quickstart?os=windows&id=mine", 200, "winpty openssl", `"//CN=mine"`},
		{"quickstart?os=macos&id=e1", 200, "e1", "Démarrage rapide"},
		{"policies", 200, "provisioningserviceowner", "Stratégies d'accès partagé"},
		{"policies/new", 200, "change the service: hubs, policies, certificate authorities", `name="right"`},
		{"policy/provisioningserviceowner", 200, "provisioningserviceowner", `name="right"`},
		{"policy/none", 404, "Not found", "none"},
		{"hubs/berth/policies", 200, "iothubowner", "Stratégies d'accès partagé"},
		{"hubs/none/policies", 404, `There is no hub "none" here`, `Il n'y a pas de hub "none" ici`},
		{"audit", 200, "e1", "Audit"},
		{"nowhere", 404, "There is no such page", "nowhere"},
	} {
		for language, want := range map[string]string{"en": c.english, "fr": c.french} {
			for _, b := range []func(string, string) (int, string){operator.GetIn, reader.GetIn} {
				status, page := b(language, c.path)
				if status != c.status || c.path != "nowhere" && !strings.Contains(html.UnescapeString(page), want) {
					t.Errorf("%s in %s is answered %d without %q", c.path, language, status, want)
				}
			}
		}
	}
}

// TestPolicies creates a policy of the provisioning service, changes its rights, makes a
// key anew and deletes it. Whoever keeps what policies allow is told of each change.
func TestPolicies(t *testing.T) {
	changes := 0
	h := newFixture(t, func(c *Config) { c.PoliciesChanged = func() { changes++ } })
	b := h.loggedIn(web.Operator)
	page := b.Send("policies/new", 400, url.Values{"name": {"mine"}, "right": {"EnrollmentRead", "Everything"}})
	b.Shows(html.UnescapeString(page), "Everything", `value="mine"`)
	b.Send("policies/new", 400, url.Values{"name": {"not a name!"}, "right": {"EnrollmentRead"}})
	page = b.Send("policies/new", 200, url.Values{"name": {"mine"}, "right": {"EnrollmentRead"}})
	b.Shows(page, "The shared access policy mine was saved")
	b.Send("policies/new", 409, url.Values{"name": {"mine"}, "right": {"EnrollmentRead"}})

	stored, err := h.Provisioning.Access().Get(ctx, "mine")
	h.Must(err)
	both := []string{"EnrollmentRead", "EnrollmentWrite"}
	b.Send("policy/mine", 412, url.Values{"right": both, "etag": {"stale"}})
	b.Send("policy/mine", 200, url.Values{"right": both, "etag": {stored.ETag}})
	changed, err := h.Provisioning.Access().Get(ctx, "mine")
	h.Must(err)
	if len(changed.Rights) != 2 || changed.PrimaryKey != stored.PrimaryKey {
		t.Errorf("the policy is stored as %+v", changed)
	}

	page = b.Send("policy/mine/renew", 200, url.Values{"key": {"primary"}})
	b.Shows(page, `name="confirm" value="yes"`)
	b.Send("policy/mine/renew", 200, url.Values{"key": {"primary"}, "confirm": {"yes"}})
	b.Send("policy/mine/renew", 400, url.Values{"key": {"third"}, "confirm": {"yes"}})
	b.Send("policy/none/renew", 404, url.Values{"key": {"primary"}})
	renewed, err := h.Provisioning.Access().Get(ctx, "mine")
	h.Must(err)
	if renewed.PrimaryKey == stored.PrimaryKey || renewed.SecondaryKey != stored.SecondaryKey {
		t.Error("not the primary key alone is another")
	}

	b.Shows(b.Send("policies/delete", 200, url.Values{"id": {"mine"}}), "Delete 1 shared access policy?")
	page = b.Send("policies/delete", 200, url.Values{"id": {"mine"}, "confirm": {"yes"}})
	b.Shows(page, "1 shared access policy was deleted")
	if changes != 4 {
		t.Errorf("of 4 changes %d were told of", changes)
	}
	// A form of another session comes back as it was typed.
	status, page := b.Post("policies/new", url.Values{"csrf": {"old"}, "name": {"typed"}, "right": {"EnrollmentWrite"}})
	if status != http.StatusOK {
		t.Errorf("a form of another session is answered %d", status)
	}
	b.Shows(page, `value="typed"`, "check what you typed and send it again")
}

// TestConnectionStrings shows those that an operator asks for, one at a time.
func TestConnectionStrings(t *testing.T) {
	h := newFixture(t)
	b := h.loggedIn(web.Operator)
	for path, host := range map[string]string{
		"?show=localhost/provisioningserviceowner":         "localhost",
		"?show=127.0.0.1/iothubowner":                      "127.0.0.1",
		"policies?show=localhost/provisioningserviceowner": "localhost",
		"hubs/berth/policies?show=127.0.0.1/iothubowner":   "127.0.0.1",
	} {
		_, page := b.Get(path)
		shown := strings.Count(page, "HostName="+host+";SharedAccessKeyName=")
		if all := strings.Count(page, "SharedAccessKey="); shown != 2 || all != 2 {
			t.Errorf("%q shows %d connection strings, %d of %s", path, all, shown, host)
		}
	}
}

// TestQuickstartProgress follows the device of the quickstart from its enrollment on.
func TestQuickstartProgress(t *testing.T) {
	h := newFixture(t)
	b := h.loggedIn(web.Reader)
	_, before := b.Get("quickstart?id=q1")
	h.Enroll("q1")
	h.Attempt("refused", "q1")
	_, after := b.Get("quickstart?id=q1")
	if before == after {
		t.Error("the page does not follow the device")
	}
	b.Shows(after, "attempts/0")
}
