package hubpages

import (
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/berth-iot/berth/hub/c2d"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/portal/web"
)

// TestModules adds modules, is told at the form what is wrong with one, shows keys to
// operators who ask for them, and deletes.
func TestModules(t *testing.T) {
	h := newFixture(t)
	h.AddDevice("d1")
	b := h.loggedIn(web.Operator)
	const path = "hubs/berth/device/d1/modules"
	for _, c := range []struct {
		form   url.Values
		status int
		says   string
	}{
		{url.Values{"moduleId": {"a b"}, "authentication": {"sas"}}, 400, `value="a b"`},
		{url.Values{"moduleId": {"$edgeHub"}, "authentication": {"sas"}}, 400, "begins with $"},
		{url.Values{"moduleId": {"m1"}, "authentication": {"sas"}, "primary": {"short"}}, 400, `value="short"`},
		{url.Values{"moduleId": {"m1"}, "authentication": {"sas"}}, 200, "The module m1 was added"},
		{url.Values{"moduleId": {"m1"}, "authentication": {"sas"}}, 409, "has a module \"m1\" already"},
	} {
		b.Shows(html.UnescapeString(b.Send(path+"/new", c.status, c.form)), c.says)
	}
	b.Send("hubs/berth/device/none/modules/new", 404, url.Values{"moduleId": {"m1"}, "authentication": {"sas"}})
	status, page := b.Post(path+"/new", url.Values{"csrf": {"old"}, "moduleId": {"typed"}})
	if status != http.StatusOK {
		t.Errorf("a form of another session is answered %d", status)
	}
	b.Shows(page, `value="typed"`, "check what you typed and send it again")
	for role, shown := range map[web.Role]bool{web.Operator: true, web.Reader: false} {
		_, page := h.loggedIn(role).Get("hubs/berth/device/d1/module/m1?show=keys")
		text := "HostName=127.0.0.1;DeviceId=d1;ModuleId=m1;SharedAccessKey="
		if strings.Contains(page, text) != shown {
			t.Errorf("the connection string is shown to the %s: %v", role, !shown)
		}
	}
	page = b.Send(path+"/delete", 200, url.Values{"id": {"m1"}})
	b.Shows(page, "Delete 1 module?")
	page = b.Send(path+"/delete", 200, url.Values{"id": {"m1"}, "confirm": {"yes"}})
	b.Shows(page, "1 module was deleted", "The device has no modules.")
}

// TestPagesOfModule: twin and messages of a module are its own, and not its device's.
func TestPagesOfModule(t *testing.T) {
	h := newFixture(t)
	h.AddDevice("d1")
	h.AddModule("d1", "m#1")
	b := h.loggedIn(web.Operator)
	const path = "hubs/berth/device/d1/module/m%231"
	_, page := b.Get(path + "/twin")
	page = b.Send(path+"/twin", 200, url.Values{"desired": {`{"a":1}`}, "tags": {"{}"},
		"etag": {twinBase.FindStringSubmatch(page)[1]}})
	b.Shows(html.UnescapeString(page), "The twin was saved", `"a": 1`, "Module twin of m#1")
	for id, want := range map[string]bool{identity.ModuleKey("d1", "m#1"): true, "d1": false} {
		twin, err := h.Hub.Twin(ctx, id)
		h.Must(err)
		if has := strings.Contains(web.FormatJSON(twin.Properties.Desired), `"a": 1`); has != want {
			t.Errorf("the twin of %s has what was typed: %v", id, has)
		}
	}
	page = b.Send(path+"/messages", 200, url.Values{"body": {"to the module"}, "ack": {"none"}})
	b.Shows(page, "waits to be received", "to the module")
	principal, err := h.Hub.Registry().Principal(ctx, identity.ModuleKey("d1", "m#1"))
	h.Must(err)
	waiting, _, err := h.Hub.Messages().Peek(ctx, c2d.Recipient{DeviceID: principal.ID,
		Generation: principal.GenerationID}, 10)
	if err != nil || len(waiting) != 1 || string(waiting[0].Payload) != "to the module" {
		t.Errorf("the queue of the module has %+v, error %v", waiting, err)
	}
	if _, total, err := h.Hub.Messages().Peek(ctx, h.recipient(), 10); total != 0 || err != nil {
		t.Errorf("the queue of its device has %d messages, error %v", total, err)
	}
	page = b.Send(path+"/messages/purge", 200, url.Values{"id": {"another"}, "confirm": {"yes"}})
	b.Shows(page, "1 queue is empty now", "state-Purged")
	b.Send("hubs/berth/device/d1/module/none/messages", 404, url.Values{"body": {"x"}, "ack": {"none"}})
	if status, _ := b.Post(path+"/json?which=other", url.Values{"other": {"{"}}); status != http.StatusBadRequest {
		t.Errorf("a field that there is not is answered %d", status)
	}
	_, page = b.Post(path+"/json?which=payload", url.Values{"payload": {"[1"}})
	b.Shows(page, `id="payload-error"`, "The text ends before the JSON does")
}
