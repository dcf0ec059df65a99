package hubpages

import (
	"context"
	"net/http"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/connection"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/portal/web"
)

// moduleRoutes are the modules of a device.
func (p *Pages) moduleRoutes() web.Routes {
	return web.Routes{
		"GET hubs/{hub}/device/{id}/modules":         web.RequireSession(p.listModules),
		"GET hubs/{hub}/device/{id}/modules/new":     web.RequireSession(p.newModule),
		"POST hubs/{hub}/device/{id}/modules/new":    web.RequireOperator(p.restoreModule, p.createModule),
		"POST hubs/{hub}/device/{id}/modules/delete": web.HandleDeletion(p.moduleDeletion),
		"GET hubs/{hub}/device/{id}/module/{module}": web.RequireSession(p.showModule),
	}
}

// modulesPage are the modules of a device, all of them: there are few.
type modulesPage struct {
	subject
	Modules []identity.Module
}

func (p *Pages) listModules(c *web.Call) error {
	h, of, err := p.subject(c)
	if err != nil {
		return err
	}
	return c.Show("modules", trafficRevision(h), func() (any, error) {
		modules, err := h.Modules(c.Context(), of.DeviceID)
		return modulesPage{of, modules}, err
	})
}

func (p *Pages) moduleDeletion(c *web.Call) (web.Deletion, error) {
	h, of, err := p.subject(c)
	if err != nil {
		return web.Deletion{}, err
	}
	return web.Deletion{
		Back:    of.Path() + "/modules",
		Title:   "Delete %d module?|Delete %d modules?",
		Explain: "Their twins and the messages in their queues go with them, and their connections end.",
		Done:    "%d module was deleted|%d modules were deleted",
		Gone:    fault.ModuleNotFound,
		Delete:  func(ctx context.Context, id string) error { return h.DeleteModule(ctx, of.DeviceID, id, "") },
	}, nil
}

// modulePage is one module of a device.
type modulePage struct {
	subject
	keysView
	Module      identity.Module
	Connections []connection.Event
}

func (p *Pages) showModule(c *web.Call) error {
	h, of, err := p.subject(c)
	if err != nil {
		return err
	}
	return c.Show("module", trafficRevision(h), func() (any, error) {
		page := modulePage{subject: of}
		var err error
		if page.Module, err = h.Module(c.Context(), of.DeviceID, of.ModuleID); err != nil {
			return nil, err
		}
		if page.Connections, err = h.Connections().History(c.Context(), of.ID()); err != nil {
			return nil, err
		}
		page.keysView, page.Module.Authentication = showKeys(c, h.Host(), of, page.Module.Authentication)
		return page, nil
	})
}

// moduleForm is the form that adds a module to a device. Its subject is the device.
type moduleForm struct {
	credentialForm
	subject
	NewID   string
	Problem *fault.Error
}

func (p *Pages) newModule(c *web.Call) error {
	h, of, err := p.subject(c)
	if err != nil {
		return err
	}
	return p.renderModuleForm(c, h, moduleForm{subject: of, credentialForm: credentialForm{Authentication: identity.SAS}})
}

func (p *Pages) restoreModule(c *web.Call) error {
	h, of, err := p.subject(c)
	if err != nil {
		return err
	}
	return p.renderModuleForm(c, h, readModuleForm(c, of))
}

// renderModuleForm answers with the form, or with fault 404001 when there is no such device.
func (p *Pages) renderModuleForm(c *web.Call, h *hub.Hub, form moduleForm) error {
	if _, err := h.Registry().Get(c.Context(), form.DeviceID); err != nil {
		return err
	}
	status := http.StatusOK
	if form.Problem != nil {
		status = form.Problem.Code.Status()
	}
	return c.Render(status, "module-new", form)
}

func readModuleForm(c *web.Call, of subject) moduleForm {
	return moduleForm{subject: of, credentialForm: readCredentialForm(c), NewID: c.Text("moduleId")}
}

func (p *Pages) createModule(c *web.Call) error {
	h, of, err := p.subject(c)
	if err != nil {
		return err
	}
	form := readModuleForm(c, of)
	module, err := h.CreateModule(c.Context(), identity.Module{DeviceID: of.DeviceID, ModuleID: form.NewID,
		Authentication: form.authentication()})
	if err == nil {
		c.Notify("ok", c.T("The module %s was added", module.ModuleID))
		of.ModuleID = module.ModuleID
		return c.Redirect(of.Path())
	}
	if form.Problem = fault.From(err); form.Problem.Code.Status() >= 500 {
		return err
	}
	return p.renderModuleForm(c, h, form)
}
