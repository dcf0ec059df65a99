package provisioning

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/store"
)

// FindReference returns what refers to a hub by its host name, such as "the device d1 is
// assigned to it", or "" for nothing. It may read all registrations, enrollments and
// groups of the service.
func FindReference(ctx context.Context, documents store.Documents, host string) (string, error) {
	is := func(name string) bool { return strings.EqualFold(name, host) }
	registrations := store.NewTable[storedRegistration](documents, RegistrationRecords)
	registered, found, err := registrations.Find(ctx, func(r storedRegistration) bool {
		return is(r.AssignedHub) || slices.ContainsFunc(r.Stale, func(left deviceRef) bool { return is(left.Hub) })
	})
	if err != nil {
		return "", fmt.Errorf("look for devices of the hub %s: %w", host, err)
	}
	if found {
		return fmt.Sprintf("the device %s is assigned to it", registered.RegistrationID), nil
	}
	kind, id, err := enroll.FindNaming(ctx, documents, host)
	if err != nil || id == "" {
		return "", err
	}
	return fmt.Sprintf("the %s %s names it", kind, id), nil
}

// checkHubUnnamed returns fault 409000 for a hub that an enrollment or group names.
func (s *Service) checkHubUnnamed(ctx context.Context, host string) error {
	switch kind, id, err := enroll.FindNaming(ctx, s.config.Documents, host); {
	case err != nil:
		return err
	case id == "":
		return nil
	case kind == "group":
		return fault.New(fault.Conflict, "The group %s names the hub %s. Without it its devices can't register, or go "+
			"to the other hubs that it names. Let it name another hub first, or unlink this one by force", id, host)
	default:
		return fault.New(fault.Conflict, "The enrollment %s names the hub %s. Without it its devices can't register, "+
			"or go to the other hubs that it names. Let it name another hub first, or unlink this one by force", id,
			host)
	}
}

// MoveOwners puts on record under another host name whose the identities in a hub are. It is
// safe to repeat, and goes on where it was interrupted.
func MoveOwners(ctx context.Context, documents store.Documents, from, to string) error {
	owners := store.NewTable[owner](documents, ownerRecords)
	prefix := ownerKey(deviceRef{Hub: from})
	for {
		const atOnce = 400 // each is two changes of a commit
		entries, err := owners.List(ctx, prefix, "", atOnce)
		if err != nil {
			return fmt.Errorf("read whose the devices of the hub %s are: %w", from, err)
		}
		if len(entries) == 0 {
			return nil
		}
		var changes []store.Change
		for _, entry := range entries {
			moved := deviceRef{Hub: to, DeviceID: strings.TrimPrefix(entry.Key, prefix)}
			changes = append(changes, owners.Delete(entry.Key, store.IfMatch(entry.ETag)),
				owners.Put(ownerKey(moved), store.Always, entry.Value))
		}
		if _, err := documents.Commit(ctx, changes...); err != nil {
			return fmt.Errorf("note whose the devices of the hub %s are: %w", to, err)
		}
	}
}
