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

// ambiguousName is the error of a name by which several hubs are linked.
type ambiguousName struct {
	name  string
	hosts []string
}

func (e *ambiguousName) Error() string {
	return fmt.Sprintf("several linked hubs are called %s: say which by its host name, %s", e.name,
		strings.Join(e.hosts, " or "))
}

// linkedHost is the host name of the linked hub that people mean.
func linkedHost(links []linkedhub.Link, name string) (string, error) {
	var found, known []string
	for _, link := range links {
		switch {
		case strings.EqualFold(link.HostName, name):
			return link.HostName, nil
		case strings.EqualFold(link.Hub, name):
			found = append(found, link.HostName)
		}
		known = append(known, cli.NameAndHost(link.Hub, link.HostName))
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", cli.UsageError(&ambiguousName{name, found})
	case len(known) == 0:
		return "", cli.Advise(fmt.Errorf("there is no hub %q: no hub is linked", name), "berth hub link HUB links one.")
	}
	return "", cli.Advise(fmt.Errorf("no hub %q is linked, but %s", name, strings.Join(known, ", ")),
		"berth hub link HUB links another.")
}

// hostOf is the host of a hub, linked or of the data folder's server, by its name;
// what is none is taken for a host. A name that several have is an error.
func (c commands) hostOf(ctx context.Context, name string) (string, error) {
	hosts, err := c.linkedHosts(ctx, name)
	switch {
	case errors.As(err, new(*ambiguousName)):
		return "", err
	case err == nil && hosts[0] != name:
		return hosts[0], nil
	}
	if info, err := c.Target.Info(); err == nil && c.Target.ConnectionString == "" {
		if hub, err := cli.FindHub(info, name); err == nil {
			return hub.Host, nil
		}
	}
	return name, nil
}
