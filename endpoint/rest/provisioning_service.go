package rest

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/provisioning"
)

// provisioningService are the operations of back ends on the provisioning
// service (Azure, DPS data plane, service).
func (h *handler) provisioningService() []route {
	return []route{
		{"POST", contract.EnrollmentsPath, provisioningAPI, provisioning.EnrollmentWrite, largeBody, bulkEnrollments},
		{"POST", contract.EnrollmentsQueryPath, provisioningAPI, provisioning.EnrollmentRead, smallBody,
			queryEnrollments},
		{"GET", contract.EnrollmentPath, provisioningAPI, provisioning.EnrollmentRead, 0, getEnrollment},
		{"PUT", contract.EnrollmentPath, provisioningAPI, provisioning.EnrollmentWrite, smallBody, putEnrollment},
		{"DELETE", contract.EnrollmentPath, provisioningAPI, provisioning.EnrollmentWrite, 0, deleteEnrollment},
		{"POST", contract.EnrollmentMechanismPath, provisioningAPI, provisioning.EnrollmentRead, 0,
			attestationMechanism},
		{"POST", contract.GroupsPath, provisioningAPI, provisioning.EnrollmentWrite, largeBody, bulkGroups},
		{"POST", contract.GroupsQueryPath, provisioningAPI, provisioning.EnrollmentRead, smallBody, queryGroups},
		{"GET", contract.GroupPath, provisioningAPI, provisioning.EnrollmentRead, 0, getGroup},
		{"PUT", contract.GroupPath, provisioningAPI, provisioning.EnrollmentWrite, smallBody, putGroup},
		{"DELETE", contract.GroupPath, provisioningAPI, provisioning.EnrollmentWrite, 0, deleteGroup},
		{"POST", contract.GroupMechanismPath, provisioningAPI, provisioning.EnrollmentRead, 0,
			groupAttestationMechanism},
		{"POST", contract.GroupRegistrationsPath, provisioningAPI, provisioning.RegistrationStatusRead, smallBody,
			queryRegistrations},
		{"GET", contract.RegistrationPath, provisioningAPI, provisioning.RegistrationStatusRead, 0, getRegistration},
		{"DELETE", contract.RegistrationPath, provisioningAPI, provisioning.RegistrationStatusWrite, 0,
			deleteRegistration},
	}
}

func getEnrollment(c *call) (any, error) {
	enrollment, err := c.Provisioning.Enrollment(c.Context(), c.parameters["id"])
	return c.tagged(c.policyTerms().enrollment(enrollment), enrollment.ETag, err)
}

func putEnrollment(c *call) (any, error) {
	var body sentEnrollment
	if err := c.decode(&body); err != nil {
		return nil, err
	}
	id := c.parameters["id"]
	if body.RegistrationID == "" {
		body.RegistrationID = id
	}
	if !strings.EqualFold(body.RegistrationID, id) {
		return nil, fault.New(fault.InvalidRegistrationID,
			"The body names the registration id %.128q, the address %.128q", body.RegistrationID, id)
	}
	written, err := createOrReplace(c, body, c.createEnrollment, c.putEnrollment)
	return c.tagged(c.policyTerms().enrollment(written), written.ETag, err)
}

// createOrReplace creates an item, or replaces it when the request says by If-Match
// that it is to be there: as in Azure, who changes what is there says so.
func createOrReplace[B, T any](
	c *call, item B,
	create func(context.Context, B) (T, error),
	put func(ctx context.Context, item B, ifMatch string) (T, error),
) (T, error) {
	if ifMatch := c.Header.Get("If-Match"); ifMatch != "" {
		return put(c.Context(), item, ifMatch)
	}
	return create(c.Context(), item)
}

func deleteEnrollment(c *call) (any, error) {
	return nil, c.Provisioning.DeleteEnrollment(c.Context(), c.parameters["id"], c.Header.Get("If-Match"))
}

func attestationMechanism(c *call) (any, error) {
	mechanism, err := c.Provisioning.AttestationMechanism(c.Context(), c.parameters["id"])
	return mechanism, err
}

func getRegistration(c *call) (any, error) {
	registration, err := c.Provisioning.Registration(c.Context(), c.parameters["id"])
	return c.tagged(registration, registration.ETag, err)
}

func deleteRegistration(c *call) (any, error) {
	return nil, c.Provisioning.DeleteRegistration(c.Context(), c.parameters["id"], c.Header.Get("If-Match"))
}

// tagged returns a value with its ETag in the header.
func (c *call) tagged(value any, etag string, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	setHeader(c.w.Header(), "ETag", quoted(etag))
	return value, nil
}

// quoted is an ETag as HTTP has it.
func quoted(etag string) string { return `"` + strings.Trim(etag, `"`) + `"` }

// maxBulk is how many enrollments one bulk operation takes, unless the service has a
// limit; Azure takes 10.
const maxBulk = 1000

// errNoETag refuses an item of a bulk operation that is to be done under a
// condition and brings none. Else it would be done whatever the state.
func errNoETag(mode string) error {
	return fault.New(fault.ArgumentNull, "%.32s needs an etag. Read the item again and send the etag that it has", mode)
}

// bulkResult says which items of a bulk operation failed.
type bulkResult struct {
	IsSuccessful bool        `json:"isSuccessful"`
	Errors       []bulkError `json:"errors"`
}

// bulkError is an item of a bulk operation that failed.
type bulkError struct {
	RegistrationID    string `json:"registrationId,omitempty"`    // of an individual enrollment
	EnrollmentGroupID string `json:"enrollmentGroupId,omitempty"` // of a group
	ErrorCode         int    `json:"errorCode"`
	ErrorStatus       string `json:"errorStatus"`
}

// bulkOfEnrollments does the same to several individual enrollments.
type bulkOfEnrollments struct {
	Mode        string           `json:"mode"` // create, update, updateIfMatchETag or delete
	Enrollments []sentEnrollment `json:"enrollments"`
}

// bulkOfGroups does the same to several enrollment groups.
type bulkOfGroups struct {
	Mode   string      `json:"mode"` // as of individual enrollments
	Groups []sentGroup `json:"enrollmentGroups"`
}

// bulkEnrollments does the same to several enrollments, each for itself: those
// that fail are listed, the others are done.
func bulkEnrollments(c *call) (any, error) {
	var bulk bulkOfEnrollments
	if err := c.decode(&bulk); err != nil {
		return nil, err
	}
	return bulkOf(c, bulk.Mode, "enrollments", bulk.Enrollments, bulkOperations[sentEnrollment]{
		kind:     audit.Enrollment,
		identity: func(e sentEnrollment) (id, etag string) { return e.RegistrationID, e.ETag },
		create:   func(ctx context.Context, e sentEnrollment) error { return errorOf(c.createEnrollment(ctx, e)) },
		put: func(ctx context.Context, e sentEnrollment, ifMatch string) error {
			return errorOf(c.putEnrollment(ctx, e, ifMatch))
		},
		delete:  c.Provisioning.DeleteEnrollment,
		refused: func(id string) bulkError { return bulkError{RegistrationID: id} },
	})
}

// bulkGroups is bulkEnrollments for groups.
func bulkGroups(c *call) (any, error) {
	var bulk bulkOfGroups
	if err := c.decode(&bulk); err != nil {
		return nil, err
	}
	return bulkOf(c, bulk.Mode, "enrollment groups", bulk.Groups, bulkOperations[sentGroup]{
		kind:     audit.Group,
		identity: func(g sentGroup) (id, etag string) { return g.EnrollmentGroupID, g.ETag },
		create:   func(ctx context.Context, g sentGroup) error { return errorOf(c.createGroup(ctx, g)) },
		put: func(ctx context.Context, g sentGroup, ifMatch string) error {
			return errorOf(c.putGroup(ctx, g, ifMatch))
		},
		delete:  c.Provisioning.DeleteGroup,
		refused: func(id string) bulkError { return bulkError{EnrollmentGroupID: id} },
	})
}

// dryRunEnrollments says what bulkEnrollments would, and writes nothing. It has an
// address of its own: a parameter that another service does not know would be ignored.
func dryRunEnrollments(c *call) (any, error) {
	if err := c.dryRun(); err != nil {
		return nil, err
	}
	return bulkEnrollments(c)
}

// dryRunGroups is dryRunEnrollments for groups.
func dryRunGroups(c *call) (any, error) {
	if err := c.dryRun(); err != nil {
		return nil, err
	}
	return bulkGroups(c)
}

// dryRun makes the call one that writes nothing. The address says how many with each
// attestation earlier calls of the same dry run would have created.
func (c *call) dryRun() error {
	created := make(map[string]int)
	for _, mechanism := range []string{"x509", "symmetricKey", "tpm"} {
		n, err := c.number(mechanism, c.query(mechanism), 0, 1<<30)
		if err != nil {
			return err
		}
		created[mechanism] = n
	}
	c.Request = c.WithContext(provisioning.DryRun(c.Context(), created))
	return nil
}

// bulkOperations are what can be done to many things of a kind at once.
type bulkOperations[T any] struct {
	kind     audit.Kind
	identity func(T) (id, etag string)
	create   func(context.Context, T) error
	put      func(ctx context.Context, item T, ifMatch string) error
	delete   func(ctx context.Context, id, ifMatch string) error
	refused  func(id string) bulkError // which is yet to say why
}

// errorOf is why something could not be made, of what makes it.
func errorOf[T any](_ T, err error) error { return err }

func bulkOf[T any](c *call, mode, things string, items []T, operations bulkOperations[T]) (any, error) {
	most := cmp.Or(c.Provisioning.Limits().BulkItems, maxBulk)
	if n := len(items); n == 0 || n > most {
		return nil, fault.New(fault.TooManyEnrollments, "A bulk operation takes 1 to %d %s, this one has %d", most, things, n)
	}
	ctx := c.Context()
	action := audit.Updated
	var apply func(item T, id, etag string) error
	switch strings.ToLower(mode) {
	case "create":
		action = audit.Created
		apply = func(item T, _, _ string) error { return operations.create(ctx, item) }
	case "update":
		apply = func(item T, _, _ string) error { return operations.put(ctx, item, "*") }
	case "updateifmatchetag":
		apply = func(item T, _, etag string) error {
			if etag == "" {
				return errNoETag(mode)
			}
			return operations.put(ctx, item, etag)
		}
	case "delete":
		action = audit.Deleted
		apply = func(_ T, id, _ string) error { return operations.delete(ctx, id, "") }
	default:
		return nil, fault.New(fault.ArgumentInvalid, "mode is %.32q. It is create, update, updateIfMatchETag or delete", mode)
	}
	failed := []bulkError{}
	var ids []string
	for _, item := range items {
		id, _ := operations.identity(item)
		ids = append(ids, id)
	}
	// The operation has one entry in the audit; one thing alone has its own.
	var bulk *audit.Bulk
	var part *audit.Part
	if len(items) > 1 && !provisioning.IsDryRun(ctx) {
		var err error
		bulk = c.Audit.Begin(ctx, action, operations.kind)
		if ctx, part, err = bulk.Part(ctx, ids); err != nil {
			return nil, err
		}
	}
	outcomes := applyAll(items, bulkAtOnce, operations.identity, func(item T, id, etag string) error {
		return c.Panics.Do(panics.HTTPS, func() error { return apply(item, id, etag) })
	})
	part.End(func(i int) string { return refusal(outcomes[i]) })
	if err := bulk.End(ctx); err != nil {
		return nil, err
	}
	for i, err := range outcomes {
		var problem *fault.Error
		switch {
		case err == nil:
		case errors.As(err, &problem):
			refused := operations.refused(ids[i])
			refused.ErrorCode, refused.ErrorStatus = int(problem.Code), problem.Message
			failed = append(failed, refused)
		default:
			return nil, err
		}
	}
	return bulkResult{len(failed) == 0, failed}, nil
}

// refusal is what an operation was refused with, "" when it was not.
func refusal(err error) string {
	if err == nil {
		return ""
	}
	return fault.From(err).Message
}

// bulkAtOnce is how many items of a bulk operation are applied at once, so that
// they share a sync of the disk.
const bulkAtOnce = 32

// applyAll applies an operation to all items, and returns what came of each. Items of
// the same id are applied in their order.
func applyAll[T any](items []T, atOnce int, identity func(T) (id, etag string),
	apply func(item T, id, etag string) error) []error {
	outcomes := make([]error, len(items))
	free := make(chan struct{}, atOnce)
	last := make(map[string]chan struct{}) // by id: closed when the latest item is applied
	var all sync.WaitGroup
	for i, item := range items {
		id, etag := identity(item)
		before, done := last[strings.ToLower(id)], make(chan struct{})
		last[strings.ToLower(id)] = done
		free <- struct{}{} // in the order of the items
		all.Go(func() {
			defer close(done)
			if before != nil {
				<-before
			}
			outcomes[i] = apply(item, id, etag)
			<-free
		})
	}
	all.Wait()
	return outcomes
}
