package own

import (
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/configuration"
)

// configurations are the operations on configurations that Azure does not have.
func (s *service) configurations() []https.Operation {
	return []https.Operation{iot("POST", contract.TargetsPath, hub.RegistryRead, https.SmallBody, findTargets)}
}

// findTargets says which devices or modules a configuration would target, in parts: each
// answer comes soon, and says where the next one goes on.
func findTargets(c *https.Call) (any, error) {
	var body contract.ConfigurationTargets
	if err := c.Decode(&body); err != nil {
		return nil, err
	}
	var content configuration.Content
	if body.Content != nil {
		var err error
		if content, err = configuration.ReadContent(body.Content); err != nil {
			return nil, err
		}
	}
	return c.Hub.Configurations().Preview(c.Context(), body.TargetCondition, content, body.After)
}
