package portal

import "net/http"

var policyRoutes = map[string]handler{
	"GET policies": reading(servicePolicies),
}

type policiesPage struct {
	Hub      string // whose policies they are; "" for the provisioning service's
	Host     string
	Policies []secret
}

func servicePolicies(c *call) error {
	service := c.config.Provisioning
	policies, err := service.Policies(c.r.Context())
	if err != nil {
		return err
	}
	return c.render(http.StatusOK, "policies", policiesPage{"", service.Host(), c.connectionStrings(service.Host(), policies)})
}

func hubPolicies(c *call) error {
	h, err := c.hub()
	if err != nil {
		return err
	}
	policies, err := h.Policies(c.r.Context())
	if err != nil {
		return err
	}
	return c.render(http.StatusOK, "policies", policiesPage{h.Name(), h.Host(), c.connectionStrings(h.Host(), policies)})
}
