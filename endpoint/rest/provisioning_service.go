package rest

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// provisioningService are the operations of back ends on the provisioning
// service (Azure, DPS data plane, service).
func (s *service) provisioningService() []https.Operation {
	return []https.Operation{
		dps("POST", contract.EnrollmentsPath, provisioning.EnrollmentWrite, https.LargeBody, s.bulkEnrollments),
		dps("POST", contract.EnrollmentsQueryPath, provisioning.EnrollmentRead, https.SmallBody, s.queryEnrollments),
		dps("GET", contract.EnrollmentPath, provisioning.EnrollmentRead, 0, s.getEnrollment),
		dps("PUT", contract.EnrollmentPath, provisioning.EnrollmentWrite, https.SmallBody, s.putEnrollment),
		dps("DELETE", contract.EnrollmentPath, provisioning.EnrollmentWrite, 0, s.deleteEnrollment),
		dps("POST", contract.EnrollmentMechanismPath, provisioning.EnrollmentRead, 0, s.attestationMechanism),
		dps("POST", contract.GroupsPath, provisioning.EnrollmentWrite, https.LargeBody, s.bulkGroups),
		dps("POST", contract.GroupsQueryPath, provisioning.EnrollmentRead, https.SmallBody, s.queryGroups),
		dps("GET", contract.GroupPath, provisioning.EnrollmentRead, 0, s.getGroup),
		dps("PUT", contract.GroupPath, provisioning.EnrollmentWrite, https.SmallBody, s.putGroup),
		dps("DELETE", contract.GroupPath, provisioning.EnrollmentWrite, 0, s.deleteGroup),
		dps("POST", contract.GroupMechanismPath, provisioning.EnrollmentRead, 0, s.groupAttestationMechanism),
		dps("POST", contract.GroupRegistrationsPath, provisioning.RegistrationStatusRead, https.SmallBody,
			s.queryRegistrations),
		dps("GET", contract.RegistrationPath, provisioning.RegistrationStatusRead, 0, s.getRegistration),
		dps("DELETE", contract.RegistrationPath, provisioning.RegistrationStatusWrite, 0, s.deleteRegistration),
	}
}

func (s *service) getEnrollment(c *https.Call) (any, error) {
	enrollment, err := s.Provisioning.Enrollments().Get(c.Context(), c.Parameter("id"))
	return c.Tagged(s.policyRenderer(c).enrollment(enrollment), enrollment.ETag, err)
}

func (s *service) putEnrollment(c *https.Call) (any, error) {
	var body sentEnrollment
	if err := c.Decode(&body); err != nil {
		return nil, err
	}
	id := c.Parameter("id")
	if body.RegistrationID == "" {
		body.RegistrationID = id
	}
	if !strings.EqualFold(body.RegistrationID, id) {
		return nil, fault.New(fault.InvalidRegistrationID,
			"The body names the registration id %.128q, the address %.128q", body.RegistrationID, id)
	}
	written, err := createOrReplace(c, body, s.createEnrollment, s.replaceEnrollment)
	return c.Tagged(s.policyRenderer(c).enrollment(written), written.ETag, err)
}

// createOrReplace creates an item, or replaces it when the request says by If-Match
// that it is to be there: as in Azure, who changes what is there says so.
func createOrReplace[B, T any](
	c *https.Call, item B,
	create func(context.Context, B) (T, error),
	replace func(ctx context.Context, apiVersion string, item B, ifMatch string) (T, error),
) (T, error) {
	if ifMatch := c.Header.Get("If-Match"); ifMatch != "" {
		return replace(c.Context(), c.Query("api-version"), item, ifMatch)
	}
	return create(c.Context(), item)
}

func (s *service) deleteEnrollment(c *https.Call) (any, error) {
	return nil, s.Provisioning.Enrollments().Delete(c.Context(), c.Parameter("id"), c.Header.Get("If-Match"))
}

func (s *service) attestationMechanism(c *https.Call) (any, error) {
	mechanism, err := s.Provisioning.Enrollments().AttestationMechanism(c.Context(), c.Parameter("id"))
	return mechanism, err
}

func (s *service) getRegistration(c *https.Call) (any, error) {
	registration, err := s.Provisioning.Registrations().Get(c.Context(), c.Parameter("id"))
	return c.Tagged(registration, registration.ETag, err)
}

func (s *service) deleteRegistration(c *https.Call) (any, error) {
	return nil, s.Provisioning.Registrations().Delete(c.Context(), c.Parameter("id"), c.Header.Get("If-Match"))
}

// maxBulk is how many enrollments one bulk operation takes, unless the service has a
// limit; Azure takes 10.
const maxBulk = 1000

// errNoETag refuses an item of a bulk operation that is to be done under a
// condition and brings none. Else it would be done whatever the state.
func errNoETag(mode string) error {
	return fault.New(fault.ArgumentNull, "%.32s needs an etag. Read the item again and send the etag that it has", mode)
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
func (s *service) bulkEnrollments(c *https.Call) (any, error) {
	var bulk bulkOfEnrollments
	if err := c.Decode(&bulk); err != nil {
		return nil, err
	}
	return bulkOf(s, c, bulk.Mode, "enrollments", bulk.Enrollments, bulkOperations[sentEnrollment]{
		kind:     audit.Enrollment,
		identity: func(e sentEnrollment) (id, etag string) { return e.RegistrationID, e.ETag },
		create:   func(ctx context.Context, e sentEnrollment) error { return errorOf(s.createEnrollment(ctx, e)) },
		put: func(ctx context.Context, e sentEnrollment, ifMatch string) error {
			return errorOf(s.replaceEnrollment(ctx, c.Query("api-version"), e, ifMatch))
		},
		delete:  s.Provisioning.Enrollments().Delete,
		refused: func(id string) contract.BulkError { return contract.BulkError{RegistrationID: id} },
	})
}

// bulkGroups is bulkEnrollments for groups.
func (s *service) bulkGroups(c *https.Call) (any, error) {
	var bulk bulkOfGroups
	if err := c.Decode(&bulk); err != nil {
		return nil, err
	}
	return bulkOf(s, c, bulk.Mode, "enrollment groups", bulk.Groups, bulkOperations[sentGroup]{
		kind:     audit.Group,
		identity: func(g sentGroup) (id, etag string) { return g.EnrollmentGroupID, g.ETag },
		create:   func(ctx context.Context, g sentGroup) error { return errorOf(s.createGroup(ctx, g)) },
		put: func(ctx context.Context, g sentGroup, ifMatch string) error {
			return errorOf(s.replaceGroup(ctx, c.Query("api-version"), g, ifMatch))
		},
		delete:  s.Provisioning.Groups().Delete,
		refused: func(id string) contract.BulkError { return contract.BulkError{EnrollmentGroupID: id} },
	})
}

// bulkOperations are what can be done to many things of a kind at once.
type bulkOperations[T any] struct {
	kind     audit.Kind
	identity func(T) (id, etag string)
	create   func(context.Context, T) error
	put      func(ctx context.Context, item T, ifMatch string) error
	delete   func(ctx context.Context, id, ifMatch string) error
	refused  func(id string) contract.BulkError // which is yet to say why
}

// errorOf is why something could not be made, of what makes it.
func errorOf[T any](_ T, err error) error { return err }

func bulkOf[T any](
	s *service, c *https.Call, mode, things string, items []T, operations bulkOperations[T],
) (any, error) {
	most := cmp.Or(s.Provisioning.Limits().BulkItems, maxBulk)
	if n := len(items); n == 0 || n > most {
		return nil,
			fault.New(fault.TooManyEnrollments, "A bulk operation takes 1 to %d %s, this one has %d", most, things, n)
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
		return nil,
			fault.New(fault.ArgumentInvalid,
				"mode must be create, update, updateIfMatchETag or delete, not %.32q", mode)
	}
	failed := []contract.BulkError{}
	var ids []string
	for _, item := range items {
		id, _ := operations.identity(item)
		ids = append(ids, id)
	}
	// The operation has one entry in the audit; one thing alone has its own.
	var bulk *audit.Bulk
	var part *audit.Part
	if len(items) > 1 && !enroll.IsDryRun(ctx) {
		var err error
		bulk = s.Audit.Begin(ctx, action, operations.kind)
		if ctx, part, err = bulk.Part(ctx, ids); err != nil {
			return nil, err
		}
	}
	outcomes := applyAll(items, bulkAtOnce, operations.identity, func(item T, id, etag string) error {
		return s.Panics.Do(panics.HTTPS, func() error { return apply(item, id, etag) })
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
	return contract.BulkResult{IsSuccessful: len(failed) == 0, Errors: failed}, nil
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
