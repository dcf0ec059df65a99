package portal

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/provisioning"
)

var linkRoutes = map[string]handler{
	"GET hubs":                reading(linkedHubs),
	"GET linkhub":             reading(newLink),
	"POST linkhub":            writing(newLink, saveLink),
	"POST createhub":          writing(newLink, createHub),
	"GET link/{host}":         reading(showLink),
	"POST link/{host}":        writing(showLink, saveLink),
	"POST link/{host}/unlink": writing(showLink, unlinkHub),
	"GET allocate":            reading(previewAllocation),
}

// linkRow is a hub in the list: linked, or of this server and not linked.
type linkRow struct {
	provisioning.HubLink
	Linked bool
	Hub    *hub.Hub // nil for one elsewhere
	Stats  hub.Stats
	Count  int // devices in it, of a hub of this server
}

func linkedHubs(c *call) error {
	return c.show("hubs", c.links, func() (any, error) {
		var rows []linkRow
		for _, link := range c.config.Provisioning.HubLinks() {
			rows = append(rows, linkRow{HubLink: link, Linked: true, Hub: c.config.Hubs.ByHost(link.HostName)})
		}
		for _, h := range c.config.Hubs.All() {
			if !slices.ContainsFunc(rows, func(row linkRow) bool { return row.Hub == h }) {
				rows = append(rows, linkRow{HubLink: provisioning.HubLink{HostName: h.Host(), Local: true}, Hub: h})
			}
		}
		for i := range rows {
			if rows[i].Hub == nil {
				continue
			}
			var err error
			if rows[i].Count, err = rows[i].Hub.DeviceCount(c.r.Context()); err != nil {
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
	Link                                            *provisioning.HubLink // that is there, with its devices counted
	Problem, CreateProblem                          *fault.Error
	Confirm                                         bool // unlinking was asked for
}

func newLink(c *call) error {
	form := c.readLink()
	if c.r.Method == http.MethodGet {
		form.Weight = "1"
	}
	return c.render(http.StatusOK, "linkhub", form)
}

// readLink takes what was typed.
func (c *call) readLink() linkForm {
	return linkForm{
		ConnectionString: c.value("connectionString"), Address: c.value("address"), CACertificates: c.text("caCertificates"),
		Name: c.value("name"), Host: c.value("host"), Weight: c.value("weight"), Location: c.value("location"),
		ByName: c.value("byName") != "", Measure: c.value("measure") != "", ETag: c.value("etag"),
	}
}

func showLink(c *call) error {
	form, err := c.storedLink()
	if err != nil {
		return err
	}
	if c.r.Method == http.MethodPost {
		typed := c.readLink()
		form.Weight, form.Location, form.ByName, form.Measure = typed.Weight, typed.Location, typed.ByName, typed.Measure
	}
	return c.render(http.StatusOK, "link", form)
}

// storedLink is the link that the address names.
func (c *call) storedLink() (linkForm, error) {
	link, err := c.config.Provisioning.HubLink(c.r.PathValue("host"))
	if err != nil {
		return linkForm{}, err
	}
	devices, err := c.config.Provisioning.AssignedTo(c.r.Context(), link.HostName)
	link.AssignedDevices = &devices
	return linkForm{Link: &link, Weight: strconv.Itoa(*link.AllocationWeight), Location: link.Location,
		ByName: !*link.ApplyAllocationPolicy, Measure: link.MeasureLatency, ETag: link.ETag}, err
}

// saveLink links a hub by its connection string, or changes the link that the
// address names.
func saveLink(c *call) error {
	form := c.readLink()
	host, page := c.r.PathValue("host"), "link"
	var wanted provisioning.HubLink
	if host == "" {
		page = "linkhub"
		wanted.ConnectionString, wanted.Address, wanted.CACertificates = strings.TrimSpace(form.ConnectionString), form.Address, form.CACertificates
		wanted.HostName = hostOfString(wanted.ConnectionString)
	} else {
		stored, err := c.storedLink()
		if err != nil {
			return err
		}
		form.Link, wanted = stored.Link, *stored.Link
	}
	wanted.Location, wanted.MeasureLatency = form.Location, form.Measure
	weight, err := strconv.Atoi(form.Weight)
	if err != nil {
		err = fault.New(fault.ArgumentInvalid, "The weight is %.20q. It is a whole number from 0 to %d", form.Weight, provisioning.MaxAllocationWeight)
	}
	applies := !form.ByName
	wanted.AllocationWeight, wanted.ApplyAllocationPolicy = &weight, &applies
	var linked provisioning.HubLink
	if err == nil {
		linked, err = c.config.Provisioning.LinkHub(c.r.Context(), wanted, form.ETag)
	}
	if err != nil {
		form.Problem = fault.From(err)
		return c.render(form.Problem.Code.Status(), page, form)
	}
	c.say("ok", c.language.T("The link of the hub %s was saved", linked.HostName))
	return c.redirect("hubs")
}

// hostOfString is the host that a connection string names, "" for none.
func hostOfString(text string) string {
	for field := range strings.SplitSeq(text, ";") {
		if name, value, ok := strings.Cut(field, "="); ok && strings.EqualFold(strings.TrimSpace(name), "HostName") {
			return value
		}
	}
	return ""
}

func createHub(c *call) error {
	form := c.readLink()
	link, err := c.config.CreateHub(c.r.Context(), form.Name, form.Host)
	if err != nil {
		form.CreateProblem, form.Weight = fault.From(err), "1"
		return c.render(form.CreateProblem.Code.Status(), "linkhub", form)
	}
	c.say("ok", c.language.T("The hub %s was created and linked", link.HostName))
	return c.redirect("hubs")
}

// unlinkHub asks first, and says how many devices there are.
func unlinkHub(c *call) error {
	form, err := c.storedLink()
	if err != nil {
		return err
	}
	if c.value("confirm") != "yes" {
		form.Confirm = true
		return c.render(http.StatusOK, "link", form)
	}
	if err := c.config.Provisioning.UnlinkHub(c.r.Context(), form.Link.HostName, "", true); err != nil {
		form.Problem = fault.From(err)
		return c.render(form.Problem.Code.Status(), "link", form)
	}
	c.say("ok", c.language.T("The hub %s is no longer linked", form.Link.HostName))
	return c.redirect("hubs")
}

type allocationPage struct {
	provisioning.PreviewRequest
	Preview *provisioning.Preview
	Problem *fault.Error
	Command string
}

// previewAllocation says where a device would go, and why.
func previewAllocation(c *call) error {
	page := allocationPage{PreviewRequest: provisioning.PreviewRequest{RegistrationID: strings.TrimSpace(c.query("id")),
		GroupID: strings.TrimSpace(c.query("group")), RemoteAddress: strings.TrimSpace(c.query("from"))}}
	if page.RegistrationID == "" {
		return c.render(http.StatusOK, "allocate", page)
	}
	page.Command = "berth allocate " + Quote(page.RegistrationID) + " --dry-run"
	for flag, value := range map[string]string{"group": page.GroupID, "from": page.RemoteAddress} {
		if value != "" {
			page.Command += " --" + flag + " " + Quote(value)
		}
	}
	preview, err := c.config.Provisioning.PreviewAllocation(c.r.Context(), page.PreviewRequest)
	if err != nil {
		page.Problem = fault.From(err)
		return c.render(page.Problem.Code.Status(), "allocate", page)
	}
	page.Preview = &preview
	return c.render(http.StatusOK, "allocate", page)
}

// LinkPath is the path of the page of a hub's link.
func (v *view) LinkPath(host string) string { return "link/" + url.PathEscape(host) }
