package hubpages

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/portal/web"
)

const configurationsPath = "hubs/berth/configurations"

// newConfigurationForm returns a form that creates a configuration, with some of its fields
// otherwise.
func newConfigurationForm(more url.Values) url.Values {
	form := url.Values{"configurationId": {"c1"}, "condition": {"tags.site = 'Lyon'"}, "priority": {"10"},
		"content": {`{"deviceContent": {"properties.desired.interval": 7}}`}, "labels": {`{"of": "test"}`},
		"metrics": {`{"all": "SELECT deviceId FROM devices"}`}}
	for name, values := range more {
		form[name] = values
	}
	return form
}

var configurationETag = regexp.MustCompile(`name="etag" value="([^"]+)"`)

// TestConfigurationForm says at the form what is wrong, saves what is right, and does not
// overwrite what somebody else has changed.
func TestConfigurationForm(t *testing.T) {
	h := newFixture(t)
	b := h.loggedIn(web.Operator)
	for _, c := range []struct {
		more   url.Values
		status int
		says   string
	}{
		{url.Values{"configurationId": {"A B"}}, 400, "The id of a configuration must have"},
		{url.Values{"condition": {"tags.site ="}}, 400, "can't be read"},
		{url.Values{"priority": {"high"}}, 400, `The priority must be a whole number, not "high"`},
		{url.Values{"content": {`{"other": {}}`}}, 400, "other is not known here"},
		{url.Values{"content": {"{}"}}, 400, "exactly one of deviceContent"},
		{url.Values{"labels": {"["}}, 400, "Line 1, column 2:"},
		{url.Values{"metrics": {`{"m": "SELECT"}`}}, 400, `The metric "m"`},
	} {
		page := html.UnescapeString(b.Send(configurationsPath+"/new", c.status, newConfigurationForm(c.more)))
		if b.Shows(page, c.says); !strings.Contains(page, "<textarea") {
			t.Errorf("%v is not answered with the form", c.more)
		}
	}
	status, page := b.Post(configurationsPath+"/new", newConfigurationForm(url.Values{"csrf": {"old"}}))
	if status != http.StatusOK {
		t.Errorf("a form of another session is answered %d", status)
	}
	b.Shows(html.UnescapeString(page), "tags.site = 'Lyon'</textarea>", "check what you typed and send it again")

	page = html.UnescapeString(b.Send(configurationsPath+"/new", 200, newConfigurationForm(nil)))
	b.Shows(page, "The configuration was saved", "tags.site = 'Lyon'", `"properties.desired.interval": 7`, "of=test",
		"SELECT deviceId FROM devices")
	b.Send(configurationsPath+"/new", 409, newConfigurationForm(nil))

	const path = "hubs/berth/configuration/c1/change"
	_, page = b.Get(path)
	first := configurationETag.FindStringSubmatch(page)[1]
	page = b.Send(path, 200, newConfigurationForm(url.Values{"etag": {html.UnescapeString(first)}, "priority": {"20"},
		"content": {"ignored"}}))
	b.Shows(html.UnescapeString(page), "The configuration was saved", "<dd>20</dd>", `"properties.desired.interval": 7`)
	page = b.Send(path, 412, newConfigurationForm(url.Values{"etag": {html.UnescapeString(first)}, "priority": {"30"}}))
	b.Shows(page, "Somebody else changed the configuration", `value="30"`)
	b.Send("hubs/berth/configuration/none/change", 404, newConfigurationForm(nil))

	_, page = h.loggedIn(web.Reader).Get("hubs/berth/configuration/c1")
	if b.Shows(page, "<dd>20</dd>"); strings.Contains(page, "/change") {
		t.Error("a reader is asked to change it")
	}
	page = b.Send(configurationsPath+"/delete", 200, url.Values{"id": {"c1"}})
	b.Shows(page, "Delete 1 configuration?")
	page = b.Send(configurationsPath+"/delete", 200, url.Values{"id": {"c1"}, "confirm": {"yes"}})
	b.Shows(page, "1 configuration was deleted", "There are no configurations.")
}

// TestConfigurationPreview names what a configuration would target before it is saved, and
// the page shows what it does target afterwards.
func TestConfigurationPreview(t *testing.T) {
	h := newFixture(t)
	for id, site := range map[string]string{"d1": "Lyon", "d2": "Lyon", "e1": "Lille"} {
		h.AddDevice(id)
		_, err := h.Hub.PatchTwin(ctx, id, []byte(`{"tags":{"site":"`+site+`"}}`), "")
		h.Must(err)
	}
	b := h.loggedIn(web.Operator)
	for _, c := range []struct {
		more url.Values
		says []string
	}{
		{nil, []string{"2 match now", `<a href="/portal/hubs/berth/device/d1"`}},
		{url.Values{"condition": {"*"}}, []string{"3 match now"}},
		{url.Values{"condition": {"tags.site ="}}, []string{"can't be read"}},
		{url.Values{"content": {"{"}}, []string{"field-problem"}},
	} {
		status, page := b.Post(configurationsPath+"/preview", newConfigurationForm(c.more))
		if status != http.StatusOK {
			t.Errorf("%v is answered %d", c.more, status)
		}
		b.Shows(html.UnescapeString(page), c.says...)
	}
	page := b.Send(configurationsPath+"/new", 200, newConfigurationForm(url.Values{"labels": {"{}"}}))
	if strings.Contains(page, "<dt>Labels</dt>") {
		t.Error("the page names labels where there are none")
	}
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(page, `<strong id="applied">2</strong>`); {
		if time.Now().After(deadline) {
			t.Fatalf("the configuration is not applied:\n%s", page)
		}
		h.Later(time.Second)
		_, page = b.Get("hubs/berth/configuration/c1")
	}
	found, err := h.Hub.Twin(ctx, "d1")
	if err != nil || !strings.Contains(web.FormatJSON(found.Properties.Desired), `"interval": 7`) {
		t.Errorf("the twin is %+v, error %v", found, err)
	}
}
