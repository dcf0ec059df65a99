package hubpages

import (
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/portal/web"
)

// subject is who a page is about: a device of a hub, or a module of one. The pages of both
// are the same, as far as both can have what is on them.
type subject struct {
	Hub      string
	DeviceID string
	ModuleID string // "" for the device itself
}

// subjectPaths are the paths of the pages of a device, and of a module.
var subjectPaths = [...]string{"hubs/{hub}/device/{id}", "hubs/{hub}/device/{id}/module/{module}"}

// subject returns who the address names, and the hub. It does not ask whether they are there.
func (p *Pages) subject(c *web.Call) (*hub.Hub, subject, error) {
	h, err := p.Hub(c)
	if err != nil {
		return nil, subject{}, err
	}
	return h, subject{h.Name(), c.PathValue("id"), c.PathValue("module")}, nil
}

// ID is the id by which the hub knows the subject.
func (s subject) ID() string {
	if s.ModuleID == "" {
		return s.DeviceID
	}
	return identity.ModuleKey(s.DeviceID, s.ModuleID)
}

// Path is that of the subject's first page, below which the others are.
func (s subject) Path() string {
	path := devicePath(s.Hub, s.DeviceID)
	if s.ModuleID != "" {
		path += "/module/" + web.Segment(s.ModuleID)
	}
	return path
}

// Name is what the subject's pages are headed with.
func (s subject) Name() string {
	if s.ModuleID != "" {
		return s.ModuleID
	}
	return s.DeviceID
}

// subjectRoutes are the pages that devices and modules have alike.
func (p *Pages) subjectRoutes() web.Routes {
	routes := web.Routes{}
	for _, path := range subjectPaths {
		routes["GET "+path+"/twin"] = web.RequireSession(p.showTwin)
		routes["POST "+path+"/twin"] = web.RequireOperator(p.restoreTwin, p.saveTwin)
		routes["POST "+path+"/json"] = web.RequireSession(p.inspectJSON)
		routes["GET "+path+"/messages"] = web.RequireSession(p.showMessages)
		routes["POST "+path+"/messages"] = web.RequireOperator(p.restoreMessage, p.sendMessage)
		routes["POST "+path+"/messages/purge"] = web.HandleDeletion(p.purge)
		routes["GET "+path+"/method"] = web.RequireSession(p.showMethod)
		routes["POST "+path+"/method"] = web.RequireOperator(p.restoreMethod, p.invokeMethod)
	}
	return routes
}
