package provisioningcmd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// linkedHosts are the host names of the linked hubs that people mean: hubs of the
// server and elsewhere, each by its host name or its name.
func (c commands) linkedHosts(ctx context.Context, names ...string) ([]string, error) {
	service, err := c.Target.Provisioning()
	if err != nil {
		return nil, err
	}
	links, err := service.HubLinks(ctx)
	switch {
	case errors.Is(err, fault.UnauthorizedAccess):
		return names, nil // who may not read the links knows them: the server says whether they are good
	case err != nil:
		return nil, err
	}
	hosts := make([]string, len(names))
	for i, name := range names {
		if hosts[i], err = linkedHost(links, name); err != nil {
			return nil, err
		}
	}
	return hosts, nil
}

// linkedHost is the host name of the linked hub that people mean. A hub of the server
// is meant before one elsewhere that is called the same.
func linkedHost(links []linkedhub.Link, name string) (string, error) {
	var here, elsewhere, known []string
	for _, link := range links {
		switch {
		case strings.EqualFold(link.HostName, name):
			return link.HostName, nil
		case !strings.EqualFold(link.Hub, name):
		case link.Local:
			here = append(here, link.HostName)
		default:
			elsewhere = append(elsewhere, link.HostName)
		}
		known = append(known, cli.NameAndHost(link.Hub, link.HostName))
	}
	switch found := append(here, elsewhere...); {
	case len(here) == 1 || len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", cli.UsageError(fmt.Errorf("several linked hubs are called %s: say which by its host name, %s", name,
			strings.Join(found, " or ")))
	case len(known) == 0:
		return "", cli.Advise(fmt.Errorf("there is no hub %q: no hub is linked", name), "berth hub link HUB links one.")
	}
	return "", cli.Advise(fmt.Errorf("no hub %q is linked, but %s", name, strings.Join(known, ", ")),
		"berth hub link HUB links another.")
}

// hostOf is the host of a hub, linked or of the data folder's server, by its name;
// what is none is taken for a host.
func (c commands) hostOf(ctx context.Context, name string) string {
	if hosts, err := c.linkedHosts(ctx, name); err == nil && hosts[0] != name {
		return hosts[0]
	}
	if info, err := c.Target.Info(); err == nil && c.Target.ConnectionString == "" {
		if hub, err := cli.FindHub(info, name); err == nil {
			return hub.Host
		}
	}
	return name
}
