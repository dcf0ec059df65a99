package hubpages

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/configuration"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/portal/web"
)

// configurationRoutes are the configurations of a hub.
func (p *Pages) configurationRoutes() web.Routes {
	const list, one = "hubs/{hub}/configurations", "hubs/{hub}/configuration/{configuration}"
	return web.Routes{
		"GET " + list:               web.RequireSession(p.listConfigurations),
		"GET " + list + "/new":      web.RequireSession(p.newConfiguration),
		"POST " + list + "/new":     web.RequireOperator(p.restoreNewConfiguration, p.createConfiguration),
		"POST " + list + "/delete":  web.HandleDeletion(p.configurationDeletion),
		"POST " + list + "/json":    web.RequireSession(p.inspectConfiguration),
		"POST " + list + "/preview": web.RequireSession(p.previewConfiguration),
		"GET " + one:                web.RequireSession(p.showConfiguration),
		"GET " + one + "/change":    web.RequireSession(p.editConfiguration),
		"POST " + one + "/change":   web.RequireOperator(p.restoreConfiguration, p.updateConfiguration),
	}
}

// configurationPath is the path of a configuration's page.
func configurationPath(hubName, id string) string {
	return "hubs/" + web.Segment(hubName) + "/configuration/" + web.Segment(id)
}

// configurationsPage are the configurations of a hub, all of them: there are few.
type configurationsPage struct {
	Hub            string
	Configurations []configurationView
}

// configurationView is a configuration as pages show it.
type configurationView struct {
	configuration.Configuration
}

// System is a metric that the hub counts, such as targetedCount; "" before it was counted.
func (v configurationView) System(name string) string {
	return v.SystemMetrics.Results.Get(name).String()
}

// metric is a metric that an operator has defined.
type metric struct{ Name, Query, Result string }

// Custom are the metrics that an operator has defined.
func (v configurationView) Custom() (metrics []metric) {
	for name, query := range v.Metrics.Queries.All() {
		metrics = append(metrics, metric{name, query.Text(), v.Metrics.Results.Get(name).String()})
	}
	return metrics
}

// What is the content, JSON for people.
func (v configurationView) What() string { return web.FormatJSON(v.Content) }

func (p *Pages) listConfigurations(c *web.Call) error {
	h, err := p.Hub(c)
	if err != nil {
		return err
	}
	return c.Show("configurations", nil, func() (any, error) {
		found, err := h.Configurations().List(c.Context())
		page := configurationsPage{Hub: h.Name()}
		for _, one := range found {
			page.Configurations = append(page.Configurations, configurationView{one})
		}
		return page, err
	})
}

func (p *Pages) configurationDeletion(c *web.Call) (web.Deletion, error) {
	h, err := p.Hub(c)
	if err != nil {
		return web.Deletion{}, err
	}
	return web.Deletion{
		Back:  "hubs/" + web.Segment(h.Name()) + "/configurations",
		Title: "Delete %d configuration?|Delete %d configurations?",
		Explain: "What they have written into desired properties stays, until another configuration " +
			"writes something else there.",
		Done:   "%d configuration was deleted|%d configurations were deleted",
		Gone:   fault.ConfigurationNotFound,
		Delete: func(ctx context.Context, id string) error { return h.Configurations().Delete(ctx, id, "") },
	}, nil
}

// configurationPage is one configuration.
type configurationPage struct {
	configurationView
	Hub string
}

func (p *Pages) showConfiguration(c *web.Call) error {
	h, err := p.Hub(c)
	if err != nil {
		return err
	}
	return c.Show("configuration", nil, func() (any, error) {
		found, err := h.Configurations().Get(c.Context(), c.PathValue("configuration"))
		return configurationPage{configurationView{found}, h.Name()}, err
	})
}

// configurationForm is the form that creates a configuration, or changes what can be changed
// of one.
type configurationForm struct {
	Hub       string
	Existing  bool // its id and content stay
	ID        string
	Condition string
	Priority  string
	Content   string // JSON, as are the others
	Labels    string
	Metrics   string // queries by name
	ETag      string // of the configuration when the form was made
	JSON      map[string]*web.JSONProblem
	Problem   *fault.Error
}

// contentExample is what the form begins with.
const contentExample = `{
  "deviceContent": {
    "properties.desired.interval": 10
  }
}`

func (p *Pages) newConfiguration(c *web.Call) error {
	h, err := p.Hub(c)
	if err != nil {
		return err
	}
	return c.Render(http.StatusOK, "configuration-edit", configurationForm{Hub: h.Name(), Priority: "10",
		Condition: c.Query("condition"), Content: contentExample, Labels: "{}", Metrics: "{}"})
}

// storedConfigurationForm is the form filled in with what is stored.
func storedConfigurationForm(c *web.Call, h *hub.Hub) (configurationForm, error) {
	found, err := h.Configurations().Get(c.Context(), c.PathValue("configuration"))
	if err != nil {
		return configurationForm{}, err
	}
	form := configurationForm{Hub: h.Name(), Existing: true, ID: found.ID, Condition: found.TargetCondition,
		Priority: strconv.Itoa(found.Priority), Content: configurationView{found}.What(), Labels: "{}",
		Metrics: web.FormatJSON(found.Metrics.Queries), ETag: found.ETag}
	if found.Labels != nil {
		form.Labels = web.FormatJSON(*found.Labels)
	}
	return form, nil
}

func (p *Pages) editConfiguration(c *web.Call) error {
	h, err := p.Hub(c)
	if err != nil {
		return err
	}
	form, err := storedConfigurationForm(c, h)
	if err != nil {
		return err
	}
	return c.Render(http.StatusOK, "configuration-edit", form)
}

func readConfigurationForm(c *web.Call, h *hub.Hub) configurationForm {
	return configurationForm{Hub: h.Name(), ID: c.Text("configurationId"), Condition: c.Text("condition"),
		Priority: c.Text("priority"), Content: c.Text("content"), Labels: orEmptyObject(c.Text("labels")),
		Metrics: orEmptyObject(c.Text("metrics")), JSON: map[string]*web.JSONProblem{}}
}

// readChange is what was typed to change the configuration of the address: all but its content.
func readChange(c *web.Call, h *hub.Hub) (typed, stored configurationForm, err error) {
	if stored, err = storedConfigurationForm(c, h); err != nil {
		return typed, stored, err
	}
	typed = readConfigurationForm(c, h)
	typed.Existing, typed.ID, typed.Content, typed.ETag = true, stored.ID, stored.Content, c.Value("etag")
	return typed, stored, nil
}

func orEmptyObject(text string) string {
	if text == "" {
		return "{}"
	}
	return text
}

func (p *Pages) restoreNewConfiguration(c *web.Call) error {
	h, err := p.Hub(c)
	if err != nil {
		return err
	}
	return c.Render(http.StatusOK, "configuration-edit", readConfigurationForm(c, h))
}

func (p *Pages) restoreConfiguration(c *web.Call) error {
	h, err := p.Hub(c)
	if err != nil {
		return err
	}
	typed, _, err := readChange(c, h)
	if err != nil {
		return err
	}
	return c.Render(http.StatusOK, "configuration-edit", typed)
}

// contentShape is what content can have.
var contentShape = web.Members{"deviceContent": nil, "moduleContent": nil, "modulesContent": nil}

// wanted is the configuration that was typed. What is no JSON is noted in the form.
func (f configurationForm) wanted() (wanted configuration.Configuration, err error) {
	wanted = configuration.Configuration{ID: f.ID, TargetCondition: f.Condition}
	for _, part := range []struct {
		name, text string
		shape      web.Members
	}{{"content", f.Content, contentShape}, {"labels", f.Labels, nil}, {"metrics", f.Metrics, nil}} {
		if problem := web.CheckJSON(part.text, part.shape); problem != nil {
			f.JSON[part.name] = problem
		}
	}
	if len(f.JSON) > 0 {
		return wanted, nil
	}
	if wanted.Priority, err = strconv.Atoi(f.Priority); err != nil {
		return wanted, fault.New(fault.ArgumentInvalid, "The priority must be a whole number, not %.32q", f.Priority)
	}
	if wanted.Content, err = configuration.ReadContent(json.RawMessage(f.Content)); err != nil {
		return wanted, err
	}
	labels, err := document.Parse([]byte(f.Labels), document.MaxFreeDepth)
	if err != nil {
		return wanted, err
	}
	if labels.Len() > 0 {
		wanted.Labels = &labels
	}
	wanted.Metrics.Queries, err = document.Parse([]byte(f.Metrics), document.MaxFreeDepth)
	return wanted, err
}

func (p *Pages) createConfiguration(c *web.Call) error {
	h, err := p.Hub(c)
	if err != nil {
		return err
	}
	form := readConfigurationForm(c, h)
	return p.saveConfiguration(c, h, form, h.Configurations().Create)
}

// updateConfiguration writes what was typed, unless somebody else has changed the
// configuration since the form was made.
func (p *Pages) updateConfiguration(c *web.Call) error {
	h, err := p.Hub(c)
	if err != nil {
		return err
	}
	typed, stored, err := readChange(c, h)
	if err != nil {
		return err
	}
	if typed.ETag != stored.ETag {
		typed.ETag = stored.ETag
		typed.Problem = fault.New(fault.PreconditionFailed, "Somebody else changed the configuration since you opened "+
			"it. Nothing was saved. Compare what you typed with what is stored, and save again to store it")
		return c.Render(typed.Problem.Code.Status(), "configuration-edit", typed)
	}
	return p.saveConfiguration(c, h, typed,
		func(ctx context.Context, wanted configuration.Configuration) (configuration.Configuration, error) {
			return h.Configurations().Update(ctx, wanted, stored.ETag)
		})
}

// saveConfiguration writes what was typed with save, or says at the form what is wrong.
func (p *Pages) saveConfiguration(c *web.Call, h *hub.Hub, form configurationForm,
	save func(context.Context, configuration.Configuration) (configuration.Configuration, error),
) error {
	wanted, err := form.wanted()
	if err == nil && len(form.JSON) > 0 {
		return c.Render(http.StatusBadRequest, "configuration-edit", form)
	}
	if err == nil {
		if _, err = save(c.Context(), wanted); err == nil {
			c.Notify("ok", c.T("The configuration was saved. The twins that it targets are changed one after the other"))
			return c.Redirect(configurationPath(h.Name(), wanted.ID))
		}
	}
	if form.Problem = fault.From(err); form.Problem.Code.Status() >= 500 {
		return err
	}
	return c.Render(form.Problem.Code.Status(), "configuration-edit", form)
}

// inspectConfiguration tells at once what is wrong with a part of a configuration.
func (p *Pages) inspectConfiguration(c *web.Call) error {
	name := c.Query("which")
	shapes := map[string]web.Members{"content": contentShape, "labels": nil, "metrics": nil}
	shape, ok := shapes[name]
	if !ok {
		return fault.New(fault.ArgumentInvalid, "There is no field %.64q", name)
	}
	var problem *web.JSONProblem
	if text := c.Text(name); text != "" {
		problem = web.CheckJSON(text, shape)
	}
	return c.RenderPart("configuration-edit", "json-problem", map[string]any{"Name": name, "Problem": problem})
}

// configurationPreview is what a target condition that is being typed would target.
type configurationPreview struct {
	configuration.Preview
	Subjects []subject // the first of them
	Problem  *fault.Error
}

// maxPreviewed is how many targets a preview names.
const maxPreviewed = 10

// previewConfiguration tells at once what the configuration would target that is being typed.
func (p *Pages) previewConfiguration(c *web.Call) error {
	h, err := p.Hub(c)
	if err != nil {
		return err
	}
	var preview configurationPreview
	content, err := configuration.ReadContent(json.RawMessage(c.Text("content")))
	if err == nil {
		preview.Preview, err = h.Configurations().Preview(c.Context(), c.Text("condition"), content, "")
	}
	if err != nil {
		if preview.Problem = fault.From(err); preview.Problem.Code.Status() >= 500 {
			return err
		}
	}
	for _, id := range preview.IDs[:min(len(preview.IDs), maxPreviewed)] {
		deviceID, moduleID := identity.SplitKey(id)
		preview.Subjects = append(preview.Subjects, subject{h.Name(), deviceID, moduleID})
	}
	return c.RenderPart("configuration-edit", "configuration-preview", preview)
}
