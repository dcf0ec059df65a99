package portal

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/portal/portaltest"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// enrollment is one by symmetric keys.
func enrollment(id string) enroll.Enrollment {
	return enroll.Enrollment{RegistrationID: id, Settings: portaltest.WithKeys()}
}

// fill gives the pages something to show.
func (h *fixture) fill() {
	h.T.Helper()
	h.Enroll("e1")
	h.EnrollGroup("g1")
	h.AddDevice("d1")
	h.AddModule("d1", "m1")
	h.Attempt(attest.Assigned, portaltest.Names("good", 500)...)
	h.Attempt(attest.Refused, portaltest.Names("bad", 10)...)
}

// livePages are all that keep themselves up to date, but for that of an import.
var livePages = []string{"", "enrollments", "enrollments?prefix=e", "groups", "group/g1", "registrations",
	"registrations?status=failed", "attempts",
	"attempts?outcome=refused", "attempts?id=good-7", "attempts?before=100", "hubs", "hubs/berth", "hubs/berth/devices",
	"hubs/berth/device/d1",
	"hubs/berth/device/d1/twin", "hubs/berth/device/d1/messages",
	"hubs/berth/device/d1/modules", "hubs/berth/device/d1/module/m1",
	"hubs/berth/jobs", "hubs/berth/configurations",
	"quickstart", "certificates", "credentials", "credentials?prefix=d1", "audit",
	"audit?by=server", "lockouts", "networks"}

// A page that is open while nothing moves reads nothing, for a while.
func TestLivePagesAtRestReadNothing(t *testing.T) {
	h := newFixture(t)
	h.fill()
	h.loggedIn(web.Operator) // the first page after a login may write that the session was seen
	b := h.loggedIn(web.Operator)
	var tabs []*portaltest.Tab
	for _, path := range livePages {
		tabs = append(tabs, b.Open(path))
	}
	before := h.Reads.All()
	for range 5 {
		h.Later(time.Second)
	}
	if n := h.Reads.All() - before; n != 0 {
		t.Errorf("%d tabs at which nothing happened read %d times", len(tabs), n)
	}
	if h.Later(time.Minute); h.Reads.All() == before {
		t.Error("after a minute no page was made anew, which may say how long something is good for")
	}
	for _, tab := range tabs {
		select {
		case event := <-tab.Events:
			t.Errorf("%s: sends what is not new:\n%s", tab.Path, event)
		default:
		}
	}
}

// Many who watch the same search cost one search a second, and that only of what is
// new, however much there is.
func TestLiveSearchReadsOnlyWhatIsNew(t *testing.T) {
	const size, more, rounds, watchers = 3000, 20, 5, 4
	for _, c := range []struct {
		path          string
		shows         bool
		first, second int64 // records at first, and for each round
	}{
		{"attempts?outcome=refused", true, size + 1, more + 1},
		{"attempts?outcome=failed", false, size + 1, more + 1},
		{"attempts", true, web.PageSize, more + 1},
		{"attempts?id=nobody", false, size + 1, more + 1},
		{"attempts?before=1000", false, web.PageSize, 0},
		{"", true, latestAttempts, latestAttempts},
	} {
		t.Run(c.path, func(t *testing.T) {
			h := newFixture(t)
			h.Attempt(attest.Assigned, portaltest.Names("good", size)...)
			h.Attempt(attest.Refused, "bad")
			b := h.loggedIn(web.Reader)
			before := h.Reads.Records.Load()
			var tabs []*portaltest.Tab
			for range watchers {
				tabs = append(tabs, b.Open(c.path))
			}
			if n := h.Reads.Records.Load() - before; n > c.first {
				t.Errorf("%d tabs read %d records to begin with, want at most %d", watchers, n, c.first)
			}
			for round := range rounds {
				h.Attempt(attest.Assigned, portaltest.Names("good", more)...)
				refused := fmt.Sprintf("refused-%d", round)
				h.Attempt(attest.Refused, refused)
				before := h.Reads.Records.Load()
				h.Later(time.Minute - time.Second) // a slow machine has shown the last one slowly
				if n := h.Reads.Records.Load() - before; n > c.second {
					t.Errorf("%d tabs read %d records, %d of them new", watchers, n, more+1)
				}
				for _, tab := range tabs {
					if c.shows && !strings.Contains(tab.Next(), refused) {
						t.Errorf("%s does not show %s", c.path, refused)
					}
				}
			}
		})
	}
}

// Each live page shows what changes, whoever changes it.
func TestLivePagesShowWhatChanges(t *testing.T) {
	h := newFixture(t)
	h.fill()
	service, first := h.Provisioning, h.Hub
	create := func(id string) func() error {
		return func() error { _, err := service.Enrollments().Create(ctx, enrollment(id)); return err }
	}
	device := func(id string) func() error {
		return func() error { _, err := first.CreateDevice(ctx, identity.Device{DeviceID: id}); return err }
	}
	attempt := func(id string) func() error {
		return func() error { h.Attempt(attest.Refused, id); return nil }
	}
	for _, c := range []struct {
		path, shows string
		change      func() error
	}{
		{"", "attempt-1", attempt("attempt-1")},
		{"", "<strong>", create("counted")},
		{"enrollments", "new-1", create("new-1")},
		{"groups", "new-2", func() error {
			_, err := service.Groups().Put(ctx,
				enroll.Group{EnrollmentGroupID: "new-2",
					Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "symmetricKey"}}}, "")
			return err
		}},
		{"attempts?id=attempt-3", "attempt-3", attempt("attempt-3")},
		{"hubs", ">2<", device("new-4")},
		{"hubs/berth", "2", device("new-5")},
		{"hubs/berth/devices", "new-6", device("new-6")},
		{"hubs/berth/device/d1", "disabled", func() error {
			d, err := first.Device(ctx, "d1")
			if err == nil {
				d.Status = "disabled"
				_, err = first.UpdateDevice(ctx, d, d.ETag)
			}
			return err
		}},
		{"quickstart?id=q1", "", create("q1")},
		{"audit", "new-8", create("new-8")},
		{"networks", "192.0.2.0/24", func() error {
			_, err := service.Networks().Put(ctx,
				allocation.Network{Prefix: "192.0.2.0/24", Latencies: map[string]float64{"west": 3}}, "")
			return err
		}},
	} {
		t.Run(c.path, func(t *testing.T) {
			tab := h.loggedIn(web.Reader).Open(c.path)
			defer tab.Close()
			h.Must(c.change())
			h.Later(time.Minute - time.Second)
			if event := tab.Next(); !strings.HasPrefix(event, "event: live\n") || !strings.Contains(event, c.shows) {
				t.Errorf("%s does not show %q:\n%s", c.path, c.shows, event)
			}
		})
	}
}
