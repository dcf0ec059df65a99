package own

import (
	"github.com/berth-iot/berth/access"
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/provisioning"
)

// policies are the operations on the provisioning service's shared access
// policies, which Azure has in its management API. They show keys, so even to read
// takes the right to configure.
func (s *service) policies() []https.Operation {
	return []https.Operation{
		dps("GET", contract.AccessPoliciesPath, provisioning.ServiceConfig, 0, s.listPolicies),
		dps("POST", contract.AccessPoliciesPath, provisioning.ServiceConfig, https.SmallBody, s.createPolicy),
		dps("GET", contract.AccessPolicyPath, provisioning.ServiceConfig, 0, s.getPolicy),
		dps("PUT", contract.AccessPolicyPath, provisioning.ServiceConfig, https.SmallBody, s.putPolicy).IfMatch(),
		dps("DELETE", contract.AccessPolicyPath, provisioning.ServiceConfig, 0, s.deletePolicy).IfMatch(),
		dps("POST", contract.AccessPolicyKeyPath, provisioning.ServiceConfig, https.SmallBody, s.regeneratePolicyKey).
			IfMatch(),
	}
}

// SharedAccessPolicy is what is sent of a policy: the service makes its keys.
type SharedAccessPolicy struct {
	Name   string   `json:"keyName"` // of a new one
	Rights []string `json:"rights"`
}

// RegenerateKey says which key of a policy is regenerated.
type RegenerateKey struct {
	Key string `json:"key"` // primary or secondary
}

func (s *service) listPolicies(c *https.Call) (any, error) {
	return s.Provisioning.Access().List(c.Context())
}

func (s *service) getPolicy(c *https.Call) (any, error) {
	policy, err := s.Provisioning.Access().Get(c.Context(), c.Parameter("name"))
	return c.Tagged(policy, policy.ETag, err)
}

func (s *service) createPolicy(c *https.Call) (any, error) {
	var body SharedAccessPolicy
	if err := c.Decode(&body); err != nil {
		return nil, err
	}
	policy, err := s.Provisioning.Access().Create(c.Context(), body.Name, body.Rights)
	return c.Tagged(policy, policy.ETag, err)
}

func (s *service) putPolicy(c *https.Call) (any, error) {
	var body SharedAccessPolicy
	if err := c.Decode(&body); err != nil {
		return nil, err
	}
	policy, err := s.Provisioning.Access().SetRights(c.Context(), c.Parameter("name"), body.Rights,
		c.Header.Get("If-Match"))
	return s.changedPolicy(c, policy, err)
}

func (s *service) regeneratePolicyKey(c *https.Call) (any, error) {
	var wanted RegenerateKey
	if err := c.Decode(&wanted); err != nil {
		return nil, err
	}
	policy, err := s.Provisioning.Access().RegenerateKey(c.Context(), c.Parameter("name"), wanted.Key,
		c.Header.Get("If-Match"))
	return s.changedPolicy(c, policy, err)
}

func (s *service) deletePolicy(c *https.Call) (any, error) {
	err := s.Provisioning.Access().Delete(c.Context(), c.Parameter("name"), c.Header.Get("If-Match"))
	if err == nil {
		s.PoliciesChanged()
	}
	return nil, err
}

// changedPolicy tells the server of the change, which may be of the key that it
// has written down.
func (s *service) changedPolicy(c *https.Call, policy access.Policy, err error) (any, error) {
	if err == nil {
		s.PoliciesChanged()
	}
	return c.Tagged(policy, policy.ETag, err)
}
