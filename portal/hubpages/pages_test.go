package hubpages

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/berth-iot/berth/portal/web"
)

// TestPages loads each page in both languages, as both roles.
func TestPages(t *testing.T) {
	h := newFixture(t)
	h.AddDevice("d#1")
	h.AddModule("d#1", "m#1")
	operator, reader := h.loggedIn(web.Operator), h.loggedIn(web.Reader)
	for _, c := range []struct {
		path            string
		status          int
		english, french string
	}{
		{"hubs/berth", 200, "IoT hub berth", "Hub IoT berth"},
		{"hubs/none", 404, `There is no hub "none" here`, `Il n'y a pas de hub "none" ici`},
		{"hubs/berth/devices", 200, "d#1", "Appareils IoT"},
		{"hubs/none/devices", 404, "Not found", `Il n'y a pas de hub "none" ici`},
		{"hubs/berth/devices?prefix=zz", 200, "No device ID begins with “zz”.", "zz"},
		{"hubs/berth/devices?after=zz", 200, "This page is empty now.", "Appareils IoT"},
		{"hubs/berth/devices/new", 200, "Add device", "Ajouter un appareil"},
		{"hubs/none/devices/new", 404, "Not found", `Il n'y a pas de hub "none" ici`},
		{"hubs/berth/device/d%231", 200, "The device has not connected yet.", "Jumeau d'appareil"},
		{"hubs/berth/device/no", 404, `There is no device "no"`, `Il n'y a pas d'appareil "no"`},
		{"hubs/none/device/no", 404, "Not found", `Il n'y a pas de hub "none" ici`},
		{"hubs/berth/device/d%231/twin", 200, "Device twin of d#1", "Jumeau d'appareil"},
		{"hubs/berth/device/no/twin", 404, `There is no device "no"`, `Il n'y a pas d'appareil "no"`},
		{"hubs/berth/device/no/telemetry", 404, `There is no device "no"`, `Il n'y a pas d'appareil "no"`},
		{"hubs/berth/device/d%231/messages", 200, "The queue is empty.", "La file est vide."},
		{"hubs/berth/device/no/messages", 404, `There is no device "no"`, `Il n'y a pas d'appareil "no"`},
		{"hubs/berth/device/d%231/method", 200, "Direct method", "Méthode directe"},
		{"hubs/berth/device/no/method", 404, `There is no device "no"`, `Il n'y a pas d'appareil "no"`},
		{"hubs/berth/device/d%231/module/m%231/method", 200, "Direct method", "Méthode directe"},
		{"hubs/berth/device/d%231/module/no/method", 404, `no module "no"`, `"no"`},
		{"hubs/berth/device/d%231/modules", 200, "m#1", "Géré par"},
		{"hubs/berth/device/no/modules", 404, `There is no device "no"`, `Il n'y a pas d'appareil "no"`},
		{"hubs/berth/device/d%231/modules/new", 200, "Add module", "Ajouter un module"},
		{"hubs/berth/device/no/modules/new", 404, `There is no device "no"`, `Il n'y a pas d'appareil "no"`},
		{"hubs/berth/device/d%231/module/m%231", 200, "The module has not connected yet.", "Le module ne s'est pas"},
		{"hubs/berth/device/d%231/module/no", 404, `no module "no"`, `"no"`},
		{"hubs/berth/device/d%231/module/m%231/twin", 200, "Module twin of m#1", "Jumeau de module"},
		{"hubs/berth/device/d%231/module/no/twin", 404, `no module "no"`, `"no"`},
		{"hubs/berth/device/d%231/module/m%231/messages", 200, "Messages to m#1", "La file est vide."},
		{"hubs/berth/device/d%231/module/no/messages", 404, `no module "no"`, `"no"`},
	} {
		for language, want := range map[string]string{"en": c.english, "fr": c.french} {
			for _, b := range []*struct {
				get func(string, string) (int, string)
			}{{operator.GetIn}, {reader.GetIn}} {
				status, page := b.get(language, c.path)
				if status != c.status || !strings.Contains(html.UnescapeString(page), want) {
					t.Errorf("%s in %s is answered %d without %q", c.path, language, status, want)
				}
			}
		}
	}
}

// TestDeviceForms adds devices, and is told at the form what is wrong with one.
func TestDeviceForms(t *testing.T) {
	h := newFixture(t)
	b := h.loggedIn(web.Operator)
	const thumbprint = "aa:BB:cc:dd:ee:ff:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd"
	for _, c := range []struct {
		form   url.Values
		status int
		says   string
	}{
		{url.Values{"deviceId": {"a b"}, "authentication": {"sas"}}, 400, "a b"},
		{url.Values{"deviceId": {"keyed"}, "authentication": {"sas"}, "primary": {"short"}}, 400, `value="short"`},
		{url.Values{"deviceId": {"keyed"}, "authentication": {"sas"}, "enabled": {"yes"}}, 200,
			"The device keyed was added"},
		{url.Values{"deviceId": {"keyed"}, "authentication": {"sas"}}, 409, "keyed"},
		{url.Values{"deviceId": {"own"}, "authentication": {"selfSigned"}, "primary": {"zz"}}, 400, `value="own"`},
		{url.Values{"deviceId": {"own"}, "authentication": {"selfSigned"}, "primary": {thumbprint}, "iotEdge": {"yes"}},
			200, "The device own was added"},
	} {
		page := b.Send("hubs/berth/devices/new", c.status, c.form)
		b.Shows(html.UnescapeString(page), c.says)
	}
	device, err := h.Hub.Device(ctx, "own")
	h.Must(err)
	stored := device.Authentication.X509Thumbprint.PrimaryThumbprint
	if device.Status != "disabled" || !device.Capabilities.IoTEdge || stored == nil ||
		strings.ContainsAny(*stored, ": ") {
		t.Errorf("the device is stored as %+v with the thumbprint %v", device, stored)
	}
	// A form of another session comes back as it was typed.
	status, page := b.Post(
		"hubs/berth/devices/new",
		url.Values{"csrf": {"old"}, "deviceId": {"typed"}, "authentication": {"sas"}},
	)
	if status != http.StatusOK {
		t.Errorf("a form of another session is answered %d", status)
	}
	b.Shows(page, `value="typed"`, "check what you typed and send it again")
}

// TestDeviceStatus disables a device and enables it again, and shows its keys to operators
// who ask for them.
func TestDeviceStatus(t *testing.T) {
	h := newFixture(t)
	h.AddDevice("d1")
	b := h.loggedIn(web.Operator)
	page := b.Send("hubs/berth/device/d1", 200, url.Values{"status": {"disabled"}})
	b.Shows(page, "The device d1 is disabled, and its connection has ended", `value="enabled">Enable`)
	page = b.Send("hubs/berth/device/d1", 200, url.Values{"status": {"enabled"}})
	b.Shows(page, "The device d1 may connect again", `value="disabled">Disable`)
	b.Send("hubs/berth/device/d1", 400, url.Values{"status": {"asleep"}})
	b.Send("hubs/berth/device/none", 404, url.Values{"status": {"disabled"}})
	b.Send("hubs/none/device/d1", 404, url.Values{"status": {"disabled"}})
	for role, shown := range map[web.Role]bool{web.Operator: true, web.Reader: false} {
		_, page := h.loggedIn(role).Get("hubs/berth/device/d1?show=keys")
		if strings.Contains(page, "HostName=127.0.0.1;DeviceId=d1;SharedAccessKey=") != shown {
			t.Errorf("the connection string is shown to the %s: %v", role, !shown)
		}
	}
	// A connection string would be another device's.
	h.AddDevice("a;b")
	_, page = b.Get("hubs/berth/device/a%3Bb?show=keys")
	if b.Shows(html.UnescapeString(page), "as it has a semicolon"); strings.Contains(page, "DeviceId=") {
		t.Error("a connection string is shown of a device whose id has a semicolon")
	}
}

var twinBase = regexp.MustCompile(`name="etag" value="([^"]*)"`)

// TestTwinForm saves a twin unless it is not JSON, too large, or was changed by somebody
// else since it was loaded.
func TestTwinForm(t *testing.T) {
	h := newFixture(t)
	h.AddDevice("d1")
	b := h.loggedIn(web.Operator)
	const path = "hubs/berth/device/d1/twin"
	base := func() string {
		_, page := b.Get(path)
		return twinBase.FindStringSubmatch(page)[1]
	}
	first := base()
	page := b.Send(path, 400, url.Values{"desired": {"{\n\"a\": }"}, "tags": {"[]"}, "etag": {first}})
	b.Shows(html.UnescapeString(page), "Line 2, column 6:", "JSON must be a JSON object")
	page = b.Send(path, 200, url.Values{"desired": {`{"a":1}`}, "tags": {""}, "etag": {first}})
	b.Shows(html.UnescapeString(page), "The twin was saved", `"a": 1`)
	// Somebody else has it as it was, and types something else.
	page = b.Send(path, 412, url.Values{"desired": {`{"a":2}`}, "tags": {"{}"}, "etag": {first}})
	b.Shows(html.UnescapeString(page), "Somebody else changed the twin", "What was changed meanwhile",
		`<span class="diff-del">-   "a": 1</span>`, `<span class="diff-ins">+   "a": 2</span>`)
	// What the device reports meanwhile is no obstacle, and what the hub refuses is said.
	page = b.Send(path, 400, url.Values{"desired": {`{"$a":2}`}, "tags": {"{}"}, "etag": {base()}})
	b.Shows(html.UnescapeString(page), "$a")
	status, page := b.Post(path, url.Values{"csrf": {"old"}, "desired": {`{"typed":1}`}, "tags": {"{}"}})
	if status != http.StatusOK {
		t.Errorf("a form of another session is answered %d", status)
	}
	b.Shows(html.UnescapeString(page), `{"typed":1}`)
	for which, says := range map[string]string{"tags": `id="tags-error"`, "desired": `id="desired-error"`} {
		_, page = b.Post("hubs/berth/device/d1/json?which="+which, url.Values{"tags": {"{"}, "desired": {"{"}})
		b.Shows(page, says, "The text ends before the JSON does")
	}
	for _, path := range []string{"hubs/none/device/d1/twin", "hubs/berth/device/none/twin"} {
		b.Send(path, 404, url.Values{"desired": {"{}"}, "tags": {"{}"}})
	}
}

// reads are what a form asks for while it is filled in: it changes nothing.
var reads = map[string]bool{"/json": true, "/count": true, "/preview": true}

// TestPagesNeedSession asks for every page as somebody who is not logged in, and has
// a reader try every change.
func TestPagesNeedSession(t *testing.T) {
	h := newFixture(t)
	h.AddDevice("d1")
	h.AddModule("d1", "m1")
	stranger, reader := h.Browser(), h.loggedIn(web.Reader)
	for _, routes := range New(h.Hubs).Section().Routes {
		for pattern := range routes {
			method, path, _ := strings.Cut(pattern, " ")
			path = strings.NewReplacer("{hub}", "berth", "{id}", "d1", "{module}", "m1").Replace(path)
			form := url.Values{"id": {"d1"}, "confirm": {"yes"}, "csrf": {reader.Token()}}
			if method == http.MethodGet {
				form = nil
			}
			if status, _ := stranger.Do(stranger.NewRequest(method, path, form)); status != http.StatusUnauthorized {
				t.Errorf("%s of a stranger is answered %d", pattern, status)
			}
			if method == http.MethodGet || reads[path[strings.LastIndex(path, "/"):]] {
				continue
			}
			if status, _ := reader.Post(path, form); status != http.StatusForbidden {
				t.Errorf("%s of a reader is answered %d", pattern, status)
			}
		}
	}
}

// TestSummaries counts the devices of each hub.
func TestSummaries(t *testing.T) {
	h := newFixture(t)
	for i := range 3 {
		h.AddDevice(fmt.Sprintf("d%d", i))
	}
	summaries, err := New(h.Hubs).Summaries(ctx)
	h.Must(err)
	if len(summaries) != 1 || summaries[0].Name != "berth" || summaries[0].Host != "127.0.0.1" ||
		summaries[0].Devices != 3 {
		t.Errorf("the summaries are %+v", summaries)
	}
	pages := New(h.Hubs)
	if path := pages.DevicePath("127.0.0.1", "a/b"); path != "hubs/berth/device/a%2Fb" {
		t.Errorf("the page of a device is at %q", path)
	}
	if path := pages.DevicePath("elsewhere.example", "d0"); path != "" {
		t.Errorf("the page of a device elsewhere is at %q", path)
	}
}
