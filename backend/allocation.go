package backend

import (
	"context"
	"net/http"
	"net/url"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// HubLinks returns the linked hubs.
func (p *Provisioning) HubLinks(ctx context.Context) (links []linkedhub.Link, err error) {
	err = p.do(ctx, request{method: http.MethodGet, path: contract.HubLinksPath, into: &links})
	return links, err
}

// HubLink returns the link of a hub, with the number of its devices when count is
// set: that reads all registrations.
func (p *Provisioning) HubLink(ctx context.Context, host string, count bool) (link linkedhub.Link, err error) {
	query := url.Values{}
	if count {
		query.Set("count", "true")
	}
	err = p.do(ctx, request{method: http.MethodGet, path: contract.HubLinkPath.With(host), query: query, into: &link})
	return link, err
}

// CreateHub adds a hub to the server's process and links it. host may be "" where
// the server can find one.
func (p *Provisioning) CreateHub(ctx context.Context, name, host string) (link linkedhub.Link, err error) {
	err = p.do(ctx, request{method: http.MethodPost, path: contract.HubLinksPath, body: map[string]string{"hub": name,
		"name": host}, into: &link})
	return link, err
}

// LinkHub links a hub, or replaces its link; a connection string that is left out
// stays.
func (p *Provisioning) LinkHub(ctx context.Context, link linkedhub.Link,
	ifMatch string) (linked linkedhub.Link, err error) {
	err = p.do(ctx, request{method: http.MethodPut, path: contract.HubLinkPath.With(link.HostName), ifMatch: ifMatch,
		body: link, into: &linked})
	return linked, err
}

// UnlinkHub ends the link of a hub, though it has devices when force is set.
func (p *Provisioning) UnlinkHub(ctx context.Context, host, ifMatch string, force bool) error {
	query := url.Values{}
	if force {
		query.Set("force", "true")
	}
	return p.do(ctx, request{method: http.MethodDelete, path: contract.HubLinkPath.With(host), query: query,
		ifMatch: ifMatch})
}

// Networks returns the networks for lowest latency, the narrowest first.
func (p *Provisioning) Networks(ctx context.Context) (networks []allocation.Network, err error) {
	err = p.do(ctx, request{method: http.MethodGet, path: contract.NetworksPath, into: &networks})
	return networks, err
}

// PutNetwork configures a network, or replaces what is configured of it.
func (p *Provisioning) PutNetwork(ctx context.Context, network allocation.Network,
	ifMatch string) (put allocation.Network, err error) {
	err = p.do(ctx, request{method: http.MethodPut, path: contract.NetworkPath.With(network.Prefix), ifMatch: ifMatch,
		body: network, into: &put})
	return put, err
}

// DeleteNetwork forgets a network.
func (p *Provisioning) DeleteNetwork(ctx context.Context, prefix string) error {
	return p.do(ctx, request{method: http.MethodDelete, path: contract.NetworkPath.With(prefix)})
}

// PreviewAllocation says where a device would go, and why.
func (p *Provisioning) PreviewAllocation(ctx context.Context,
	wanted provisioning.PreviewRequest) (preview provisioning.Preview, err error) {
	err = p.do(ctx, request{method: http.MethodPost, path: contract.AllocatePath, body: wanted, into: &preview})
	return preview, err
}
