package provisioningpages

import (
	"context"
	"os"
	"testing"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/portal/portaltest"
	"github.com/berth-iot/berth/portal/web"
)

var (
	ctx       = context.Background()
	languages = web.ReadLanguages(os.DirFS("../messages"))
)

// fixture is a site of the pages about the provisioning service alone.
type fixture struct {
	*portaltest.Services
	*web.Site
}

// newFixture opens the services, and the site as config changes it.
func newFixture(t *testing.T, change ...func(*Config)) *fixture {
	t.Helper()
	s := portaltest.OpenServices(portaltest.New(t))
	config := Config{Provisioning: s.Provisioning, Issuer: s.Issuer, Audit: s.Audit, Hubs: s.Hubs,
		DevicePath: func(host, deviceID string) string {
			if s.Hubs.ByHost(host) == nil {
				return ""
			}
			return "the/page/of/" + deviceID
		}}
	for _, set := range change {
		set(&config)
	}
	f := &fixture{s, web.New(web.Config{
		Name: "test", Languages: languages, Documents: s.Documents, DataDir: s.DataDir,
		Now: s.Now, Health: s.Health, Logger: s.Logger, Ticker: s.Ticks.New,
		Act: func(ctx context.Context, role web.Role, remote string) context.Context {
			return audit.WithActor(ctx, audit.Actor{Name: "portal " + string(role), Remote: remote})
		},
		HoldsSecret: func(text string) bool { return credential.HoldsPrivateKey([]byte(text)) },
	}, New(config).Section())}
	s.Serve(f.Site)
	return f
}

// loggedIn is a browser after a login.
func (f *fixture) loggedIn(role web.Role) *portaltest.Browser {
	f.T.Helper()
	path, _, err := f.Link(ctx, role)
	f.Must(err)
	return f.LogIn(path)
}
