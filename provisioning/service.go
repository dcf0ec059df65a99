// Package provisioning is the device provisioning service: who may come in
// (enrollments), how they prove it (attest), where they go (allocation), and
// where they went (registrations).
package provisioning

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/berth-iot/berth/access"
	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/authority"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/attempts"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/guard"
	"github.com/berth-iot/berth/provisioning/inject"
	"github.com/berth-iot/berth/provisioning/linkedhub"
	"github.com/berth-iot/berth/provisioning/snapshot"
	"github.com/berth-iot/berth/provisioning/tpm"
	"github.com/berth-iot/berth/store"
)

// Pace is how a registration is answered.
type Pace string

const (
	// Instant answers with the finished result when the work is done within
	// instantTimeout, as all official clients take it.
	Instant Pace = "instant"
	// Paced always answers that it is assigning and lets the device poll, as
	// Azure does.
	Paced Pace = "paced"
)

const (
	// instantTimeout is how long an instant registration waits for its result.
	instantTimeout = 250 * time.Millisecond
	// retryAfter is when a device is asked to poll: Azure's value, and one that
	// every client honours.
	retryAfter = 3 * time.Second
)

// The rights that a shared access policy of the service can have.
const (
	ServiceConfig           = "ServiceConfig"
	EnrollmentRead          = "EnrollmentRead"
	EnrollmentWrite         = "EnrollmentWrite"
	RegistrationStatusRead  = "RegistrationStatusRead"
	RegistrationStatusWrite = "RegistrationStatusWrite"
)

// The collections of records that are listed page by page, as an Inspector knows them.
const (
	RegistrationRecords = "provisioning/registrations"
	AuthorityRecords    = "provisioning/authorities"
)

// Config is what a provisioning service is made of.
type Config struct {
	IDScope   string // such as 0ne00000001
	Host      string // the service's host name, the resource of its tokens
	Documents store.Documents
	Attempts  store.Log // one partition; keeps the traces
	// those of this process, which are linked unless that was undone
	Hubs []linkedhub.Hub
	// a hub elsewhere, by its connection string; that it has a Close is no need
	Reach   func(linkedhub.Link) (linkedhub.Hub, error)
	Issuer  *issuance.Service  // of operational certificates; without one there are none
	Webhook allocation.Webhook // of custom allocation
	// Outgoing waits until a webhook at a host may be asked, as long as the context goes on;
	// end says that it was. nil never waits.
	Outgoing func(ctx context.Context, host string) (end func(), err error)
	Pace     Pace       // Instant when empty
	Limits   Limits     // none when zero
	Replace  bool       // a group's device may always take the hub identity of another, as in Azure
	Audit    *audit.Log // of changes by operators; nil keeps none
	Node     string     // this node's name among those that share the documents; "" for one that is alone
	Now      func() time.Time
	Trusted  func() bool // whether what is old by Now may be deleted; always when nil
	Logger   *slog.Logger
	Panics   *panics.Recorder // of what runs in the background
}

func (c *Config) trusted() bool { return c.Trusted == nil || c.Trusted() }

// Service is one provisioning service. Its methods may be called at once from
// many goroutines; their errors are *fault.Error unless storage fails.
type Service struct {
	config        Config
	enrollments   *enroll.Enrollments
	registrations store.Table[storedRegistration]
	owners        store.Table[owner] // of identities in hubs
	groups        *enroll.Groups
	members       store.Table[string] // registration ids by their group
	authorities   *authority.Authorities
	challenges    *tpm.Challenges
	snapshots     *snapshot.Snapshots
	intents       store.Table[intent]
	access        *access.Policies
	injector      *inject.Injector
	links         *linkedhub.Links
	lockouts      *guard.Lockouts
	rates         *guard.Rates
	signatures    attest.Signatures // of client certificates
	searches      *guard.Searches
	networks      *allocation.Networks
	allocator     *allocation.Allocator
	attempts      *attempts.Attempts
	jobs          jobs
	tally         tally

	closing chan struct{}   // closed when no more is to be begun
	work    context.Context // of assignments, which outlive the request that began them
	stop    context.CancelFunc
	active  sync.WaitGroup // assignments
	always  sync.WaitGroup // what runs until the service closes
}

// Open returns the service on its documents: at the first time with a policy of
// all rights. Assignments that a crash interrupted are finished in the
// background.
func Open(ctx context.Context, config Config) (*Service, error) {
	if config.Pace == "" {
		config.Pace = Instant
	}
	s := newService(config)
	s.closing = make(chan struct{})
	s.work, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	ensured, err := s.access.EnsureOwner(ctx)
	switch {
	case err != nil:
		return nil, fmt.Errorf("create the provisioning service's policies: %w", err)
	case !ensured:
		config.Logger.Error("no policy with all rights can be read, so only the portal can manage the service: "+
			"delete its record there",
			"policy", ownerPolicy)
	}
	s.injector, err = inject.Open(ctx,
		inject.Config{Documents: config.Documents, Audit: config.Audit, CheckID: enroll.CheckRegistrationID})
	if err != nil {
		return nil, fmt.Errorf("open the misbehaviours: %w", err)
	}
	if err := errors.Join(s.links.Load(ctx), s.networks.Load(ctx)); err != nil {
		return nil, err
	}
	s.lockouts, err = guard.OpenLockouts(ctx, guard.LockoutConfig{
		Documents: config.Documents, Rule: config.Limits.Lockout,
		Audit: config.Audit, Now: config.Now, Trusted: config.trusted, Logger: config.Logger})
	if err != nil {
		return nil, err
	}
	if s.attempts, err = attempts.Open(ctx, attempts.Config{Log: config.Attempts, Documents: config.Documents,
		Shown: redact, Trusted: config.trusted, Panics: config.Panics, Logger: config.Logger}); err != nil {
		return nil, fmt.Errorf("open the registration attempts: %w", err)
	}
	if config.Issuer != nil {
		config.Issuer.Follow(renewals{s})
	}
	s.always.Go(s.runSweeps)
	s.always.Go(func() { s.links.MeasureLatencies(s.work, s.closing) })
	return s, nil
}

// newService is a service with its tables and nothing that runs.
func newService(config Config) *Service {
	s := &Service{
		config:        config,
		registrations: store.NewTable[storedRegistration](config.Documents, RegistrationRecords),
		owners:        store.NewTable[owner](config.Documents, ownerRecords),
		members:       store.NewTable[string](config.Documents, "provisioning/members"),
		intents:       store.NewTable[intent](config.Documents, "provisioning/intents"),
		access: access.Open(access.Config{Documents: config.Documents, Collection: "provisioning/policies",
			Host:   config.Host,
			Rights: Rights, Owner: ownerPolicy, Audit: config.Audit, Now: config.Now}),
	}
	s.authorities = authority.Open(authority.Config{Documents: config.Documents, Collection: AuthorityRecords,
		Subjects: "provisioning/authority-names", Limit: config.Limits.Authorities,
		CheckUnused: func(ctx context.Context, name string) ([]store.Change, error) {
			return s.groups.CheckAuthorityUnused(ctx, name)
		}, Audit: config.Audit, Now: config.Now})
	s.links = linkedhub.New(linkedhub.Config{Documents: config.Documents, Hubs: config.Hubs, Reach: config.Reach,
		Limit: config.Limits.LinkedHubs, AssignedTo: s.Registrations().CountOfHub,
		CheckUnnamed: s.checkHubUnnamed, Audit: config.Audit, Panics: config.Panics,
		Logger: config.Logger})
	s.rates, s.searches = guard.NewRates(config.Limits.rates(), config.Now), guard.NewSearches()
	s.networks = allocation.NewNetworks(config.Documents, config.Audit, config.Logger)
	s.allocator = allocation.New(allocation.Config{Links: s.links, Networks: s.networks, Webhook: config.Webhook,
		Outgoing: config.Outgoing})
	s.challenges = tpm.New(config.Documents, config.Now)
	s.enrollments, s.groups = enroll.New(enroll.Config{Documents: config.Documents, Limits: config.Limits.enrollments(),
		Authorities: s.authorities, Links: s.links, Allocator: s.allocator, CheckPolicy: s.checkCredentialPolicy,
		State: s.registrationState, Audit: config.Audit, Now: config.Now, Logger: config.Logger})
	s.snapshots = snapshot.New(snapshot.Config{IDScope: config.IDScope, Documents: config.Documents,
		Enrollments: s.enrollments, Groups: s.groups, Authorities: s.authorities, Chain: s.buildChain, Now: config.Now})
	return s
}

// Close waits for the assignments under way, at most until ctx ends; what is
// then unfinished is finished after the next Open.
func (s *Service) Close(ctx context.Context) error {
	close(s.closing)
	done := make(chan struct{})
	go func() {
		s.always.Wait()
		s.active.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.stop()
		<-done
	}
	s.stop()
	return s.attempts.Close()
}

// IDScope returns the scope that devices name.
func (s *Service) IDScope() string { return s.config.IDScope }

// Host returns the service's host name.
func (s *Service) Host() string { return s.config.Host }

// Enrollments returns the individual enrollments.
func (s *Service) Enrollments() *enroll.Enrollments { return s.enrollments }

// Groups returns the enrollment groups.
func (s *Service) Groups() *enroll.Groups { return s.groups }

// Access returns the shared access policies of the service.
func (s *Service) Access() *access.Policies { return s.access }

// Authorities returns the certificate authorities that groups may name.
func (s *Service) Authorities() *authority.Authorities { return s.authorities }

// Links returns the hubs that devices may be assigned to.
func (s *Service) Links() *linkedhub.Links { return s.links }

// Networks returns the networks that devices come from, for allocation by lowest latency.
func (s *Service) Networks() *allocation.Networks { return s.networks }

// Attempts returns how devices tried to register.
func (s *Service) Attempts() *attempts.Attempts { return s.attempts }

// Lockouts returns who is locked out.
func (s *Service) Lockouts() *guard.Lockouts { return s.lockouts }

// Injector returns the faults that are injected on request.
func (s *Service) Injector() *inject.Injector { return s.injector }

// Rights are those of the provisioning service's policies, in Azure's spelling and order.
var Rights = []string{ServiceConfig, EnrollmentRead, EnrollmentWrite, RegistrationStatusRead, RegistrationStatusWrite}

// ownerPolicy is the policy that a new service has.
const ownerPolicy = "provisioningserviceowner"

// key is what a registration id is stored under: ids have no case.
func key(registrationID string) string { return strings.ToLower(registrationID) }
