package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/portal/portaltest"
)

func TestLinkIsGoodOnce(t *testing.T) {
	h := newFixture(t)
	link := strings.TrimPrefix(h.link(Operator), Root)
	request, err := http.NewRequest(http.MethodHead, h.URL("")+link, nil)
	h.Must(err)
	if status, _ := h.Browser().Do(request); status != http.StatusOK {
		t.Errorf("a look at the link is answered %d", status)
	}
	first := h.Browser()
	if status, page := first.Get(link); status != http.StatusOK || !strings.Contains(page, "All things") {
		t.Errorf("the first login is answered %d", status)
	}
	if status, page := h.Browser().Get(link); status != http.StatusUnauthorized ||
		strings.Contains(page, "All things") || !strings.Contains(page, "berth portal link") {
		t.Errorf("the second login is answered %d:\n%s", status, page)
	}
	if status, _ := first.Get(link); status != http.StatusOK {
		t.Errorf("who is logged in and opens the link again is answered %d", status)
	}

	late := strings.TrimPrefix(h.link(Operator), Root)
	h.Advance(linkTime + time.Second)
	if status, _ := h.Browser().Get(late); status != http.StatusUnauthorized {
		t.Errorf("a link that is too old is answered %d", status)
	}
	// The form takes the code, or the link that has it.
	for _, typed := range []string{codeOf(h.Origin() + h.link(Operator)), h.Origin() + h.link(Operator)} {
		if status, page := h.Browser().Post("login", url.Values{"code": {typed}}); status != http.StatusOK ||
			!strings.Contains(page, "All things") {
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
			h := newFixture(t)
			b := h.loggedIn(Operator)
			status := 0
			for range test.steps {
				h.Advance(test.step)
				status, _ = b.Get("")
			}
			if over := status == http.StatusUnauthorized; over != test.over {
				t.Errorf("answered %d", status)
			}
		})
	}
}

func TestLogOut(t *testing.T) {
	h := newFixture(t)
	b := h.loggedIn(Operator)
	if status, _ := b.Post("logout", url.Values{"csrf": {"wrong"}}); status != http.StatusForbidden {
		t.Errorf("without the token it is answered %d", status)
	}
	if status, _ := b.Get(""); status != http.StatusOK {
		t.Fatalf("and then the session is over: %d", status)
	}
	cookies := b.Client.Jar.Cookies(mustURL(t, h.URL("")))
	b.Post("logout", url.Values{"csrf": {b.Token()}})
	if status, _ := b.Get(""); status != http.StatusUnauthorized {
		t.Errorf("after the log-out it is answered %d", status)
	}
	b.Client.Jar.SetCookies(mustURL(t, h.URL("")), cookies) // who kept the cookie
	if status, _ := b.Get(""); status != http.StatusUnauthorized {
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

func TestOtherSites(t *testing.T) {
	h := newFixture(t)
	b := h.loggedIn(Operator)
	form := url.Values{"csrf": {b.Token()}, "name": {"one"}}
	for name, header := range map[string][2]string{"a cross-site form": {"Sec-Fetch-Site", "cross-site"},
		"another origin": {"Origin", "https://evil.example"}} {
		request, err := http.NewRequest(http.MethodPost, h.URL("")+"things/new", strings.NewReader(form.Encode()))
		h.Must(err)
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set(header[0], header[1])
		if status, _ := b.Do(request); status != http.StatusForbidden {
			t.Errorf("%s is answered %d", name, status)
		}
	}
	// A name of another site that leads here.
	request, err := http.NewRequest(http.MethodGet, h.URL(""), nil)
	h.Must(err)
	request.Host = "evil.example"
	if status, page := b.Do(request); status != http.StatusMisdirectedRequest || strings.Contains(page, "All things") {
		t.Errorf("under another name it is answered %d", status)
	}
	// No way out by what the form says to go back to.
	b.Client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, back := range []string{"https://evil.example/portal/", "//evil.example/portal/", "/elsewhere",
		"javascript:alert(1)", "\x00"} {
		request, err := http.NewRequest(http.MethodPost, h.URL("")+"preferences",
			strings.NewReader(url.Values{"lang": {"fr"}, "back": {back}}.Encode()))
		h.Must(err)
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		response, err := b.Client.Do(request)
		h.Must(err)
		response.Body.Close()
		if location := response.Header.Get("Location"); location != Root {
			t.Errorf("back to %q leads to %q (%d)", back, location, response.StatusCode)
		}
	}
}

func TestHeaders(t *testing.T) {
	h := newFixture(t)
	b := h.loggedIn(Operator)
	for _, path := range []string{"", "things/new", "nothing", "assets/portal.js"} {
		response, err := b.Client.Get(h.URL("") + path)
		h.Must(err)
		response.Body.Close()
		policy := response.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") ||
			response.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%q has the headers %v", path, response.Header)
		}
	}
}

// What a clock made that was ahead does not last until the clock gets there.
func TestLoginsByAClockThatWasAhead(t *testing.T) {
	const ahead = 400 * 24 * time.Hour
	h := newFixture(t)
	h.Advance(ahead)
	link := strings.TrimPrefix(h.link(Operator), Root)
	b := h.loggedIn(Operator)
	h.Advance(-ahead)
	if status, _ := h.Browser().Get(link); status != http.StatusUnauthorized {
		t.Errorf("a link that is good for 400 days is answered %d", status)
	}
	if status, _ := b.Get(""); status != http.StatusUnauthorized {
		t.Errorf("a session that begins in 400 days is answered %d", status)
	}
	// A session that was seen by such a clock is idle when it is idle.
	early := h.loggedIn(Reader)
	for _, step := range []time.Duration{6 * time.Hour, -6 * time.Hour} {
		h.Advance(step)
		if status, _ := early.Get(""); status != http.StatusOK {
			t.Errorf("a session that begins now is answered %d", status)
		}
	}
	h.Advance(idleTime + 2*time.Minute)
	if status, _ := early.Get(""); status != http.StatusUnauthorized {
		t.Errorf("a session that was idle for eight hours is answered %d", status)
	}
	h.Must(h.Sweep(h.Context))
	for _, collection := range []string{"portal/links", "portal/sessions"} {
		if n, err := h.Documents.Count(h.Context, collection); err != nil || n[0] != 0 {
			t.Errorf("%d are left in %s, error %v", n, collection, err)
		}
	}
}

// TestSessionsOfAClockAhead: what is made while the clock is ahead does not outlast
// that, and what was made before is still good.
func TestSessionsOfAClockAhead(t *testing.T) {
	h := newFixture(t)
	before := h.loggedIn(Operator)
	h.trusted = false
	h.Advance(400 * 24 * time.Hour)
	// which also clears away what is old
	during, link := h.loggedIn(Operator), strings.TrimPrefix(h.link(Operator), Root)
	if status, _ := during.Get(""); status != http.StatusOK {
		t.Fatalf("who logged in is answered %d", status)
	}
	h.Advance(-400 * 24 * time.Hour)
	for who, is := range map[string]struct {
		b    *portaltest.Browser
		want int
	}{"who had logged in before": {before, http.StatusOK},
		"who had logged in meanwhile": {during, http.StatusUnauthorized}} {
		if status, _ := is.b.Get(""); status != is.want {
			t.Errorf("%s is answered %d", who, status)
		}
	}
	if status, _ := h.Browser().Get(link); status != http.StatusUnauthorized {
		t.Errorf("a link that was made meanwhile is answered %d", status)
	}
}
