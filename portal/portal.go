// Package portal is the web portal: Azure's portal for the provisioning service
// and the hub, in English and French. It puts the pages of both services into the frame
// of package web. The portal calls the same domain as REST and the command line do, and
// has no rule of its own.
package portal

import (
	"context"
	"embed"
	"html/template"
	"io/fs"
	"log/slog"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/health"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/portal/hubpages"
	"github.com/berth-iot/berth/portal/provisioningpages"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/linkedhub"
	"github.com/berth-iot/berth/store"
)

// Config is what the portal shows and changes.
type Config struct {
	Provisioning *provisioning.Service
	Hubs         *hub.Directory
	Audit        *audit.Log
	Issuer       *issuance.Service
	// PoliciesChanged is told that keys or rights of the provisioning service's
	// policies have changed.
	PoliciesChanged func()
	Records         web.Records // nil knows of none
	// Proven is told that a request, whose context this is, comes from somebody who is
	// logged in.
	Proven    func(context.Context)
	CreateHub func(ctx context.Context, name, host string) (linkedhub.Link, error)
	// Documents keeps the links and sessions. All that is shown is read through it too, and
	// it is a ReadTracker.
	Documents store.Documents
	CAFile    string // the authority that clients must trust
	DataDir   string // the server's data folder
	DataFlag  string // how commands that are shown name it, with a space before; "" when they find it without
	MQTTPort  int
	HTTPSPort int
	Now       func() time.Time
	Trusted   func() bool // whether what is old by Now may be deleted; always when nil
	Health    *health.Set // shown on every page
	Logger    *slog.Logger
	Panics    *panics.Recorder
	// Ticker says when live pages look for changes. nil is a time.Ticker.
	Ticker func(every time.Duration) (tick <-chan time.Time, stop func())
}

//go:embed messages
var messageFiles embed.FS

// languages are those of the portal.
var languages = web.ReadLanguages(subfolder(messageFiles, "messages"))

//go:embed templates
var templateFiles embed.FS

func subfolder(files fs.FS, name string) fs.FS {
	sub, err := fs.Sub(files, name)
	if err != nil {
		panic(err) // the name is wrong
	}
	return sub
}

// New returns the portal on its services: an http.Handler for the paths below web.Root.
func New(config Config) *web.Site {
	p := newPages(config)
	return web.New(web.Config{
		Name:        config.Provisioning.IDScope(),
		Languages:   languages,
		Documents:   config.Documents,
		DataDir:     config.DataDir,
		DataFlag:    config.DataFlag,
		Now:         config.Now,
		Trusted:     config.Trusted,
		Records:     config.Records,
		Health:      config.Health,
		Logger:      config.Logger,
		Panics:      config.Panics,
		Ticker:      config.Ticker,
		Authorize:   p.authorize,
		Act:         asPortal,
		Refused:     p.refused,
		HoldsSecret: func(text string) bool { return credential.HoldsPrivateKey([]byte(text)) },
	}, p.sections()...)
}

// pages are all that the portal shows: the pages of both services, and those that are of
// neither or of both.
type pages struct {
	Config
	provisioning *provisioningpages.Pages
	hubs         *hubpages.Pages
}

func newPages(config Config) *pages {
	p := &pages{Config: config, hubs: hubpages.New(config.Hubs)}
	p.provisioning = provisioningpages.New(provisioningpages.Config{
		Provisioning: config.Provisioning, Issuer: config.Issuer, Audit: config.Audit, Hubs: config.Hubs,
		CreateHub: config.CreateHub, DevicePath: p.hubs.DevicePath,
	})
	return p
}

func (p *pages) sections() []web.Section {
	return []web.Section{{
		Routes:    []web.Routes{p.overviewRoutes(), p.quickstartRoutes(), p.policyRoutes(), p.auditRoutes()},
		Templates: templateFiles,
		Functions: template.FuncMap{"policyPath": policyPath},
	}, p.provisioning.Section(), p.hubs.Section()}
}

// authorize takes note of those who are logged in, and lets operators see what is said
// to them alone.
func (p *pages) authorize(ctx context.Context, role web.Role) context.Context {
	if p.Proven != nil {
		p.Proven(ctx)
	}
	if role == web.Operator {
		return provisioning.WithConfidential(ctx)
	}
	return ctx
}

// asPortal is the context of what is done in the name of a role.
func asPortal(ctx context.Context, role web.Role, remote string) context.Context {
	return audit.WithActor(ctx, audit.Actor{Name: "portal " + string(role), Remote: remote})
}

// refused keeps in the audit that somebody tried to change something who may only read.
func (p *pages) refused(ctx context.Context, page string, refusal *fault.Error) error {
	return p.Audit.Refuse(ctx, audit.Portal, page, refusal.Message, nil, nil)
}
