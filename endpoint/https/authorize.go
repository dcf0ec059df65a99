package https

import (
	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/provisioning"
)

// authorize checks the token of a back end. It comes before the body is read.
func (c *Call) authorize(found Operation) error {
	token := c.Header.Get("Authorization")
	switch {
	case found.Right == "":
		return nil
	case found.API == HubAPI:
		_, err := c.Hub.Access().Authorize(c.Context(), token, found.Right, found.resource(c.parameters)...)
		if err != nil {
			return err
		}
		c.Proven()
		return c.Hub.Throttle().Take(found.Throttle)
	}
	policy, err := c.door.Provisioning.Access().Authorize(c.Context(), token, found.Right,
		found.resource(c.parameters)...)
	if policy.Name == "" && err != nil {
		return err
	}
	c.Request = c.Request.WithContext(audit.WithActor(c.Context(), audit.Actor{Name: "policy " + policy.Name,
		Remote: c.RemoteAddr}))
	if err != nil {
		c.auditRefusal(found, err)
		return err
	}
	c.Proven()
	if policy.Allows(provisioning.ServiceConfig) {
		c.Request = c.Request.WithContext(provisioning.WithConfidential(c.Context()))
	}
	if found.Path.IsOwn() {
		return nil // what Azure has no limit for, as it does not have it
	}
	return c.door.Provisioning.ThrottleOperation()
}
