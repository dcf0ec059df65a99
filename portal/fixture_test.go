package portal

import (
	"context"
	"testing"

	"github.com/berth-iot/berth/portal/portaltest"
	"github.com/berth-iot/berth/portal/web"
)

var ctx = context.Background()

// fixture is a portal on real services, with a clock that a test moves, and whose live
// pages look for changes when the test says so.
type fixture struct {
	*portaltest.Services
	*web.Site
	pages *pages
}

// newFixture opens the services, and the portal as config changes it.
func newFixture(t *testing.T, change ...func(*Config)) *fixture {
	t.Helper()
	s := portaltest.OpenServices(portaltest.New(t))
	config := Config{
		Provisioning: s.Provisioning, Hubs: s.Hubs, Audit: s.Audit, Issuer: s.Issuer, PoliciesChanged: func() {},
		Documents: s.Documents, CAFile: "ca.pem", DataDir: s.DataDir, Now: s.Now,
		Health: s.Health, Logger: s.Logger, Ticker: s.Ticks.New,
	}
	for _, set := range change {
		set(&config)
	}
	f := &fixture{s, New(config), newPages(config)}
	s.Serve(f.Site)
	return f
}

// loggedIn is a browser after a login.
func (f *fixture) loggedIn(role web.Role) *portaltest.Browser {
	f.T.Helper()
	return f.LogIn(f.link(role))
}

func (f *fixture) link(role web.Role) string {
	f.T.Helper()
	path, _, err := f.Link(ctx, role)
	f.Must(err)
	return path
}
