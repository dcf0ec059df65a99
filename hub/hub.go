// Package hub is the IoT hub. Its parts are packages below it: who there is (identity),
// their twins (twin), who is connected (connection) and what they send (telemetry,
// message). Here is what concerns several of them, each in one commit.
package hub

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/berth-iot/berth/access"
	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/authority"
	"github.com/berth-iot/berth/cluster"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub/c2d"
	"github.com/berth-iot/berth/hub/configuration"
	"github.com/berth-iot/berth/hub/connection"
	"github.com/berth-iot/berth/hub/event"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/inject"
	"github.com/berth-iot/berth/hub/job"
	"github.com/berth-iot/berth/hub/method"
	"github.com/berth-iot/berth/hub/telemetry"
	"github.com/berth-iot/berth/hub/throttle"
	"github.com/berth-iot/berth/hub/twin"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/store"
)

// The rights that a shared access policy of a hub can have.
const (
	RegistryRead   = "RegistryRead"
	RegistryWrite  = "RegistryWrite"
	ServiceConnect = "ServiceConnect"
	DeviceConnect  = "DeviceConnect"
)

// Config is what a hub is made of.
type Config struct {
	Name      string // such as berth; part of where its documents are kept
	Host      string // the host name that clients use; part of every SAS resource
	Documents store.Documents
	Telemetry store.Log
	Events    store.Log  // of what happens to devices; nil keeps none
	Limits    c2d.Limits // of messages to devices
	Jobs      job.Limits
	Blobs     job.Blobs // that identities are imported from and exported to; may be nil
	Node      string    // this node's name among several; "" for one that is alone
	Bus       cluster.Bus
	Issuer    *issuance.Service // of operational certificates; may be nil
	Audit     *audit.Log        // of its certificate authorities; nil keeps none
	Now       func() time.Time
	Logger    *slog.Logger
	Panics    *panics.Recorder // of what runs in the background
	Reindex   bool             // an earlier version has had the documents: indexes are made anew

	// FaultInjection lets devices ask by messages that their own connections end and their
	// own requests fail; see package inject.
	FaultInjection bool

	Size throttle.Size // in Azure, as whose throttles bound the hub; none do when zero
}

// Hub is one IoT hub. Its methods may be called at once from many goroutines;
// their errors are *fault.Error unless storage fails.
type Hub struct {
	config      Config
	access      *access.Policies
	authorities *authority.Authorities
	registry    *identity.Registry
	twins       *twin.Twins
	indexes     *twin.Indexes // of twins
	derived     *store.Derived
	messages    *c2d.Messages
	faults      *inject.Injector
	throttle    *throttle.Throttle
	methods     *method.Methods
	jobs        *job.Jobs
	telemetry   *telemetry.Log
	events      *event.Events
	connections *connection.Connections
	secrets     store.Table[[]byte]
	stop        func() // ends what runs in the background
	running     sync.WaitGroup
	queries     chan struct{} // has an element for each query that looks through documents
	queryBudget queryBudget

	configurations *configuration.Configurations
}

// Stats are a hub's figures since it opened.
type Stats struct {
	Connected   int    // devices connected now, to this node
	Messages    uint64 // telemetry accepted
	Bytes       uint64 // of its payloads
	TwinUpdates uint64 // reported and desired
	Connections uint64 // that began or ended
	MethodCalls uint64 // from this node
}

// Open returns the hub on its documents: at the first time with Azure's five
// shared access policies.
func Open(ctx context.Context, config Config) (*Hub, error) {
	prefix := "hub/" + config.Name + "/"
	indexes := twin.OpenIndexes(twin.Config{Documents: config.Documents, Prefix: prefix, Now: config.Now})
	derived := store.Derive(config.Documents, indexes.Derive)
	config.Documents = derived // whoever commits a twin commits its entries in indexes
	h := &Hub{
		config: config, indexes: indexes, derived: derived,
		access: access.Open(access.Config{Documents: config.Documents, Collection: prefix + "policies",
			Host: config.Host, Rights: Rights, Owner: OwnerPolicy, Now: config.Now}),
		authorities: authority.Open(authority.Config{Documents: config.Documents, Collection: prefix + authorityRecords,
			Subjects: prefix + "authority-subjects", Limit: maxAuthorities, Audit: config.Audit,
			Owner: "hub " + config.Name + ": ", Now: config.Now}),
		messages: c2d.Open(c2d.Config{Documents: config.Documents, Prefix: prefix, Limits: config.Limits,
			Now: config.Now}),
		throttle:  throttle.New(config.Size, config.Now),
		telemetry: telemetry.New(telemetry.Config{Log: config.Telemetry, Now: config.Now, Panics: config.Panics}),

		secrets:     store.NewTable[[]byte](config.Documents, prefix+"secrets"),
		queries:     make(chan struct{}, queriesAtOnce),
		queryBudget: defaultBudget,
	}
	h.openTwins(prefix)
	if err := h.createPolicies(ctx); err != nil {
		return nil, fmt.Errorf("create the policies of hub %s: %w", config.Name, err)
	}
	var err error
	if h.registry, err = identity.Open(ctx, identity.Config{Documents: config.Documents, Prefix: prefix,
		Now: config.Now, Reindex: config.Reindex}); err != nil {
		return nil, fmt.Errorf("list the disabled devices of hub %s: %w", config.Name, err)
	}
	h.events = event.Open(event.Config{Hub: config.Name, Documents: config.Documents, Prefix: prefix,
		Log: config.Events, Node: config.Node, Now: config.Now, Logger: config.Logger, Panics: config.Panics})
	if h.methods, err = method.Open(method.Config{Hub: config.Name, Bus: config.Bus}); err != nil {
		return nil, fmt.Errorf("open the methods of hub %s: %w", config.Name, err)
	}
	if h.faults, err = inject.Open(ctx, inject.Config{Documents: config.Documents, Prefix: prefix,
		ByDevices: config.FaultInjection, Now: config.Now}); err != nil {
		return nil, fmt.Errorf("read the injected faults of hub %s: %w", config.Name, err)
	}
	h.connections = connection.Open(connection.Config{Hub: config.Name, Host: config.Host, Documents: config.Documents,
		Prefix: prefix, Registry: h.registry, Authorities: h.authorities, AuthorityRecords: prefix + authorityRecords,
		Twins: h.twins, Messages: h.messages, Telemetry: h.telemetry,
		Methods: h.methods, Events: h.events, Faults: h.faults, Throttle: h.throttle, Bus: config.Bus,
		Issuer: config.Issuer, AuthorizeDevice: h.authorizeDevice, Now: config.Now, Logger: config.Logger,
		Panics: config.Panics})
	h.jobs = h.openJobs(prefix)
	background, stop := context.WithCancel(context.Background())
	h.stop = stop
	for _, t := range []task{h.sweepTask(), h.buildTask(background)} {
		h.running.Go(func() { h.lead(background, t) })
	}
	h.running.Go(func() { h.jobs.Run(background) })
	h.configurations.Start()
	return h, nil
}

// authorizeDevice judges a token by the policies of the hub, as gateways bring it for
// their devices.
func (h *Hub) authorizeDevice(ctx context.Context, token string, resource ...credential.Segment) error {
	_, err := h.access.Authorize(ctx, token, DeviceConnect, resource...)
	return err
}

// Close ends the connections of all devices and writes what is known of their
// activity.
func (h *Hub) Close(ctx context.Context) error {
	h.stop()
	h.running.Wait()
	defer h.methods.Close()
	h.configurations.Close()
	defer h.events.Close() // what still waits is taken to the log after the next start
	return h.connections.Close(ctx)
}

// Name returns the hub's name.
func (h *Hub) Name() string { return h.config.Name }

// Host returns the host name that clients use.
func (h *Hub) Host() string { return h.config.Host }

// Stats returns the present figures.
func (h *Hub) Stats() Stats {
	messages, bytes := h.telemetry.Accepted()
	return Stats{Connected: h.connections.Count(), Messages: messages, Bytes: bytes, TwinUpdates: h.twins.Updates(),
		Connections: h.connections.Events(), MethodCalls: h.methods.Calls()}
}

// Connections returns those of the devices. What ends them is a method of the hub, or a
// revocation.
func (h *Hub) Connections() *connection.Connections { return h.connections }

// Registry returns the device identities. What changes them is a method of the hub.
func (h *Hub) Registry() *identity.Registry { return h.registry }

// Telemetry returns the messages that devices have sent.
func (h *Hub) Telemetry() *telemetry.Log { return h.telemetry }

// Messages returns those to devices. Sending one is a method of the hub.
func (h *Hub) Messages() *c2d.Messages { return h.messages }

// Faults returns those that are injected on request.
func (h *Hub) Faults() *inject.Injector { return h.faults }

// Throttle returns what counts operations against the bounds of the hub's size.
func (h *Hub) Throttle() *throttle.Throttle { return h.throttle }

// Access returns the shared access policies of the hub.
func (h *Hub) Access() *access.Policies { return h.access }

// maxAuthorities is how many certificate authorities a hub can have, as on Azure.
const maxAuthorities = 25

// authorityRecords is the collection of a hub's authorities, without its prefix.
const authorityRecords = "authorities"

// Authorities returns the certificate authorities by which devices are let in whose
// authentication is certificateAuthority. One that is deleted or replaced ends their
// connections.
func (h *Hub) Authorities() *authority.Authorities { return h.authorities }

// AuthorityRecords is the collection of the authorities.
func (h *Hub) AuthorityRecords() string { return "hub/" + h.config.Name + "/" + authorityRecords }

// Rights are those of a hub's policies, in Azure's spelling and order.
var Rights = []string{RegistryRead, RegistryWrite, ServiceConnect, DeviceConnect}

// OwnerPolicy is the policy of all rights that a new hub has.
const OwnerPolicy = "iothubowner"

// createPolicies makes those of the policies of a new hub of Azure that are not
// there.
func (h *Hub) createPolicies(ctx context.Context) error {
	for _, policy := range []access.Policy{
		access.NewPolicy(OwnerPolicy, Rights...),
		access.NewPolicy("service", ServiceConnect),
		access.NewPolicy("device", DeviceConnect),
		access.NewPolicy("registryRead", RegistryRead),
		access.NewPolicy("registryReadWrite", RegistryRead, RegistryWrite),
	} {
		if _, err := h.access.Add(ctx, policy); err != nil {
			return err
		}
	}
	return nil
}
