package rest

import (
	"strings"

	"github.com/berth-iot/berth/fault"
)

func getGroup(c *call) (any, error) {
	group, err := c.Provisioning.Group(c.Context(), c.parameters["id"])
	return c.tagged(c.policyTerms().group(group), group.ETag, err)
}

func putGroup(c *call) (any, error) {
	var body sentGroup
	if err := c.decode(&body); err != nil {
		return nil, err
	}
	id := c.parameters["id"]
	if body.EnrollmentGroupID == "" {
		body.EnrollmentGroupID = id
	}
	if !strings.EqualFold(body.EnrollmentGroupID, id) {
		return nil, fault.New(fault.ArgumentInvalid, "The body names the enrollment group %.128q, the address %.128q",
			body.EnrollmentGroupID, id)
	}
	written, err := createOrReplace(c, body, c.createGroup, c.putGroup)
	return c.tagged(c.policyTerms().group(written), written.ETag, err)
}

func deleteGroup(c *call) (any, error) {
	return nil, c.Provisioning.DeleteGroup(c.Context(), c.parameters["id"], c.Header.Get("If-Match"))
}

func groupAttestationMechanism(c *call) (any, error) {
	mechanism, err := c.Provisioning.GroupAttestationMechanism(c.Context(), c.parameters["id"])
	return mechanism, err
}
