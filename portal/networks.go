package portal

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
)

var networkRoutes = map[string]handler{
	"GET networks":          reading(listNetworks),
	"GET networks/new":      reading(newNetwork),
	"POST networks/new":     writing(newNetwork, saveNetwork),
	"POST networks/delete":  writing(confirmNetworks, deleteNetworks),
	"GET network/{prefix}":  reading(showNetwork),
	"POST network/{prefix}": writing(showNetwork, saveNetwork),
}

func listNetworks(c *call) error {
	return c.show("networks", func() any { return c.config.Provisioning.Networks() }, func() (any, error) { return c.config.Provisioning.Networks(), nil })
}

// NetworkPath is the path of the page of a network.
func (v *view) NetworkPath(prefix string) string { return "network/" + url.PathEscape(prefix) }

// Latencies lists what is known of a network, a location each.
func (v *view) Latencies(network provisioning.Network) []string { return latenciesOf(network) }

func latenciesOf(network provisioning.Network) (texts []string) {
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

func (c *call) readNetwork() networkForm {
	form := networkForm{Prefix: c.r.PathValue("prefix"), Latencies: c.text("latencies"), ETag: c.value("etag")}
	if form.New = form.Prefix == ""; form.New {
		form.Prefix = strings.TrimSpace(c.value("prefix"))
	}
	for _, link := range c.config.Provisioning.HubLinks() {
		if link.Location != "" && !slices.Contains(form.Locations, link.Location) {
			form.Locations = append(form.Locations, link.Location)
		}
	}
	return form
}

func newNetwork(c *call) error {
	return c.render(http.StatusOK, "network", c.readNetwork())
}

func showNetwork(c *call) error {
	form := c.readNetwork()
	stored, ok := c.network(form.Prefix)
	if !ok {
		return fault.New(fault.NotFound, "There is no network %.64q", form.Prefix)
	}
	if c.r.Method == http.MethodGet {
		form.Latencies, form.ETag = strings.Join(latenciesOf(stored), "\n"), stored.ETag
	}
	return c.render(http.StatusOK, "network", form)
}

// network is what is configured of a network.
func (c *call) network(prefix string) (provisioning.Network, bool) {
	networks := c.config.Provisioning.Networks()
	i := slices.IndexFunc(networks, func(n provisioning.Network) bool { return n.Prefix == prefix })
	if i < 0 {
		return provisioning.Network{}, false
	}
	return networks[i], true
}

func saveNetwork(c *call) error {
	form := c.readNetwork()
	latencies, err := readLatencies(form.Latencies)
	if err == nil && form.New {
		if _, ok := c.network(form.Prefix); ok {
			err = fault.New(fault.Conflict, "There is a network %.64q already. Change it, or delete it first", form.Prefix)
		}
	}
	if err == nil {
		_, err = c.config.Provisioning.PutNetwork(c.r.Context(), provisioning.Network{Prefix: form.Prefix, Latencies: latencies}, form.ETag)
	}
	if err != nil {
		form.Problem = fault.From(err)
		return c.render(form.Problem.Code.Status(), "network", form)
	}
	c.say("ok", c.language.T("The network %s was saved", form.Prefix))
	return c.redirect("networks")
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
			return nil, fault.New(fault.ArgumentInvalid, "The line %.80q is no latency. Write the location of a hub, = and milliseconds, such as westeurope=8", line)
		}
		latencies[strings.TrimSpace(location)] = millis
	}
	return latencies, nil
}

func (c *call) networkDeletion() deletion {
	return deletion{
		Back:    "networks",
		Title:   "Delete %d network?|Delete %d networks?",
		Explain: "Of devices that come from there nothing is known then, but by a wider network or what was measured.",
		Done:    "%d network was deleted|%d networks were deleted",
		gone:    fault.NotFound,
		delete:  c.config.Provisioning.DeleteNetwork,
	}
}

func confirmNetworks(c *call) error { return c.confirm(c.networkDeletion()) }
func deleteNetworks(c *call) error  { return c.deleteSelected(c.networkDeletion()) }
