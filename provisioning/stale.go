package provisioning

import (
	"context"
	"slices"
	"time"

	"github.com/berth-iot/berth/provisioning/linkedhub"
	"github.com/berth-iot/berth/store"
)

// deviceRef is an identity in a hub.
type deviceRef struct {
	Hub      string `json:"hub"` // host name
	DeviceID string `json:"deviceId"`
}

// assignedRef is where the device was assigned last.
func (r storedRegistration) assignedRef() deviceRef { return deviceRef{r.AssignedHub, r.DeviceID} }

// withoutRef is the identities but for one.
func withoutRef(refs []deviceRef, one deviceRef) []deviceRef {
	return slices.DeleteFunc(slices.Clone(refs), func(p deviceRef) bool { return p == one })
}

// removeStale removes the identities that the device left behind. What a hub does not
// remove now, the sweep tries again.
func (s *Service) removeStale(ctx context.Context, result storedRegistration) {
	for _, left := range slices.Clone(result.Stale) {
		// One that is no longer linked can't be asked, and its devices are no
		// longer this service's.
		if hub := s.links.Find(left.Hub); hub != nil {
			removing, cancel := context.WithTimeout(ctx, removalTimeout)
			err := s.remove(removing, hub, result.RegistrationID, left)
			cancel()
			if err != nil {
				s.config.Logger.Warn("the device is still in its former hub", "registrationId", result.RegistrationID,
					"hub", left.Hub, "error", err)
				continue
			}
		}
		result.Stale = withoutRef(result.Stale, left)
		recorded, etag, err := s.owners.Get(ctx, ownerKey(left))
		if err == nil && key(recorded.RegistrationID) == key(result.RegistrationID) {
			result.ownerChanges = append(result.ownerChanges, s.owners.Delete(ownerKey(left), store.IfMatch(etag)))
		}
	}
	if err := s.saveRegistration(ctx, &result); err != nil && s.work.Err() == nil {
		s.config.Logger.Warn("what the device left is removed, but not on record",
			"registrationId", result.RegistrationID, "error", err)
	}
}

// remove removes an identity that a registration left in a hub, if it still is its.
func (s *Service) remove(ctx context.Context, hub linkedhub.Hub, registrationID string, left deviceRef) error {
	own, err := s.ownsIdentity(ctx, registrationID, left)
	if err != nil || !own {
		return err
	}
	return hub.Remove(ctx, left.DeviceID)
}

// removalTimeout bounds how long a hub may take to remove a device that has left
// it: the device may be waiting.
const removalTimeout = 10 * time.Second
