package provisioning

import (
	"context"
	"errors"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// findDerivedMember finds the group from whose key the device's is derived: the group
// that it came in by before, else any. What it costs to find none is bounded for
// each device, for each source and for all together.
func (s *Service) findDerivedMember(ctx context.Context, trace *attest.Trace,
	evidence attest.Evidence) (principal, attest.Refusal, error) {
	groups, err := s.groups.LoadKeys(ctx)
	if err != nil {
		return principal{}, "", err
	}
	search, err := attest.NewDerivedSearch(evidence)
	if err != nil {
		return principal{}, "", err
	}
	before, err := s.loadRegistration(ctx, evidence.RegistrationID)
	if err != nil && !errors.Is(err, fault.RegistrationNotFound) {
		return principal{}, "", err
	}
	if i, ok := groups.Find(before.GroupID); ok && groups.Try(search, i) {
		return s.loadDerivedMember(ctx, trace, evidence, groups.ID(i))
	}
	found, err := s.searchGroups(ctx, evidence, search, groups)
	if err != nil {
		trace.Fail("throttle", fault.From(err).Text(), fault.Say("fewer tokens that were made with a key of no group"),
			fault.Say("Give the devices at this address the keys that are derived from their group's, "+
				"or enroll them one by one: an individual enrollment costs no search"))
		return principal{}, "", err
	}
	if found >= 0 {
		return s.loadDerivedMember(ctx, trace, evidence, groups.ID(found))
	}
	trace.Fail("enrollment",
		fault.Say("none; the token is from none of %d groups with symmetric keys", groups.Len()),
		fault.Say("an individual enrollment %s, or a group from whose key the device's is derived",
			evidence.RegistrationID),
		fault.Say("Enroll the device, "+
			"or give it the key that is derived from its group's for exactly this registration id: "+
			"berth group device-key GROUP %s", evidence.RegistrationID))
	return principal{}, attest.NotAdmitted, nil
}

// searchGroups tries the groups one after the other, and returns the index of the one
// from whose key the device's is derived; -1 for none.
func (s *Service) searchGroups(ctx context.Context, evidence attest.Evidence, search *attest.DerivedSearch,
	groups *enroll.KeyGroups) (found int, _ error) {
	found = -1
	if groups.Len() == 0 {
		return found, nil
	}
	end, err := s.searches.Begin(ctx, evidence.RemoteAddr, evidence.RegistrationID, groups.Len(), s.config.Now)
	if err != nil {
		return found, err
	}
	defer func() { end(found >= 0) }() // also when it panics
	for i := range groups.Len() {
		if groups.Try(search, i) {
			return i, nil
		}
	}
	return found, nil
}

// loadDerivedMember is the device as a member of the group that was found, as it is now.
func (s *Service) loadDerivedMember(ctx context.Context, trace *attest.Trace, evidence attest.Evidence,
	groupID string) (principal, attest.Refusal, error) {
	group, err := s.groups.Load(ctx, groupID)
	if err != nil && !errors.Is(err, fault.GroupNotFound) {
		return principal{}, "", err
	}
	var member enroll.Enrollment
	name, ok := "", false
	if err == nil && group.Attestation.Type == enroll.SymmetricKey {
		member = group.WithKeys(evidence.RegistrationID)
		keys := member.Attestation.SymmetricKey
		name, ok = attest.SigningKey(evidence, keys.PrimaryKey, keys.SecondaryKey)
	}
	if !ok { // changed or deleted this moment
		trace.Fail("enrollment", fault.Say("group %s, whose key was changed this moment", groupID),
			fault.Say("the derived key of a group"),
			fault.Say("Give the device the key that is derived from its group's now"))
		return principal{}, attest.NotAdmitted, nil
	}
	trace.Pass("enrollment", "group %s, symmetric key", group.EnrollmentGroupID)
	if name == "secondary" {
		trace.Pass("token signature", "made with the key derived from the group's secondary key")
	} else {
		trace.Pass("token signature", "made with the key derived from the group's primary key")
	}
	return principal{enrollment: member, group: group.EnrollmentGroupID}, "", nil
}
