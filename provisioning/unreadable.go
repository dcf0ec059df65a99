package provisioning

import (
	"context"

	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// DeleteUnreadable removes a record that can't be read with what belongs to it, and
// reports whether it is of a kind where there is more to that than the record.
func (s *Service) DeleteUnreadable(ctx context.Context, collection, key string) (handled bool, err error) {
	switch collection {
	case enroll.EnrollmentRecords:
		return true, s.Enrollments().Delete(ctx, key, "")
	case enroll.GroupRecords:
		return true, s.Groups().Delete(ctx, key, "")
	case s.registrations.Collection:
		return true, s.Registrations().Delete(ctx, key, "")
	case AuthorityRecords:
		return true, s.authorities.Delete(ctx, key, "", true)
	case linkedhub.Records:
		return true, s.links.DeleteUnreadable(ctx, key)
	case s.access.Collection():
		return true, s.access.Delete(ctx, key, "")
	}
	return false, nil
}
