package rest

import (
	"strings"

	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/fault"
)

func (s *service) getGroup(c *https.Call) (any, error) {
	group, err := s.Provisioning.Groups().Get(c.Context(), c.Parameter("id"))
	return c.Tagged(s.policyRenderer(c).group(group), group.ETag, err)
}

func (s *service) putGroup(c *https.Call) (any, error) {
	var body sentGroup
	if err := c.Decode(&body); err != nil {
		return nil, err
	}
	id := c.Parameter("id")
	if body.EnrollmentGroupID == "" {
		body.EnrollmentGroupID = id
	}
	if !strings.EqualFold(body.EnrollmentGroupID, id) {
		return nil, fault.New(fault.ArgumentInvalid, "The body names the enrollment group %.128q, the address %.128q",
			body.EnrollmentGroupID, id)
	}
	written, err := createOrReplace(c, body, s.createGroup, s.replaceGroup)
	return c.Tagged(s.policyRenderer(c).group(written), written.ETag, err)
}

func (s *service) deleteGroup(c *https.Call) (any, error) {
	return nil, s.Provisioning.Groups().Delete(c.Context(), c.Parameter("id"), c.Header.Get("If-Match"))
}

func (s *service) groupAttestationMechanism(c *https.Call) (any, error) {
	mechanism, err := s.Provisioning.Groups().AttestationMechanism(c.Context(), c.Parameter("id"))
	return mechanism, err
}
