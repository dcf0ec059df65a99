package portal

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/portal/web"
)

// TestPagesNeedSession asks for every page as somebody who is not logged in.
func TestPagesNeedSession(t *testing.T) {
	h := newFixture(t)
	b, asked := h.Browser(), 0
	var all []web.Routes
	for _, section := range h.pages.sections() {
		all = append(all, section.Routes...)
	}
	for _, routes := range all {
		for pattern := range routes {
			method, path, _ := strings.Cut(pattern, " ")
			path = strings.NewReplacer("{$}", "", "{hub}", "berth", "{id}", "d1", "{sequence}", "0", "{name}", "n",
				"{host}", "h", "{prefix}", "p").Replace(path)
			var status int
			var page string
			if method == http.MethodGet {
				status, page = b.Get(path)
			} else {
				status, page = b.Post(path,
					url.Values{"id": {"d1"}, "csrf": {"x"}, "primary": {"-----BEGIN PRIVATE KEY-----"}})
			}
			asked++
			if status != http.StatusUnauthorized || !strings.Contains(page, `name="code"`) ||
				strings.Contains(page, "0ne1") || strings.Contains(page, "PRIVATE KEY-----") {
				t.Errorf("%s is answered %d", pattern, status)
			}
		}
	}
	if asked < 80 {
		t.Errorf("only %d routes were asked", asked)
	}
}

func TestReaderChangesNothing(t *testing.T) {
	h := newFixture(t)
	_, err := h.Hub.CreateDevice(ctx, identity.Device{DeviceID: "d1"})
	h.Must(err)
	b := h.loggedIn(web.Reader)
	for path, form := range map[string]url.Values{
		"enrollments/new":           {"registrationId": {"d2"}},
		"enrollments/delete":        {"id": {"d1"}, "confirm": {"yes"}},
		"hubs/berth/devices/new":    {"deviceId": {"d2"}, "authentication": {"sas"}},
		"hubs/berth/devices/delete": {"id": {"d1"}, "confirm": {"yes"}},
		"hubs/berth/device/d1":      {"status": {"disabled"}},
		"hubs/berth/device/d1/twin": {"desired": {"{}"}, "tags": {"{}"}},
		"registrations/delete":      {"id": {"d1"}, "confirm": {"yes"}},
		"enrollment/d1":             {"deviceId": {"x"}},
	} {
		form.Set("csrf", b.Token())
		if status, _ := b.Post(path, form); status != http.StatusForbidden {
			t.Errorf("%s is answered %d", path, status)
		}
	}
	entries, _, err := h.Audit.Entries(ctx, audit.Filter{Kind: audit.Portal})
	h.Must(err)
	if len(entries) != 8 || entries[0].Action != audit.Refused || entries[0].Actor != "portal reader" {
		t.Errorf("the audit has of what was refused %+v", entries)
	}
	for _, path := range []string{"?show=localhost/provisioningserviceowner",
		"policies?show=localhost/provisioningserviceowner", "hubs/berth/policies?show=127.0.0.1/iothubowner",
		"hubs/berth/device/d1?show=keys"} {
		if status, page := b.Get(path); status != http.StatusOK || strings.Contains(page, "SharedAccessKey=") {
			t.Errorf("%s is answered %d, with a key: %v", path, status, strings.Contains(page, "SharedAccessKey="))
		}
	}
	if device, err := h.Hub.Device(ctx, "d1"); err != nil || device.Status != "enabled" {
		t.Errorf("the device is now %+v, %v", device, err)
	}
}
