package backend

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/attempts"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/inject"
)

// Provisioning is a client of a provisioning service.
type Provisioning struct {
	*client
	authorities
	faults[inject.Fault]
}

// NewProvisioning returns a client for the service of a connection string.
func NewProvisioning(connectionString string, options Options) (*Provisioning, error) {
	c, err := newClient(connectionString, "2021-10-01", options)
	if err != nil {
		return nil, err
	}
	return &Provisioning{c, authorities{c, contract.ServiceAuthorities},
		faults[inject.Fault]{c, contract.MisbehavioursPath, contract.MisbehaviourPath}}, nil
}

// Enrollment returns an individual enrollment.
func (p *Provisioning) Enrollment(ctx context.Context, id string) (enrollment enroll.Enrollment, err error) {
	err = p.do(ctx, request{method: http.MethodGet, path: contract.EnrollmentPath.With(id), into: &enrollment})
	return enrollment, err
}

// PutEnrollment writes an enrollment: with ifMatch "" a new one, with "*" or an ETag
// as it stands in the enrollment in place of the one that is there.
func (p *Provisioning) PutEnrollment(ctx context.Context, enrollment enroll.Enrollment,
	ifMatch string) (written enroll.Enrollment, err error) {
	err = p.do(ctx, request{method: http.MethodPut, path: contract.EnrollmentPath.With(enrollment.RegistrationID),
		ifMatch: ifMatch,
		body:    wholeEnrollment(enrollment), into: &written})
	return written, err
}

// sentEnrollment says something of every property: what a client leaves out that its
// api-version does not know stays as it is stored.
type sentEnrollment struct {
	enroll.Enrollment
	CredentialPolicyName string `json:"credentialPolicyName"`
	ParentDeviceID       string `json:"parentDeviceId"`
}

func wholeEnrollment(e enroll.Enrollment) sentEnrollment {
	return sentEnrollment{e, e.CredentialPolicyName, e.ParentDeviceID}
}

// sentGroup is sentEnrollment of a group.
type sentGroup struct {
	enroll.Group
	CredentialPolicyName string `json:"credentialPolicyName"`
	ParentDeviceID       string `json:"parentDeviceId"`
}

func wholeGroup(g enroll.Group) sentGroup {
	return sentGroup{g, g.CredentialPolicyName, g.ParentDeviceID}
}

// convert is every item as it is sent.
func convert[T, S any](items []T, sent func(T) S) []S {
	all := make([]S, len(items))
	for i, item := range items {
		all[i] = sent(item)
	}
	return all
}

// CreateEnrollment adds an enrollment; it is fault 409202 when there is one.
func (p *Provisioning) CreateEnrollment(ctx context.Context,
	enrollment enroll.Enrollment) (enroll.Enrollment, error) {
	return p.PutEnrollment(ctx, enrollment, "")
}

// DeleteEnrollment removes an enrollment under the condition ifMatch.
func (p *Provisioning) DeleteEnrollment(ctx context.Context, id, ifMatch string) error {
	return p.do(ctx, request{method: http.MethodDelete, path: contract.EnrollmentPath.With(id), ifMatch: ifMatch})
}

// Enrollments returns at most top enrollments with ids that start with prefix,
// and the after of the next call, "" at the end.
func (p *Provisioning) Enrollments(ctx context.Context, prefix, after string,
	top int) ([]enroll.Enrollment, string, error) {
	return list[enroll.Enrollment](ctx, p.client, contract.EnrollmentListPath, prefix, after, top)
}

// BulkMode is what a bulk operation does to each item.
type BulkMode string

const (
	BulkCreate            BulkMode = "create"
	BulkUpdate            BulkMode = "update"
	BulkUpdateIfMatchETag BulkMode = "updateIfMatchETag"
	BulkDelete            BulkMode = "delete"
)

// MaxBulk is how many items one bulk operation takes.
const MaxBulk = 100

// BulkError is what went wrong with one item of a bulk operation.
type BulkError struct {
	ID      string // registration id, or the group's id
	Code    int    // six digits, as of a fault
	Message string
}

// BulkEnrollments does the same to several enrollments, each for itself, and returns
// those that failed.
func (p *Provisioning) BulkEnrollments(ctx context.Context, mode BulkMode,
	enrollments []enroll.Enrollment) (failed []BulkError, err error) {
	return p.bulk(ctx, contract.EnrollmentsPath, map[string]any{"mode": mode, "enrollments": convert(enrollments,
		wholeEnrollment)})
}

// DryRunEnrollments says what BulkEnrollments would, and changes nothing. created is how
// many earlier calls of the same dry run would have created, by the type of attestation.
// It is fault 404000 of a service that can't do it, such as Azure's.
func (p *Provisioning) DryRunEnrollments(ctx context.Context, mode BulkMode, enrollments []enroll.Enrollment,
	created map[string]int) (failed []BulkError, err error) {
	return p.dryRun(ctx, contract.EnrollmentsDryRunPath, created,
		map[string]any{"mode": mode, "enrollments": enrollments})
}

func (p *Provisioning) dryRun(ctx context.Context, path contract.Path, created map[string]int, body any) ([]BulkError,
	error) {
	query := url.Values{}
	for mechanism, n := range created {
		if n > 0 {
			query.Set(mechanism, strconv.Itoa(n))
		}
	}
	return p.doBulk(ctx, request{method: http.MethodPost, path: path, query: query, body: body})
}

func (p *Provisioning) bulk(ctx context.Context, path contract.Path, body any) (failed []BulkError, err error) {
	return p.doBulk(ctx, request{method: http.MethodPost, path: path, body: body})
}

func (p *Provisioning) doBulk(ctx context.Context, r request) (failed []BulkError, err error) {
	var answer contract.BulkResult
	r.into = &answer
	err = p.do(ctx, r)
	for _, e := range answer.Errors {
		failed = append(failed, BulkError{cmp.Or(e.RegistrationID, e.EnrollmentGroupID), e.ErrorCode, e.ErrorStatus})
	}
	return failed, err
}

// Registration returns the registration record of a device.
func (p *Provisioning) Registration(ctx context.Context,
	id string) (registration provisioning.Registration, err error) {
	err = p.do(ctx, request{method: http.MethodGet, path: contract.RegistrationPath.With(id), into: &registration})
	return registration, err
}

// Registrations lists registration records as Enrollments does enrollments.
func (p *Provisioning) Registrations(ctx context.Context, prefix, after string,
	top int) ([]provisioning.Registration, string, error) {
	return list[provisioning.Registration](ctx, p.client, contract.RegistrationListPath, prefix, after, top)
}

// DeleteRegistration removes a registration record under the condition ifMatch.
func (p *Provisioning) DeleteRegistration(ctx context.Context, id, ifMatch string) error {
	return p.do(ctx, request{method: http.MethodDelete, path: contract.RegistrationPath.With(id), ifMatch: ifMatch})
}

// Attempts returns attempts to register, newest first.
func (p *Provisioning) Attempts(ctx context.Context, filter attempts.Filter) (attempts []attest.Attempt, err error) {
	query := url.Values{}
	if filter.RegistrationID != "" {
		query.Set("registrationId", filter.RegistrationID)
	}
	if filter.Refused {
		query.Set("refused", "true")
	}
	if filter.Max > 0 {
		query.Set("max", fmt.Sprint(filter.Max))
	}
	err = p.do(ctx, request{method: http.MethodGet, path: contract.AttemptsPath, query: query, into: &attempts})
	return attempts, err
}

// LoginLink makes a link that logs in to the portal once, as operator or reader.
func (p *Provisioning) LoginLink(ctx context.Context, role string) (link credential.LoginLink, err error) {
	err = p.do(ctx, request{method: http.MethodPost, path: contract.PortalLinksPath,
		body: map[string]string{"role": role}, into: &link})
	return link, err
}

// Summary returns what the service is and how much it holds.
func (p *Provisioning) Summary(ctx context.Context) (summary provisioning.Summary, err error) {
	err = p.do(ctx, request{method: http.MethodGet, path: contract.ServicePath, into: &summary})
	return summary, err
}
