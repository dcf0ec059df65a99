package portal

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/hub"
)

func TestLinkIsGoodOnce(t *testing.T) {
	h := newHouse(t)
	link := strings.TrimPrefix(h.link(Operator), Root)
	request, err := http.NewRequest(http.MethodHead, h.server.URL+Root+link, nil)
	h.must(err)
	if status, _ := h.browser().do(request); status != http.StatusOK {
		t.Errorf("a look at the link is answered %d", status)
	}
	first := h.browser()
	if status, page := first.get(link); status != http.StatusOK || !strings.Contains(page, "0ne1") {
		t.Errorf("the first login is answered %d", status)
	}
	if status, page := h.browser().get(link); status != http.StatusUnauthorized || strings.Contains(page, "0ne1") || !strings.Contains(page, "berth portal link") {
		t.Errorf("the second login is answered %d:\n%s", status, page)
	}
	if status, _ := first.get(link); status != http.StatusOK {
		t.Errorf("who is logged in and opens the link again is answered %d", status)
	}

	late := strings.TrimPrefix(h.link(Operator), Root)
	h.advance(linkTime + time.Second)
	if status, _ := h.browser().get(late); status != http.StatusUnauthorized {
		t.Errorf("a link that is too old is answered %d", status)
	}
	// The form takes the code, or the link that has it.
	for _, typed := range []string{codeOf(h.server.URL + h.link(Operator)), h.server.URL + h.link(Operator)} {
		if status, page := h.browser().post("login", url.Values{"code": {typed}}); status != http.StatusOK || !strings.Contains(page, "0ne1") {
			t.Errorf("the code %q is answered %d", typed, status)
		}
	}
}

func TestSessionEnds(t *testing.T) {
	for name, test := range map[string]struct {
		step  time.Duration
		steps int
		over  bool
	}{
		"idle":               {idleTime + time.Minute, 1, true},
		"not idle":           {idleTime - time.Minute, 5, false},
		"busy for too long":  {idleTime - time.Hour, 25, true},
		"within a few hours": {time.Hour, 3, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			b := h.loggedIn(Operator)
			status := 0
			for range test.steps {
				h.advance(test.step)
				status, _ = b.get("enrollments")
			}
			if over := status == http.StatusUnauthorized; over != test.over {
				t.Errorf("answered %d", status)
			}
		})
	}
}

func TestLogOut(t *testing.T) {
	h := newHouse(t)
	b := h.loggedIn(Operator)
	if status, _ := b.post("logout", url.Values{"csrf": {"wrong"}}); status != http.StatusForbidden {
		t.Errorf("without the token it is answered %d", status)
	}
	if status, _ := b.get("enrollments"); status != http.StatusOK {
		t.Fatalf("and then the session is over: %d", status)
	}
	cookies := b.client.Jar.Cookies(mustURL(t, h.server.URL+Root))
	b.post("logout", url.Values{"csrf": {b.token()}})
	if status, _ := b.get("enrollments"); status != http.StatusUnauthorized {
		t.Errorf("after the log-out it is answered %d", status)
	}
	b.client.Jar.SetCookies(mustURL(t, h.server.URL+Root), cookies) // who kept the cookie
	if status, _ := b.get("enrollments"); status != http.StatusUnauthorized {
		t.Errorf("with the old cookie it is answered %d", status)
	}
}

func mustURL(t *testing.T, address string) *url.URL {
	t.Helper()
	parsed, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// TestNothingWithoutSession asks for every page as somebody who is not logged in.
func TestNothingWithoutSession(t *testing.T) {
	h := newHouse(t)
	b, asked := h.browser(), 0
	for _, routes := range []map[string]handler{overviewRoutes, enrollmentRoutes, registrationRoutes, attemptRoutes, policyRoutes, hubRoutes, deviceRoutes, quickstartRoutes, everyRoutes} {
		for pattern := range routes {
			method, path, _ := strings.Cut(pattern, " ")
			path = strings.NewReplacer("{$}", "", "{hub}", "berth", "{id}", "d1", "{sequence}", "0").Replace(path)
			var status int
			var page string
			if method == http.MethodGet {
				status, page = b.get(path)
			} else {
				status, page = b.post(path, url.Values{"id": {"d1"}, "csrf": {"x"}, "primary": {"-----BEGIN PRIVATE KEY-----"}})
			}
			asked++
			if status != http.StatusUnauthorized || !strings.Contains(page, `name="code"`) || strings.Contains(page, "0ne1") || strings.Contains(page, "PRIVATE KEY-----") {
				t.Errorf("%s is answered %d", pattern, status)
			}
		}
	}
	if asked < 25 {
		t.Errorf("only %d routes were asked", asked)
	}
}

func TestReaderChangesNothing(t *testing.T) {
	h := newHouse(t)
	_, err := h.config.Hubs.All()[0].CreateDevice(ctx, hub.Device{DeviceID: "d1"})
	h.must(err)
	b := h.loggedIn(Reader)
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
		form.Set("csrf", b.token())
		if status, _ := b.post(path, form); status != http.StatusForbidden {
			t.Errorf("%s is answered %d", path, status)
		}
	}
	entries, _, err := h.config.Audit.Entries(ctx, audit.Filter{Kind: audit.Portal})
	h.must(err)
	if len(entries) != 8 || entries[0].Action != audit.Refused || entries[0].Actor != "portal reader" {
		t.Errorf("the audit has of what was refused %+v", entries)
	}
	for _, path := range []string{"?show=localhost/provisioningserviceowner", "policies?show=localhost/provisioningserviceowner", "hubs/berth/policies?show=127.0.0.1/iothubowner", "hubs/berth/device/d1?show=keys"} {
		if status, page := b.get(path); status != http.StatusOK || strings.Contains(page, "SharedAccessKey=") {
			t.Errorf("%s is answered %d, with a key: %v", path, status, strings.Contains(page, "SharedAccessKey="))
		}
	}
	if device, err := h.config.Hubs.All()[0].Device(ctx, "d1"); err != nil || device.Status != "enabled" {
		t.Errorf("the device is now %+v, %v", device, err)
	}
}

func TestOtherSites(t *testing.T) {
	h := newHouse(t)
	b := h.loggedIn(Operator)
	form := url.Values{"csrf": {b.token()}, "deviceId": {"d1"}, "authentication": {"sas"}, "enabled": {"yes"}}
	for name, header := range map[string][2]string{"a cross-site form": {"Sec-Fetch-Site", "cross-site"}, "another origin": {"Origin", "https://evil.example"}} {
		request, err := http.NewRequest(http.MethodPost, h.server.URL+Root+"hubs/berth/devices/new", strings.NewReader(form.Encode()))
		h.must(err)
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set(header[0], header[1])
		if status, _ := b.do(request); status != http.StatusForbidden {
			t.Errorf("%s is answered %d", name, status)
		}
	}
	// A name of another site that leads here.
	request, err := http.NewRequest(http.MethodGet, h.server.URL+Root, nil)
	h.must(err)
	request.Host = "evil.example"
	if status, page := b.do(request); status != http.StatusMisdirectedRequest || strings.Contains(page, "0ne1") {
		t.Errorf("under another name it is answered %d", status)
	}
	// No way out by what the form says to go back to.
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, back := range []string{"https://evil.example/portal/", "//evil.example/portal/", "/elsewhere", "javascript:alert(1)", "\x00"} {
		request, err := http.NewRequest(http.MethodPost, h.server.URL+Root+"preferences", strings.NewReader(url.Values{"lang": {"fr"}, "back": {back}}.Encode()))
		h.must(err)
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		response, err := b.client.Do(request)
		h.must(err)
		response.Body.Close()
		if location := response.Header.Get("Location"); location != Root {
			t.Errorf("back to %q leads to %q (%d)", back, location, response.StatusCode)
		}
	}
}

func TestHeaders(t *testing.T) {
	h := newHouse(t)
	b := h.loggedIn(Operator)
	for _, path := range []string{"", "enrollments", "nothing", "assets/portal.js"} {
		response, err := b.client.Get(h.server.URL + Root + path)
		h.must(err)
		response.Body.Close()
		policy := response.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || response.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%q has the headers %v", path, response.Header)
		}
	}
}

// What a clock made that was ahead does not last until the clock gets there.
func TestLoginsByAClockThatWasAhead(t *testing.T) {
	const ahead = 400 * 24 * time.Hour
	h := newHouse(t)
	h.advance(ahead)
	link := strings.TrimPrefix(h.link(Operator), Root)
	b := h.loggedIn(Operator)
	h.advance(-ahead)
	if status, _ := h.browser().get(link); status != http.StatusUnauthorized {
		t.Errorf("a link that is good for 400 days is answered %d", status)
	}
	if status, _ := b.get(""); status != http.StatusUnauthorized {
		t.Errorf("a session that begins in 400 days is answered %d", status)
	}
	// A session that was seen by such a clock is idle when it is idle.
	early := h.loggedIn(Reader)
	for _, step := range []time.Duration{6 * time.Hour, -6 * time.Hour} {
		h.advance(step)
		if status, _ := early.get(""); status != http.StatusOK {
			t.Errorf("a session that begins now is answered %d", status)
		}
	}
	h.advance(idleTime + 2*time.Minute)
	if status, _ := early.get(""); status != http.StatusUnauthorized {
		t.Errorf("a session that was idle for eight hours is answered %d", status)
	}
	h.must(h.Sweep(ctx))
	for _, collection := range []string{"portal/links", "portal/sessions"} {
		if n, err := h.config.Documents.Count(ctx, collection); err != nil || n[0] != 0 {
			t.Errorf("%d are left in %s, error %v", n, collection, err)
		}
	}
}
