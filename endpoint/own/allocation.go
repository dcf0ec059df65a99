package own

import (
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// allocation are the operations on what devices can be assigned to: linked hubs,
// and the networks that tell how far those are.
func (s *service) allocation() []https.Operation {
	return []https.Operation{
		dps("GET", contract.HubLinksPath, provisioning.EnrollmentRead, 0, s.listHubLinks),
		dps("POST", contract.HubLinksPath, provisioning.ServiceConfig, https.SmallBody, s.createHub),
		dps("GET", contract.HubLinkPath, provisioning.EnrollmentRead, 0, s.getHubLink).With("count"),
		dps("PUT", contract.HubLinkPath, provisioning.ServiceConfig, https.SmallBody, s.putHubLink).IfMatch(),
		dps("DELETE", contract.HubLinkPath, provisioning.ServiceConfig, 0, s.deleteHubLink).With("force").IfMatch(),
		dps("GET", contract.NetworksPath, provisioning.EnrollmentRead, 0, s.listNetworks),
		dps("PUT", contract.NetworkPath, provisioning.ServiceConfig, https.SmallBody, s.putNetwork).IfMatch(),
		dps("DELETE", contract.NetworkPath, provisioning.ServiceConfig, 0, s.deleteNetwork).IfMatch(),
		dps("POST", contract.AllocatePath, provisioning.EnrollmentRead, https.SmallBody, s.previewAllocation),
	}
}

func (s *service) listHubLinks(c *https.Call) (any, error) { return s.Provisioning.Links().List(), nil }

// NewHub is a hub that this process is to have. Its host name is called as it is in
// the link that comes of it.
type NewHub struct {
	Hub  string `json:"hub"`  // its name in this process: small letters, digits and dashes
	Host string `json:"name"` // that devices reach it by; the server finds one where it can when empty
}

// createHub adds a hub to this process, which links it.
func (s *service) createHub(c *https.Call) (any, error) {
	var wanted NewHub
	if err := c.Decode(&wanted); err != nil {
		return nil, err
	}
	link, err := s.CreateHub(c.Context(), wanted.Hub, wanted.Host)
	return link, err
}

// getHubLink counts the devices of the hub too when it is asked to.
func (s *service) getHubLink(c *https.Call) (any, error) {
	count, err := c.Flag("count")
	if err != nil {
		return nil, err
	}
	link, err := s.Provisioning.Links().Get(c.Parameter("host"))
	if err == nil && count {
		var devices int
		devices, err = s.Provisioning.Registrations().CountOfHub(c.Context(), link.HostName)
		link.AssignedDevices = &devices
	}
	return link, err
}

func (s *service) putHubLink(c *https.Call) (any, error) {
	var link linkedhub.Link
	if err := c.Decode(&link); err != nil {
		return nil, err
	}
	link.HostName = c.Parameter("host")
	linked, err := s.Provisioning.Links().Put(c.Context(), link, c.Header.Get("If-Match"))
	return linked, err
}

func (s *service) deleteHubLink(c *https.Call) (any, error) {
	force, err := c.Flag("force")
	if err != nil {
		return nil, err
	}
	return nil, s.Provisioning.Links().Delete(c.Context(), c.Parameter("host"), c.Header.Get("If-Match"), force)
}

func (s *service) listNetworks(c *https.Call) (any, error) {
	return s.Provisioning.Networks().List(), nil
}

// networkBody is a network as it is sent, of which null can be told from 0, the best latency.
type networkBody struct {
	Prefix    string              `json:"prefix"`
	Latencies map[string]*float64 `json:"latencies"`
	ETag      string              `json:"etag"`
}

func (s *service) putNetwork(c *https.Call) (any, error) {
	var body networkBody
	if err := c.Decode(&body); err != nil {
		return nil, err
	}
	network := allocation.Network{Prefix: c.Parameter("prefix"), Latencies: make(map[string]float64)}
	for location, millis := range body.Latencies {
		if millis == nil {
			return nil, fault.New(fault.ArgumentInvalid,
				"The latency of %.64q is null. Give milliseconds, or leave the location out", location)
		}
		network.Latencies[location] = *millis
	}
	network, err := s.Provisioning.Networks().Put(c.Context(), network, c.Header.Get("If-Match"))
	return network, err
}

func (s *service) deleteNetwork(c *https.Call) (any, error) {
	return nil, s.Provisioning.Networks().Delete(c.Context(), c.Parameter("prefix"), c.Header.Get("If-Match"))
}

// previewAllocation says where a device would go, and changes nothing.
func (s *service) previewAllocation(c *https.Call) (any, error) {
	var request provisioning.PreviewRequest
	if err := c.Decode(&request); err != nil {
		return nil, err
	}
	preview, err := s.Provisioning.PreviewAllocation(c.Context(), request)
	return preview, err
}
