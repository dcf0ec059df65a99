package backend

import (
	"context"
	"net/http"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// Group returns an enrollment group.
func (p *Provisioning) Group(ctx context.Context, id string) (group enroll.Group, err error) {
	err = p.do(ctx, request{method: http.MethodGet, path: contract.GroupPath.With(id), into: &group})
	return group, err
}

// PutGroup writes a group, under the condition ifMatch as in PutEnrollment.
func (p *Provisioning) PutGroup(ctx context.Context, group enroll.Group,
	ifMatch string) (written enroll.Group, err error) {
	err = p.do(ctx, request{method: http.MethodPut, path: contract.GroupPath.With(group.EnrollmentGroupID),
		ifMatch: ifMatch,
		body:    wholeGroup(group), into: &written})
	return written, err
}

// DeleteGroup removes a group under the condition ifMatch.
func (p *Provisioning) DeleteGroup(ctx context.Context, id, ifMatch string) error {
	return p.do(ctx, request{method: http.MethodDelete, path: contract.GroupPath.With(id), ifMatch: ifMatch})
}

// BulkGroups is BulkEnrollments for groups, whose ids stand in BulkError.ID.
func (p *Provisioning) BulkGroups(ctx context.Context, mode BulkMode,
	groups []enroll.Group) (failed []BulkError, err error) {
	return p.bulk(ctx, contract.GroupsPath,
		map[string]any{"mode": mode, "enrollmentGroups": convert(groups, wholeGroup)})
}

// DryRunGroups is DryRunEnrollments for groups.
func (p *Provisioning) DryRunGroups(ctx context.Context, mode BulkMode, groups []enroll.Group,
	created map[string]int) (failed []BulkError, err error) {
	return p.dryRun(ctx, contract.GroupsDryRunPath, created,
		map[string]any{"mode": mode, "enrollmentGroups": groups})
}

// Groups lists the groups as Enrollments does enrollments.
func (p *Provisioning) Groups(ctx context.Context, prefix, after string,
	top int) ([]enroll.Group, string, error) {
	return list[enroll.Group](ctx, p.client, contract.GroupListPath, prefix, after, top)
}

// GroupAttestationMechanism returns how the devices of a group prove themselves,
// keys included.
func (p *Provisioning) GroupAttestationMechanism(ctx context.Context,
	id string) (mechanism enroll.AttestationMechanism, err error) {
	err = p.do(ctx, request{method: http.MethodPost, path: contract.GroupMechanismPath.With(id), into: &mechanism})
	return mechanism, err
}

// AttestationMechanism returns how the device of an enrollment proves itself, keys
// included.
func (p *Provisioning) AttestationMechanism(ctx context.Context,
	id string) (mechanism enroll.AttestationMechanism, err error) {
	err = p.do(ctx, request{method: http.MethodPost, path: contract.EnrollmentMechanismPath.With(id), into: &mechanism})
	return mechanism, err
}
