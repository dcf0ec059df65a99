package rest

import (
	"github.com/berth-iot/berth/access"
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/provisioning"
)

// policies are the operations on the provisioning service's shared access
// policies, which Azure has in its management API. They show keys, so even to read
// takes the right to configure.
func (h *handler) policies() []route {
	return []route{
		{"GET", contract.AccessPoliciesPath, provisioningAPI, provisioning.ServiceConfig, 0, listPolicies},
		{"POST", contract.AccessPoliciesPath, provisioningAPI, provisioning.ServiceConfig, smallBody, createPolicy},
		{"GET", contract.AccessPolicyPath, provisioningAPI, provisioning.ServiceConfig, 0, getPolicy},
		{"PUT", contract.AccessPolicyPath, provisioningAPI, provisioning.ServiceConfig, smallBody, putPolicy},
		{"DELETE", contract.AccessPolicyPath, provisioningAPI, provisioning.ServiceConfig, 0, deletePolicy},
		{"POST", contract.AccessPolicyKeyPath, provisioningAPI, provisioning.ServiceConfig, smallBody,
			regeneratePolicyKey},
	}
}

// policyBody is what is sent of a policy: the service makes its keys.
type policyBody struct {
	Name   string   `json:"keyName"` // of a new one
	Rights []string `json:"rights"`
}

// keyWanted says which key of a policy is made anew.
type keyWanted struct {
	Key string `json:"key"` // primary or secondary
}

func listPolicies(c *call) (any, error) {
	return c.Provisioning.Access().List(c.Context())
}

func getPolicy(c *call) (any, error) {
	policy, err := c.Provisioning.Access().Get(c.Context(), c.parameters["name"])
	return c.tagged(policy, policy.ETag, err)
}

func createPolicy(c *call) (any, error) {
	var body policyBody
	if err := c.decode(&body); err != nil {
		return nil, err
	}
	policy, err := c.Provisioning.Access().Create(c.Context(), body.Name, body.Rights)
	return c.tagged(policy, policy.ETag, err)
}

func putPolicy(c *call) (any, error) {
	var body policyBody
	if err := c.decode(&body); err != nil {
		return nil, err
	}
	policy, err := c.Provisioning.Access().SetRights(c.Context(), c.parameters["name"], body.Rights, c.Header.Get("If-Match"))
	return c.changedPolicy(policy, err)
}

func regeneratePolicyKey(c *call) (any, error) {
	var wanted keyWanted
	if err := c.decode(&wanted); err != nil {
		return nil, err
	}
	policy, err := c.Provisioning.Access().RegenerateKey(c.Context(), c.parameters["name"], wanted.Key, c.Header.Get("If-Match"))
	return c.changedPolicy(policy, err)
}

func deletePolicy(c *call) (any, error) {
	err := c.Provisioning.Access().Delete(c.Context(), c.parameters["name"], c.Header.Get("If-Match"))
	if err == nil {
		c.PoliciesChanged()
	}
	return nil, err
}

// changedPolicy tells the server of the change, which may be of the key that it
// has written down.
func (c *call) changedPolicy(policy access.Policy, err error) (any, error) {
	if err == nil {
		c.PoliciesChanged()
	}
	return c.tagged(policy, policy.ETag, err)
}
