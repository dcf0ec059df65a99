// Package hubpages are the portal's pages about IoT hubs: their figures, devices, twins
// and telemetry. It is not called hub, which is what it shows.
package hubpages

import (
	"context"
	"embed"
	"html/template"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/telemetry"
	"github.com/berth-iot/berth/portal/web"
)

// Pages are the pages about the hubs of this server.
type Pages struct {
	hubs *hub.Directory
}

// New returns the pages about these hubs.
func New(hubs *hub.Directory) *Pages { return &Pages{hubs} }

//go:embed templates
var templates embed.FS

// Section is what the pages add to the site. Templates of all pages may call devicePath,
// jobPath and configurationPath, with the name of a hub and an id.
func (p *Pages) Section() web.Section {
	return web.Section{
		Routes: []web.Routes{p.hubRoutes(), p.deviceRoutes(), p.moduleRoutes(), p.subjectRoutes(),
			p.jobRoutes(), p.configurationRoutes()},
		Templates: templates,
		Functions: template.FuncMap{"hubs": p.hubs.All, "devicePath": devicePath, "jobPath": jobPath,
			"configurationPath": configurationPath},
	}
}

// Hub returns the hub that the address names as {hub}. One that is not there is fault
// 404000.
func (p *Pages) Hub(c *web.Call) (*hub.Hub, error) {
	name := c.PathValue("hub")
	if h := p.hubs.ByName(name); h != nil {
		return h, nil
	}
	return nil, fault.New(fault.NotFound, "There is no hub %q here", name)
}

// DevicePath is the path of a device's page by the host of its hub, "" when that is none of
// this server's.
func (p *Pages) DevicePath(host, deviceID string) string {
	if h := p.hubs.ByHost(host); h != nil {
		return devicePath(h.Name(), deviceID)
	}
	return ""
}

// devicePath is the path of a device's page. Azure lets ids have what an address would be
// divided at.
func devicePath(hubName, deviceID string) string {
	return "hubs/" + web.Segment(hubName) + "/device/" + web.Segment(deviceID)
}

// Summary is a hub in a list.
type Summary struct {
	Name, Host string
	Devices    int
	Stats      hub.Stats
}

// Summaries are those of all hubs.
func (p *Pages) Summaries(ctx context.Context) (summaries []Summary, err error) {
	for _, h := range p.hubs.All() {
		devices, err := h.Registry().Count(ctx)
		if err != nil {
			return nil, err
		}
		summaries = append(summaries, Summary{h.Name(), h.Host(), devices, h.Stats()})
	}
	return summaries, nil
}

// RecentTelemetry returns the newest messages of a device, at most so many. A live page
// reads only those that are new.
func RecentTelemetry(c *web.Call, h *hub.Hub, deviceID string, most int) ([]telemetry.Message, error) {
	type key struct {
		hub    *hub.Hub
		device string
	}
	search, live := web.Keep(c, key{h, deviceID}, func() *telemetry.Search {
		return h.Telemetry().Search(deviceID, most)
	})
	if !live {
		return h.Telemetry().Recent(c.Context(), deviceID, most)
	}
	return search.Look(c.Context())
}
