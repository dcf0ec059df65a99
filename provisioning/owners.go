package provisioning

import (
	"context"
	"errors"
	"strings"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
	"github.com/berth-iot/berth/store"
)

// Whose an identity in a hub is: an individual enrollment names its registration id,
// and so decides. A group does not: its device may have what is free, what the group
// had before, and what belonged to an enrollment or group that is gone or disabled.
// What belongs to another, or was made by hand, it replaces only if its group says
// so.

// owner is by what an identity in a hub came to be. It is kept beside the
// registration, which may be deleted, and may have another id than the device.
type owner struct {
	RegistrationID string `json:"registrationId"`
	GroupID        string `json:"groupId,omitempty"`    // "" for an individual enrollment
	Generation     string `json:"generation,omitempty"` // of the identity; another one was made by hand since
}

// ownerRecords is the collection of the owners.
const ownerRecords = "provisioning/owners"

// ownerKey is where the owner of an identity is kept. Host names have no case.
func ownerKey(p deviceRef) string { return strings.ToLower(p.Hub) + "/" + p.DeviceID }

// owns reports whether an owner is by what the intent's device comes.
func (i intent) owns(o owner) bool {
	return key(o.RegistrationID) == key(i.RegistrationID) && key(o.GroupID) == key(i.GroupID)
}

// String names the owner for the operator.
func (o owner) text() fault.Text {
	if o.GroupID != "" {
		return fault.Say("the group %s", o.GroupID)
	}
	return fault.Say("the individual enrollment %s", o.RegistrationID)
}

// loadOwner returns the owner of an identity, with the condition under which that
// holds. It reports false for one that nobody has, as far as is known.
func (s *Service) loadOwner(
	ctx context.Context, p deviceRef, before storedRegistration,
) (owner, store.Match, bool, error) {
	found, etag, err := s.owners.Get(ctx, ownerKey(p))
	switch {
	case err == nil:
		return found, store.IfMatch(etag), true, nil
	case !errors.Is(err, store.ErrNotFound):
		return owner{}, "", false, err
	case p == before.assignedRef(): // assigned by a version that did not keep this
		return before.owner(), store.Absent, true, nil
	}
	return owner{}, store.Absent, false, nil
}

// owner is by what the device of the record came to be where it is.
func (r storedRegistration) owner() owner {
	return owner{RegistrationID: r.RegistrationID, GroupID: r.GroupID}
}

// isActive reports whether an owner still lets devices in, so that nobody else may
// have what is its.
func (s *Service) isActive(ctx context.Context, o owner) (bool, error) {
	if o.GroupID == "" {
		enrollment, err := s.enrollments.Load(ctx, o.RegistrationID)
		if errors.Is(err, fault.EnrollmentNotFound) {
			return false, nil
		}
		return err == nil && enrollment.ProvisioningStatus != enroll.Disabled, err
	}
	group, err := s.groups.Load(ctx, o.GroupID)
	if errors.Is(err, fault.GroupNotFound) {
		return false, nil
	}
	return err == nil && group.ProvisioningStatus != enroll.Disabled, err
}

// mayReplace reports whether the device of an intent may take what is another's.
func (s *Service) mayReplace(ctx context.Context, i intent) (bool, error) {
	if i.GroupID == "" || s.config.Replace {
		return true, nil
	}
	group, err := s.groups.Load(ctx, i.GroupID)
	return err == nil && group.Replaces(), err
}

// claim is what became of asking whether a device may have an identity.
type claim struct {
	match    store.Match // of the owner that is on record
	recorded owner       // that one
	replaces fault.Text  // whose identity it takes, zero for nobody's
	own      bool        // nobody else's would be lost with it: it is free, or was this device's
}

// claim says whether the device of an intent may have the identity in a place, of
// which its hub tells what is there. before is its record as it was. It returns a
// failure with fault 409001 if not.
func (s *Service) claim(ctx context.Context, i intent, before storedRegistration, p deviceRef,
	present linkedhub.Identity) (claim, error) {
	found, match, known, err := s.loadOwner(ctx, p, before)
	if err != nil {
		return claim{}, err
	}
	c := claim{match: match, recorded: found}
	byHand := !known || found.Generation != "" && found.Generation != present.Generation
	switch {
	case present.Generation == "", !byHand && i.owns(found):
		c.own = true
		return c, nil
	case i.GroupID == "" || byHand && !present.Differs:
		return c, nil
	case !byHand:
		if holds, err := s.isActive(ctx, found); err != nil || !holds {
			return c, err
		}
		c.replaces = found.text()
	default:
		c.replaces = fault.Say("nobody here: it was made by hand, or by another service")
	}
	if may, err := s.mayReplace(ctx, i); err != nil || may {
		return c, err
	}
	return c, errIdentityTaken(p, c.replaces)
}

// claimRecord says the same of the identity that the record of the device's
// registration id names, before the record is written anew.
func (s *Service) claimRecord(ctx context.Context, i intent, before storedRegistration) error {
	if i.GroupID == "" || before.AssignedHub == "" || i.owns(before.owner()) {
		return nil
	}
	if holds, err := s.isActive(ctx, before.owner()); err != nil || !holds {
		return err
	}
	if may, err := s.mayReplace(ctx, i); err != nil || may {
		return err
	}
	hub := s.links.Find(before.AssignedHub)
	if hub == nil {
		return nil // its devices are no longer this service's
	}
	present, err := hub.Identity(ctx, identityQuery(before.DeviceID))
	if err != nil || present.Generation == "" {
		return err // it was deleted, so that the id is free
	}
	return errIdentityTaken(before.assignedRef(), before.owner().text())
}

// mayRead returns fault 404202 for the record of another device with the same
// registration id: a group's device may read what it could replace.
func (s *Service) mayRead(ctx context.Context, device principal, found storedRegistration) error {
	asks := intent{RegistrationID: found.RegistrationID, GroupID: device.group}
	if device.group == "" || asks.owns(found.owner()) {
		return nil
	}
	if holds, err := s.isActive(ctx, found.owner()); err != nil || !holds {
		return err
	}
	if may, err := s.mayReplace(ctx, asks); err != nil || may {
		return err
	}
	return fault.New(fault.RegistrationNotFound, "The device %q is not registered", found.RegistrationID)
}

// identityQuery is an admission that only asks whether a device is there.
func identityQuery(deviceID string) linkedhub.Admission {
	return linkedhub.Admission{DeviceID: deviceID, PrimaryKey: linkedhub.UnusedKey, SecondaryKey: linkedhub.UnusedKey}
}

// errIdentityTaken is the failure of a device that may not have an identity. The device is not
// told whose it is.
func errIdentityTaken(p deviceRef, whose fault.Text) error {
	why := attest.NewFailure("device identity",
		fault.Say("an identity that is new, that this group's device had before, "+
			"or whose enrollment is gone or disabled"),
		fault.Say("If this device is to take the place of the other, let its group replace existing devices: "+
			"berth group update GROUP --replace-existing-devices. "+
			"For this device alone: delete the other one in its hub, "+
			"disable what it belongs to, or enroll this one by itself"),
		fault.New(fault.DeviceAlreadyExists, "The device id %q belongs to another device", p.DeviceID))
	why.Saw = fault.Say("the device %s in %s belongs to %s", p.DeviceID, p.Hub, whose)
	return why
}

// addTo adds to a trace that a group's device takes another's place.
func (c claim) addTo(trace *attest.Trace, p deviceRef, i intent) {
	if !c.replaces.IsZero() {
		trace.Pass("device identity", "takes the place of the device %s in %s, which belonged to %s: "+
			"the group %s may replace existing devices", p.DeviceID, p.Hub, c.replaces, i.GroupID)
	}
}

// putOwner is the change that puts on record whose an identity is from now on.
func (s *Service) putOwner(i intent, p deviceRef, generation string, c claim) store.Change {
	now := owner{i.RegistrationID, i.GroupID, generation}
	change := s.owners.Put(ownerKey(p), c.match, now)
	change.Check = now == c.recorded && c.match != store.Absent && c.match != store.Always
	return change
}

// ownsIdentity reports whether an identity that a registration left, or is to leave, is
// still its own: the device may have been deleted and made again by hand.
func (s *Service) ownsIdentity(ctx context.Context, registrationID string, p deviceRef) (bool, error) {
	recorded, _, err := s.owners.Get(ctx, ownerKey(p))
	if errors.Is(err, store.ErrNotFound) {
		return true, nil // as far as is known
	}
	if err != nil || key(recorded.RegistrationID) != key(registrationID) {
		return false, err
	}
	hub := s.links.Find(p.Hub)
	if hub == nil || recorded.Generation == "" {
		return true, nil
	}
	present, err := hub.Identity(ctx, identityQuery(p.DeviceID))
	return present.Generation == "" || present.Generation == recorded.Generation, err
}
