package provisioningcmd

import (
	"context"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// removeEnrollments deletes enrollments as an import writes them: in bulks of what the
// service takes, and again what came too fast.
func removeEnrollments(service *backend.Provisioning) func(context.Context, []string) (map[int]error, error) {
	sending := importing[enroll.Enrollment]{service: service,
		id:   func(e enroll.Enrollment) string { return e.RegistrationID },
		bulk: (*backend.Provisioning).BulkEnrollments}
	sending.most.Store(backend.MaxBulk)
	return func(ctx context.Context, ids []string) (map[int]error, error) {
		items := make([]enroll.Enrollment, len(ids))
		for n, id := range ids {
			items[n].RegistrationID = id
		}
		return sending.apply(ctx, backend.BulkDelete, items)
	}
}

// removeGroups is removeEnrollments for groups.
func removeGroups(service *backend.Provisioning) func(context.Context, []string) (map[int]error, error) {
	sending := importing[enroll.Group]{service: service,
		id:   func(g enroll.Group) string { return g.EnrollmentGroupID },
		bulk: (*backend.Provisioning).BulkGroups}
	sending.most.Store(backend.MaxBulk)
	return func(ctx context.Context, ids []string) (map[int]error, error) {
		items := make([]enroll.Group, len(ids))
		for n, id := range ids {
			items[n].EnrollmentGroupID = id
		}
		return sending.apply(ctx, backend.BulkDelete, items)
	}
}
