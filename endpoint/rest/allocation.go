package rest

import (
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/provisioning"
)

// allocation are the operations on what devices can be assigned to: linked hubs,
// and the networks that tell how far those are.
func (h *handler) allocation() []route {
	return []route{
		{"GET", contract.HubLinksPath, provisioningAPI, provisioning.EnrollmentRead, 0, listHubLinks},
		{"POST", contract.HubLinksPath, provisioningAPI, provisioning.ServiceConfig, smallBody, createHub},
		{"GET", contract.HubLinkPath, provisioningAPI, provisioning.EnrollmentRead, 0, getHubLink},
		{"PUT", contract.HubLinkPath, provisioningAPI, provisioning.ServiceConfig, smallBody, putHubLink},
		{"DELETE", contract.HubLinkPath, provisioningAPI, provisioning.ServiceConfig, 0, deleteHubLink},
		{"GET", contract.NetworksPath, provisioningAPI, provisioning.EnrollmentRead, 0, listNetworks},
		{"PUT", contract.NetworkPath, provisioningAPI, provisioning.ServiceConfig, smallBody, putNetwork},
		{"DELETE", contract.NetworkPath, provisioningAPI, provisioning.ServiceConfig, 0, deleteNetwork},
		{"POST", contract.AllocatePath, provisioningAPI, provisioning.EnrollmentRead, smallBody, previewAllocation},
	}
}

func listHubLinks(c *call) (any, error) { return c.Provisioning.HubLinks(), nil }

// newHub is a hub that this process is to have. Its host name is called as it is in
// the link that comes of it.
type newHub struct {
	Hub  string `json:"hub"`  // its name in this process: small letters, digits and dashes
	Host string `json:"name"` // that devices reach it by; the server finds one where it can when empty
}

// createHub adds a hub to this process, which links it.
func createHub(c *call) (any, error) {
	var wanted newHub
	if err := c.decode(&wanted); err != nil {
		return nil, err
	}
	link, err := c.CreateHub(c.Context(), wanted.Hub, wanted.Host)
	return link, err
}

// getHubLink counts the devices of the hub too when it is asked to.
func getHubLink(c *call) (any, error) {
	link, err := c.Provisioning.HubLink(c.parameters["host"])
	if err == nil && c.query("count") == "true" {
		var devices int
		devices, err = c.Provisioning.AssignedTo(c.Context(), link.HostName)
		link.AssignedDevices = &devices
	}
	return link, err
}

func putHubLink(c *call) (any, error) {
	var link provisioning.HubLink
	if err := c.decode(&link); err != nil {
		return nil, err
	}
	link.HostName = c.parameters["host"]
	linked, err := c.Provisioning.LinkHub(c.Context(), link, c.Header.Get("If-Match"))
	return linked, err
}

func deleteHubLink(c *call) (any, error) {
	return nil, c.Provisioning.UnlinkHub(c.Context(), c.parameters["host"], c.Header.Get("If-Match"), c.query("force") == "true")
}

func listNetworks(c *call) (any, error) { return c.Provisioning.Networks(), nil }

func putNetwork(c *call) (any, error) {
	var network provisioning.Network
	if err := c.decode(&network); err != nil {
		return nil, err
	}
	network.Prefix = c.parameters["prefix"]
	network, err := c.Provisioning.PutNetwork(c.Context(), network, c.Header.Get("If-Match"))
	return network, err
}

func deleteNetwork(c *call) (any, error) {
	return nil, c.Provisioning.DeleteNetwork(c.Context(), c.parameters["prefix"])
}

// previewAllocation says where a device would go, and changes nothing.
func previewAllocation(c *call) (any, error) {
	var request provisioning.PreviewRequest
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	preview, err := c.Provisioning.PreviewAllocation(c.Context(), request)
	return preview, err
}
