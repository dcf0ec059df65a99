package portal

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/portal/portaltest"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// odd are ids that mean something in an address.
var odd = []string{".", "..", "%2e", "%2E%2e", "a%2Fb", "a?b=c", "#", "a;b", "+"}

// TestLinksOfOddIDs follows every link of the portal as a browser does, with ids that mean
// something in an address: each leads to its page, and each form to where it is taken.
func TestLinksOfOddIDs(t *testing.T) {
	f := newFixture(t)
	for _, id := range odd {
		f.AddDevice(id)
		f.AddAttempts(attest.Attempt{Time: f.Now(), RegistrationID: "r", DeviceID: id, Hub: "127.0.0.1",
			Outcome: attest.Assigned, Protocol: "mqtt"})
	}
	for _, name := range []string{".", ".."} {
		f.AddModule(name, name)
		authority := []byte(f.AuthorityCertificate("authority " + name))
		_, err := f.Provisioning.Authorities().Put(f.Context, name, authority, false, "")
		f.Must(err)
	}
	for _, id := range []string{"a.b", "-", "a:b"} {
		_, err := f.Provisioning.Enrollments().Create(f.Context,
			enroll.Enrollment{RegistrationID: id, DeviceID: "..", Settings: portaltest.WithKeys()})
		f.Must(err)
		f.EnrollGroup(id)
	}
	_, err := f.Issuer.PutPolicy(f.Context, issuance.Policy{Name: "a.b", Authority: issuance.DefaultAuthority}, "")
	f.Must(err)
	b := f.loggedIn(web.Operator)
	pages := follow(t, b, "")
	for _, want := range []string{"hubs/berth/device/~.", "hubs/berth/device/~..", "hubs/berth/device/~../twin",
		"hubs/berth/device/~./module/~.", "hubs/berth/device/~../module/~../messages",
		"certificate/~.", "certificate/~..", "enrollment/a.b", "group/-", "credential/a.b"} {
		if _, ok := pages[want]; !ok {
			t.Errorf("nothing leads to %s", want)
		}
	}
	if len(pages) < 60 {
		t.Errorf("only %d pages are found", len(pages))
	}
	// What the page of a device shows and changes is that device.
	for _, id := range odd {
		path := "hubs/berth/device/" + web.Segment(id)
		b.Shows(html.UnescapeString(pages[path]), `<h1 class="id">`+id+"</h1>")
		b.Send(path, http.StatusOK, url.Values{"status": {"disabled"}})
		if device, err := f.Hub.Device(f.Context, id); err != nil || device.Status != "disabled" {
			t.Errorf("%s is %+v, error %v", id, device, err)
		}
	}
	b.Send("hubs/berth/devices/delete", http.StatusOK, url.Values{"id": odd, "confirm": {"yes"}})
	if left, err := f.Hub.Registry().Count(f.Context); err != nil || left != 0 {
		t.Errorf("%d devices are left, error %v", left, err)
	}
}

var (
	addresses = regexp.MustCompile(`\s(href|action|formaction|hx-get|hx-post|data-telemetry)="([^"]*)"`)
	dots      = regexp.MustCompile(`(?i)(^|/)(\.|%2e){1,2}(/|$)`)
)

// follow loads the page of a path below the root and all that its links lead to, and
// returns them by their paths. Links with other parameters lead to the same page.
func follow(t *testing.T, b *portaltest.Browser, start string) map[string]string {
	t.Helper()
	pages, tried := map[string]string{}, map[string]bool{}
	for next := []string{start}; len(next) > 0; next = next[1:] {
		here := next[0]
		path, _, _ := strings.Cut(here, "?")
		if _, known := pages[path]; known {
			continue
		}
		status, page := b.Get(here)
		if pages[path] = page; status != http.StatusOK {
			t.Errorf("%q is answered %d", here, status)
			continue
		}
		for _, found := range addresses.FindAllStringSubmatch(page, -1) {
			kind, written := found[1], html.UnescapeString(found[2])
			path, _, _ := strings.Cut(written, "?")
			path, _, _ = strings.Cut(path, "#")
			below, ours := strings.CutPrefix(path, web.Root)
			switch {
			case path == "" || strings.HasPrefix(below, "assets/"):
				continue // the page itself
			case !ours:
				t.Errorf("%q has the address %q", here, written)
				continue
			case dots.MatchString(below):
				t.Errorf("%q has the address %q, of which a browser asks for another", here, written)
				continue
			}
			switch {
			case kind == "href" || kind == "hx-get":
				below := strings.TrimPrefix(written, web.Root)
				if below, _, _ = strings.Cut(below, "#"); !slices.Contains(next, below) {
					next = append(next, below)
				}
			case kind != "data-telemetry" && !tried[below]:
				tried[below] = true
				// A form without its token is refused, if anybody takes it; others look for something.
				status, _ := b.Post(below, url.Values{})
				if status == http.StatusNotFound {
					status, _ = b.Get(below)
				}
				if status == http.StatusNotFound {
					t.Errorf("the form of %q goes to %q, which nobody takes", here, written)
				}
			}
		}
	}
	return pages
}
