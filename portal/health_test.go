package portal

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/health"
)

// TestBanners shows on every page what is wrong with the server, in the reader's
// language, to those who have logged in.
func TestBanners(t *testing.T) {
	h := newHouse(t)
	b := h.loggedIn(Reader)
	pages := []string{"", "enrollments", "attempts", "hubs", "audit", "hubs/berth/devices", "nowhere"}
	for _, page := range pages {
		if _, text := b.get(page); strings.Contains(text, "notice-error") && page != "nowhere" {
			t.Errorf("%s says that something is wrong", page)
		}
	}
	h.health.Raise("disk-low", health.Failure, "The disk of the data folder has %s free, less than the reserve of %s: changes are refused until there is more", "1.0 MiB", "64.0 MiB")
	h.health.Raise("clock-jumped", health.Warning, "The server's clock was set by %s. Nothing is deleted for its age until the clock has run evenly for an hour", time.Hour)
	for _, page := range pages {
		_, text := b.get(page)
		for _, want := range []string{`notice-error" role="alert"><p>The disk of the data folder has 1.0 MiB free`, `notice-warning" role="alert"><p>The server&#39;s clock was set by 1h0m0s`} {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not say %q", page, want)
			}
		}
	}
	request, err := http.NewRequest(http.MethodGet, h.server.URL+Root+"enrollments", nil)
	h.must(err)
	request.Header.Set("Accept-Language", "fr")
	if _, text := b.do(request); !strings.Contains(text, "Le disque du dossier de données n&#39;a plus que 1.0 MiB de libre") {
		t.Error("it is not said in French")
	}
	if _, text := h.browser().get("enrollments"); strings.Contains(text, "1.0 MiB") {
		t.Error("strangers are told")
	}
	h.health.Clear("disk-low")
	if _, text := b.get("enrollments"); strings.Contains(text, "1.0 MiB") {
		t.Error("it is said when it is over")
	}
}

// TestSessionsOfAClockAhead: what is made while the clock is ahead does not outlast
// that, and what was made before is still good.
func TestSessionsOfAClockAhead(t *testing.T) {
	h := newHouse(t)
	before := h.loggedIn(Operator)
	h.trusted = false
	h.advance(400 * 24 * time.Hour)
	during, link := h.loggedIn(Operator), strings.TrimPrefix(h.link(Operator), Root) // which also clears away what is old
	if status, _ := during.get("enrollments"); status != http.StatusOK {
		t.Fatalf("who logged in is answered %d", status)
	}
	h.advance(-400 * 24 * time.Hour)
	for who, is := range map[string]struct {
		b    *browser
		want int
	}{"who had logged in before": {before, http.StatusOK}, "who had logged in meanwhile": {during, http.StatusUnauthorized}} {
		if status, _ := is.b.get("enrollments"); status != is.want {
			t.Errorf("%s is answered %d", who, status)
		}
	}
	if status, _ := h.browser().get(link); status != http.StatusUnauthorized {
		t.Errorf("a link that was made meanwhile is answered %d", status)
	}
}
