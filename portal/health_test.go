package portal

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/health"
	"github.com/berth-iot/berth/portal/web"
)

// TestBanners shows on every page what is wrong with the server, in the reader's
// language, to those who have logged in.
func TestBanners(t *testing.T) {
	h := newFixture(t)
	b := h.loggedIn(web.Reader)
	pages := []string{"", "enrollments", "attempts", "hubs", "audit", "hubs/berth/devices", "nowhere"}
	for _, page := range pages {
		if _, text := b.Get(page); strings.Contains(text, "notice-error") && page != "nowhere" {
			t.Errorf("%s says that something is wrong", page)
		}
	}
	h.Health.Raise("disk-low", health.Failure,
		"The disk of the data folder has %s free, less than the reserve of %s: changes are refused until there is more",
		"1.0 MiB", "64.0 MiB")
	h.Health.Raise("clock-jumped", health.Warning,
		"The server's clock was set by %s. Nothing is deleted for its age until the clock has run evenly for an hour",
		time.Hour)
	for _, page := range pages {
		_, text := b.Get(page)
		for _, want := range []string{`notice-error" role="alert"><p>The disk of the data folder has 1.0 MiB free`,
			`notice-warning" role="alert"><p>The server&#39;s clock was set by 1h0m0s`} {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not say %q", page, want)
			}
		}
	}
	request, err := http.NewRequest(http.MethodGet, h.URL("")+"enrollments", nil)
	h.Must(err)
	request.Header.Set("Accept-Language", "fr")
	if _, text := b.Do(request); !strings.Contains(text,
		"Le disque du dossier de données n&#39;a plus que 1.0 MiB de libre") {
		t.Error("it is not said in French")
	}
	if _, text := h.Browser().Get("enrollments"); strings.Contains(text, "1.0 MiB") {
		t.Error("strangers are told")
	}
	h.Health.Clear("disk-low")
	if _, text := b.Get("enrollments"); strings.Contains(text, "1.0 MiB") {
		t.Error("it is said when it is over")
	}
}
