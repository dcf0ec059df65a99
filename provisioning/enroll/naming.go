package enroll

import (
	"context"
	"fmt"

	"github.com/berth-iot/berth/store"
)

// FindNaming returns an enrollment or group that names a hub, with what it is, "enrollment"
// or "group"; the id is "" when none does. It may read all of them.
func FindNaming(ctx context.Context, documents store.Documents, host string) (kind, id string, _ error) {
	enrollments := store.NewTable[Enrollment](documents, EnrollmentRecords)
	enrollment, found, err := enrollments.Find(ctx, func(e Enrollment) bool {
		return e.Allocation().Names(host)
	})
	if err != nil {
		return "", "", fmt.Errorf("look for enrollments that name the hub %s: %w", host, err)
	}
	if found {
		return "enrollment", enrollment.RegistrationID, nil
	}
	group, found, err := store.NewTable[StoredGroup](documents, GroupRecords).Find(ctx, func(g StoredGroup) bool {
		return g.Allocation().Names(host)
	})
	if err != nil {
		return "", "", fmt.Errorf("look for groups that name the hub %s: %w", host, err)
	}
	if found {
		return "group", group.EnrollmentGroupID, nil
	}
	return "", "", nil
}
