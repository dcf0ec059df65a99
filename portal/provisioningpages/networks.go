package provisioningpages

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning/allocation"
)

func (p *Pages) networkRoutes() web.Routes {
	return web.Routes{
		"GET networks":          web.RequireSession(p.listNetworks),
		"GET networks/new":      web.RequireSession(p.newNetwork),
		"POST networks/new":     web.RequireOperator(p.newNetwork, p.saveNetwork),
		"POST networks/delete":  web.HandleDeletion(p.networkDeletion),
		"GET network/{prefix}":  web.RequireSession(p.showNetwork),
		"POST network/{prefix}": web.RequireOperator(p.showNetwork, p.saveNetwork),
	}
}

func (p *Pages) listNetworks(c *web.Call) error {
	networks := func() any { return p.Provisioning.Networks().List() }
	return c.Show("networks", networks, func() (any, error) { return networks(), nil })
}

// networkPath is the path of the page of a network.
func networkPath(prefix string) string { return "network/" + web.Segment(prefix) }

// formatLatencies lists what is known of a network, a location each.
func formatLatencies(network allocation.Network) (texts []string) {
	for _, location := range slices.Sorted(maps.Keys(network.Latencies)) {
		texts = append(texts, fmt.Sprintf("%s=%g", location, network.Latencies[location]))
	}
	return texts
}

// networkForm is a network as it is typed.
type networkForm struct {
	Prefix, Latencies, ETag string
	Locations               []string // of the linked hubs
	New                     bool
	Problem                 *fault.Error
}

func (p *Pages) readNetwork(c *web.Call) networkForm {
	form := networkForm{Prefix: c.PathValue("prefix"), Latencies: c.Text("latencies"), ETag: c.Value("etag")}
	if form.New = form.Prefix == ""; form.New {
		form.Prefix = strings.TrimSpace(c.Value("prefix"))
	}
	for _, link := range p.Provisioning.Links().List() {
		if link.Location != "" && !slices.Contains(form.Locations, link.Location) {
			form.Locations = append(form.Locations, link.Location)
		}
	}
	return form
}

func (p *Pages) newNetwork(c *web.Call) error {
	return c.Render(http.StatusOK, "network", p.readNetwork(c))
}

func (p *Pages) showNetwork(c *web.Call) error {
	form := p.readNetwork(c)
	stored, ok := p.network(c, form.Prefix)
	if !ok {
		return fault.New(fault.NotFound, "There is no network %.64q", form.Prefix)
	}
	if c.Request.Method == http.MethodGet {
		form.Latencies, form.ETag = strings.Join(formatLatencies(stored), "\n"), stored.ETag
	}
	return c.Render(http.StatusOK, "network", form)
}

// network is what is configured of a network.
func (p *Pages) network(c *web.Call, prefix string) (allocation.Network, bool) {
	networks := p.Provisioning.Networks().List()
	i := slices.IndexFunc(networks, func(n allocation.Network) bool { return n.Prefix == prefix })
	if i < 0 {
		return allocation.Network{}, false
	}
	return networks[i], true
}

func (p *Pages) saveNetwork(c *web.Call) error {
	form := p.readNetwork(c)
	latencies, err := readLatencies(form.Latencies)
	if err == nil && form.New {
		if _, ok := p.network(c, form.Prefix); ok {
			err = fault.New(fault.Conflict, "There is a network %.64q already. Change it, or delete it first",
				form.Prefix)
		}
	}
	if err == nil {
		network := allocation.Network{Prefix: form.Prefix, Latencies: latencies}
		_, err = p.Provisioning.Networks().Put(c.Context(), network, form.ETag)
	}
	if err != nil {
		form.Problem = fault.From(err)
		return c.Render(form.Problem.Code.Status(), "network", form)
	}
	c.Notify("ok", c.T("The network %s was saved", form.Prefix))
	return c.Redirect("networks")
}

// readLatencies reads a line for each location, such as westeurope=8.
func readLatencies(text string) (map[string]float64, error) {
	latencies := make(map[string]float64)
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		location, figure, _ := strings.Cut(line, "=")
		millis, err := strconv.ParseFloat(strings.TrimSpace(figure), 64)
		if err != nil {
			return nil, fault.New(fault.ArgumentInvalid,
				"The line %.80q is not a latency. Write the location of a hub, = and milliseconds, "+
					"such as westeurope=8", line)
		}
		latencies[strings.TrimSpace(location)] = millis
	}
	return latencies, nil
}

func (p *Pages) networkDeletion(c *web.Call) (web.Deletion, error) {
	return web.Deletion{
		Back:    "networks",
		Title:   "Delete %d network?|Delete %d networks?",
		Explain: "Of devices that come from there nothing is known then, but by a wider network or what was measured.",
		Done:    "%d network was deleted|%d networks were deleted",
		Gone:    fault.NotFound,
		Delete: func(ctx context.Context, prefix string) error {
			return p.Provisioning.Networks().Delete(ctx, prefix, "")
		},
	}, nil
}
