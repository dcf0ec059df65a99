package rest

import (
	"strings"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
)

func getGroup(c *call) (any, error) {
	group, err := c.Provisioning.Group(c.Context(), c.parameters["id"])
	return c.tagged(group, group.ETag, err)
}

func putGroup(c *call) (any, error) {
	var group provisioning.EnrollmentGroup
	if err := c.decode(&group); err != nil {
		return nil, err
	}
	id := c.parameters["id"]
	if group.EnrollmentGroupID == "" {
		group.EnrollmentGroupID = id
	}
	if !strings.EqualFold(group.EnrollmentGroupID, id) {
		return nil, fault.New(fault.ArgumentInvalid, "The body names the enrollment group %.128q, the address %.128q", group.EnrollmentGroupID, id)
	}
	written, err := createOrReplace(c, group, c.Provisioning.CreateGroup, c.Provisioning.PutGroup)
	return c.tagged(written, written.ETag, err)
}

func deleteGroup(c *call) (any, error) {
	return nil, c.Provisioning.DeleteGroup(c.Context(), c.parameters["id"], c.Header.Get("If-Match"))
}

func groupAttestationMechanism(c *call) (any, error) {
	mechanism, err := c.Provisioning.GroupAttestationMechanism(c.Context(), c.parameters["id"])
	return mechanism, err
}
