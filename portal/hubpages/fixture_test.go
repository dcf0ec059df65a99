package hubpages

import (
	"context"
	"os"
	"testing"

	"github.com/berth-iot/berth/portal/portaltest"
	"github.com/berth-iot/berth/portal/web"
)

var ctx = context.Background()

// fixture is a site of the pages about hubs alone.
type fixture struct {
	*portaltest.Services
	*web.Site
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	s := portaltest.OpenServices(portaltest.New(t))
	f := &fixture{s, web.New(web.Config{
		Name: "test", Languages: web.ReadLanguages(os.DirFS("../messages")), Documents: s.Documents, DataDir: s.DataDir,
		Now: s.Now, Health: s.Health, Logger: s.Logger, Ticker: s.Ticks.New,
	}, New(s.Hubs).Section())}
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
