// Package hub is the IoT hub: device identities, their twins, and the messages
// of connected devices.
package hub

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/berth-iot/berth/access"
	"github.com/berth-iot/berth/cluster"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/telemetry"
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
	Bus       cluster.Bus
	Issuer    *issuance.Service // of operational certificates; may be nil
	Now       func() time.Time
	Logger    *slog.Logger
	Panics    *panics.Recorder // of what runs in the background
	Reindex   bool             // an earlier version has had the documents: indexes are made anew
}

// Hub is one IoT hub. Its methods may be called at once from many goroutines;
// their errors are *fault.Error unless storage fails.
type Hub struct {
	config        Config
	registry      *identity.Registry
	twins         *twin.Twins
	subscriptions store.Table[subscriptions]
	access        *access.Policies
	answered      store.Table[answeredRenewal] // by device
	renewals      renewals
	telemetry     *telemetry.Log
	activity      *activity
	stats         stats
	order         *deviceLocks // keep what a device is told in the order of its twin's versions
	arrivals      *deviceLocks // make one step of who serves a device's subject and what is on record of it
	closed        atomic.Bool
}

// Stats are a hub's figures since it opened.
type Stats struct {
	Connected   int    // devices connected now, to this node
	Messages    uint64 // telemetry accepted
	Bytes       uint64 // of its payloads
	TwinUpdates uint64 // reported and desired
	Connections uint64 // that began or ended
}

type stats struct{ connections atomic.Uint64 }

// Open returns the hub on its documents: at the first time with Azure's five
// shared access policies.
func Open(ctx context.Context, config Config) (*Hub, error) {
	collection := func(name string) string { return "hub/" + config.Name + "/" + name }
	h := &Hub{
		config:        config,
		twins:         twin.Open(twin.Config{Documents: config.Documents, Prefix: collection(""), Now: config.Now}),
		subscriptions: store.NewTable[subscriptions](config.Documents, collection("subscriptions")),
		access: access.Open(access.Config{Documents: config.Documents, Collection: collection("policies"), Host: config.Host,
			Rights: Rights, Owner: OwnerPolicy, Now: config.Now}),
		telemetry: telemetry.New(telemetry.Config{Log: config.Telemetry, Now: config.Now, Panics: config.Panics}),
		answered:  store.NewTable[answeredRenewal](config.Documents, collection("renewals")),
		order:     newDeviceLocks(),
		arrivals:  newDeviceLocks(),
	}
	if err := h.createPolicies(ctx); err != nil {
		return nil, fmt.Errorf("create the policies of hub %s: %w", config.Name, err)
	}
	var err error
	if h.registry, err = identity.Open(ctx, identity.Config{Documents: config.Documents, Prefix: collection(""),
		Now: config.Now, Reindex: config.Reindex}); err != nil {
		return nil, fmt.Errorf("list the disabled devices of hub %s: %w", config.Name, err)
	}
	h.activity = followActivity(h,
		store.NewTable[stamp](config.Documents, collection("activity")),
		store.NewTable[history](config.Documents, collection("connections")))
	return h, nil
}

// Close ends the connections of all devices and writes what is known of their
// activity.
func (h *Hub) Close(ctx context.Context) error {
	h.closed.Store(true)
	for _, session := range h.sessions() {
		session.end(ErrShutdown)
	}
	return h.activity.close(ctx)
}

// Name returns the hub's name.
func (h *Hub) Name() string { return h.config.Name }

// Host returns the host name that clients use.
func (h *Hub) Host() string { return h.config.Host }

// Stats returns the present figures.
func (h *Hub) Stats() Stats {
	messages, bytes := h.telemetry.Accepted()
	return Stats{
		Connected: h.connected(), Messages: messages, Bytes: bytes, TwinUpdates: h.twins.Updates(),
		Connections: h.stats.connections.Load(),
	}
}

// Registry returns the device identities. What changes them is a method of the hub.
func (h *Hub) Registry() *identity.Registry { return h.registry }

// Telemetry returns the messages that devices have sent.
func (h *Hub) Telemetry() *telemetry.Log { return h.telemetry }

// Access returns the shared access policies of the hub.
func (h *Hub) Access() *access.Policies { return h.access }

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
