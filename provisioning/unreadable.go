package provisioning

import (
	"context"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/store"
)

// DeleteUnreadable removes a record that can't be read with what belongs to it, and
// reports whether it is of a kind where there is more to that than the record.
func (s *Service) DeleteUnreadable(ctx context.Context, collection, key string) (handled bool, err error) {
	switch collection {
	case s.enrollments.Collection:
		return true, s.DeleteEnrollment(ctx, key, "")
	case s.groups.Collection:
		return true, s.DeleteGroup(ctx, key, "")
	case s.registrations.Collection:
		return true, s.DeleteRegistration(ctx, key, "")
	case AuthorityRecords:
		return true, s.authorities.Delete(ctx, key, "", true)
	case s.links.Collection:
		return true, s.deleteRecord(ctx, audit.HubLink, collection, key)
	case s.access.Collection():
		return true, s.access.Delete(ctx, key, "")
	}
	return false, nil
}

// deleteRecord removes a record to which nothing else belongs.
func (s *Service) deleteRecord(ctx context.Context, kind audit.Kind, collection, key string) error {
	_, err := s.config.Documents.Commit(ctx, append(s.config.Audit.Change(ctx, audit.Deleted, kind, key, nil, nil),
		store.Change{Collection: collection, Key: key, Delete: true})...)
	return err
}
