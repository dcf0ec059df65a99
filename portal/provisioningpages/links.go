package provisioningpages

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

func (p *Pages) linkRoutes() web.Routes {
	return web.Routes{
		"GET hubs":                web.RequireSession(p.listHubs),
		"GET linkhub":             web.RequireSession(p.newLink),
		"POST linkhub":            web.RequireOperator(p.newLink, p.saveLink),
		"POST createhub":          web.RequireOperator(p.newLink, p.createHub),
		"GET link/{host}":         web.RequireSession(p.showLink),
		"POST link/{host}":        web.RequireOperator(p.showLink, p.saveLink),
		"POST link/{host}/unlink": web.RequireOperator(p.showLink, p.unlinkHub),
		"GET allocate":            web.RequireSession(p.previewAllocation),
	}
}

// linkRow is a hub in the list: linked, or of this server and not linked.
type linkRow struct {
	linkedhub.Link
	Linked bool
	Hub    *hub.Hub // nil for one elsewhere
	Stats  hub.Stats
	Count  int // devices in it, of a hub of this server
}

func (p *Pages) listHubs(c *web.Call) error {
	return c.Show("hubs", p.linksRevision, func() (any, error) {
		var rows []linkRow
		for _, link := range p.Provisioning.Links().List() {
			rows = append(rows, linkRow{Link: link, Linked: true, Hub: p.Hubs.ByHost(link.HostName)})
		}
		for _, h := range p.Hubs.All() {
			if !slices.ContainsFunc(rows, func(row linkRow) bool { return row.Hub == h }) {
				rows = append(rows, linkRow{Link: linkedhub.Link{HostName: h.Host(), Local: true}, Hub: h})
			}
		}
		for i := range rows {
			if rows[i].Hub == nil {
				continue
			}
			var err error
			if rows[i].Count, err = rows[i].Hub.Registry().Count(c.Context()); err != nil {
				return nil, err
			}
			rows[i].Stats = rows[i].Hub.Stats()
		}
		return rows, nil
	})
}

// linkForm is the link of a hub as it is typed.
type linkForm struct {
	Host, ConnectionString, Address, CACertificates string // of a new link
	Name                                            string // of a hub that is to be created
	Weight, Location                                string
	ByName, Measure                                 bool
	ETag                                            string
	Link                                            *linkedhub.Link // that is there, with its devices counted
	Problem, CreateProblem                          *fault.Error
	Confirm                                         bool // unlinking was asked for
}

func (p *Pages) newLink(c *web.Call) error {
	form := p.readLink(c)
	if c.Request.Method == http.MethodGet {
		form.Weight = "1"
	}
	return c.Render(http.StatusOK, "linkhub", form)
}

// readLink takes what was typed.
func (p *Pages) readLink(c *web.Call) linkForm {
	return linkForm{
		ConnectionString: c.Value("connectionString"),
		Address:          c.Value("address"),
		CACertificates:   c.Text("caCertificates"),
		Name:             c.Value("name"),
		Host:             c.Value("host"),
		Weight:           c.Value("weight"),
		Location:         c.Value("location"),
		ByName:           c.Value("byName") != "",
		Measure:          c.Value("measure") != "",
		ETag:             c.Value("etag"),
	}
}

func (p *Pages) showLink(c *web.Call) error {
	form, err := p.storedLink(c)
	if err != nil {
		return err
	}
	if c.Request.Method == http.MethodPost {
		typed := p.readLink(c)
		form.Weight, form.Location = typed.Weight, typed.Location
		form.ByName, form.Measure = typed.ByName, typed.Measure
	}
	return c.Render(http.StatusOK, "link", form)
}

// storedLink is the link that the address names.
func (p *Pages) storedLink(c *web.Call) (linkForm, error) {
	link, err := p.Provisioning.Links().Get(c.PathValue("host"))
	if err != nil {
		return linkForm{}, err
	}
	devices, err := p.Provisioning.Registrations().CountOfHub(c.Context(), link.HostName)
	link.AssignedDevices = &devices
	return linkForm{Link: &link, Weight: strconv.Itoa(*link.AllocationWeight), Location: link.Location,
		ByName: !*link.ApplyAllocationPolicy, Measure: link.MeasureLatency, ETag: link.ETag}, err
}

// saveLink links a hub by its connection string, or changes the link that the
// address names.
func (p *Pages) saveLink(c *web.Call) error {
	form := p.readLink(c)
	host, page := c.PathValue("host"), "link"
	var wanted linkedhub.Link
	if host == "" {
		page = "linkhub"
		wanted.ConnectionString = strings.TrimSpace(form.ConnectionString)
		wanted.Address, wanted.CACertificates = form.Address, form.CACertificates
		wanted.HostName = hostOfConnectionString(wanted.ConnectionString)
	} else {
		stored, err := p.storedLink(c)
		if err != nil {
			return err
		}
		form.Link, wanted = stored.Link, *stored.Link
	}
	wanted.Location, wanted.MeasureLatency = form.Location, form.Measure
	weight, err := strconv.Atoi(form.Weight)
	if err != nil {
		err = fault.New(fault.ArgumentInvalid, "The weight must be a whole number from 0 to %d, not %.20q",
			linkedhub.MaxWeight, form.Weight)
	}
	applies := !form.ByName
	wanted.AllocationWeight, wanted.ApplyAllocationPolicy = &weight, &applies
	var linked linkedhub.Link
	if err == nil {
		linked, err = p.Provisioning.Links().Put(c.Context(), wanted, form.ETag)
	}
	if err != nil {
		form.Problem = fault.From(err)
		return c.Render(form.Problem.Code.Status(), page, form)
	}
	c.Notify("ok", c.T("The link of the hub %s was saved", linked.HostName))
	return c.Redirect("hubs")
}

// hostOfConnectionString is the host that a connection string names, "" for none.
func hostOfConnectionString(text string) string {
	for field := range strings.SplitSeq(text, ";") {
		if name, value, ok := strings.Cut(field, "="); ok && strings.EqualFold(strings.TrimSpace(name), "HostName") {
			return value
		}
	}
	return ""
}

func (p *Pages) createHub(c *web.Call) error {
	form := p.readLink(c)
	link, err := p.CreateHub(c.Context(), form.Name, form.Host)
	if err != nil {
		form.CreateProblem, form.Weight = fault.From(err), "1"
		return c.Render(form.CreateProblem.Code.Status(), "linkhub", form)
	}
	c.Notify("ok", c.T("The hub %s was created and linked", link.HostName))
	return c.Redirect("hubs")
}

// unlinkHub asks first, and says how many devices there are, and which enrollment names
// the hub.
func (p *Pages) unlinkHub(c *web.Call) error {
	form, err := p.storedLink(c)
	if err != nil {
		return err
	}
	if c.Value("confirm") != "yes" {
		form.Confirm = true
		if err := p.Provisioning.Links().CheckUnnamed(c.Context(), form.Link.HostName); err != nil {
			form.Problem = fault.From(err)
		}
		return c.Render(http.StatusOK, "link", form)
	}
	if err := p.Provisioning.Links().Delete(c.Context(), form.Link.HostName, "", true); err != nil {
		form.Problem = fault.From(err)
		return c.Render(form.Problem.Code.Status(), "link", form)
	}
	c.Notify("ok", c.T("The hub %s is no longer linked", form.Link.HostName))
	return c.Redirect("hubs")
}

type allocationPage struct {
	provisioning.PreviewRequest
	Preview *provisioning.Preview
	Problem *fault.Error
	Command string
}

// previewAllocation says where a device would go, and why.
func (p *Pages) previewAllocation(c *web.Call) error {
	page := allocationPage{PreviewRequest: provisioning.PreviewRequest{RegistrationID: strings.TrimSpace(c.Query("id")),
		GroupID: strings.TrimSpace(c.Query("group")), RemoteAddress: strings.TrimSpace(c.Query("from"))}}
	if page.RegistrationID == "" {
		return c.Render(http.StatusOK, "allocate", page)
	}
	page.Command = "berth allocate " + web.Quote(page.RegistrationID) + " --dry-run"
	for flag, value := range map[string]string{"group": page.GroupID, "from": page.RemoteAddress} {
		if value != "" {
			page.Command += " --" + flag + " " + web.Quote(value)
		}
	}
	preview, err := p.Provisioning.PreviewAllocation(c.Context(), page.PreviewRequest)
	if err != nil {
		page.Problem = fault.From(err)
		return c.Render(page.Problem.Code.Status(), "allocate", page)
	}
	page.Preview = &preview
	return c.Render(http.StatusOK, "allocate", page)
}

// linkPath is the path of the page of a hub's link.
func linkPath(host string) string { return "link/" + web.Segment(host) }

// linksRevision moves with the hubs, what links them and what their devices do.
func (p *Pages) linksRevision() any {
	figures := []any{p.Provisioning.Links().List(), p.Provisioning.Attempts().End(), p.Provisioning.Tally()}
	for _, h := range p.Hubs.All() {
		figures = append(figures, h.Stats())
	}
	return figures
}
