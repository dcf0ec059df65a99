// Package provisioningpages are the portal's pages about the provisioning service:
// enrollments and groups, registrations and attempts, the hubs that are linked and how
// one is chosen, certificate authorities and the certificates that are issued. It is not
// called provisioning, which is what it shows.
package provisioningpages

import (
	"context"
	"embed"
	"html/template"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// Config is what the pages show and change.
type Config struct {
	Provisioning *provisioning.Service
	Issuer       *issuance.Service
	Audit        *audit.Log     // records deletions of many things
	Hubs         *hub.Directory // those of this server, which may be linked
	// CreateHub creates a hub of this server and links it.
	CreateHub func(ctx context.Context, name, host string) (linkedhub.Link, error)
	// DevicePath is the path of a device's page by the host of its hub, "" when there is
	// none.
	DevicePath func(host, deviceID string) string
}

// Pages are the pages about the provisioning service.
type Pages struct {
	Config
}

// New returns the pages about these services.
func New(config Config) *Pages { return &Pages{config} }

//go:embed templates
var templates embed.FS

// Section is what the pages add to the site.
func (p *Pages) Section() web.Section {
	return web.Section{
		Routes: []web.Routes{
			p.enrollmentRoutes(), p.groupRoutes(), p.exchangeRoutes(), p.registrationRoutes(), p.attemptRoutes(),
			p.lockoutRoutes(), p.injectionRoutes(), p.linkRoutes(), p.networkRoutes(), p.authorityRoutes(),
			p.checkRoutes(), p.credentialRoutes(), p.issuerRoutes(),
		},
		Uploads:   p.uploads(),
		Templates: templates,
		Functions: template.FuncMap{
			"deviceLink":     p.deviceLink,
			"linkPath":       linkPath,
			"networkPath":    networkPath,
			"latencies":      formatLatencies,
			"credentialPath": credentialPath,
			"issuerPath":     issuerPath,
			"validity":       validity,
			"trace":          trace,
			"failedCheck":    failedCheck,
		},
	}
}

// deviceLink returns the address of a device's page, or "" when there is none.
func (p *Pages) deviceLink(host, deviceID string) string {
	if path := p.DevicePath(host, deviceID); path != "" {
		return web.Root + path
	}
	return ""
}
