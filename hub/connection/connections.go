// Package connection is what the hub knows of connected devices: who is connected, what
// each proved itself with, what it subscribed to and is still owed, and when it was heard
// of.
package connection

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/authority"
	"github.com/berth-iot/berth/cluster"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub/c2d"
	"github.com/berth-iot/berth/hub/event"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/inject"
	"github.com/berth-iot/berth/hub/method"
	"github.com/berth-iot/berth/hub/telemetry"
	"github.com/berth-iot/berth/hub/throttle"
	"github.com/berth-iot/berth/hub/twin"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/store"
)

// Config says which devices may connect, and what they reach then.
type Config struct {
	Hub       string // its name, which is part of subjects on the bus
	Host      string // the host name that clients use; part of every SAS resource
	Documents store.Documents
	Prefix    string // what the names of the collections begin with, such as hub/berth/
	Registry  *identity.Registry

	Authorities      *authority.Authorities // that may have signed devices
	AuthorityRecords string                 // their collection

	Twins     *twin.Twins
	Messages  *c2d.Messages
	Methods   *method.Methods
	Telemetry *telemetry.Log
	Events    *event.Events // of arrivals and departures
	Bus       cluster.Bus
	Faults    *inject.Injector
	Throttle  *throttle.Throttle
	Issuer    *issuance.Service // of operational certificates; may be nil

	// AuthorizeDevice judges a token that was made with a key of a policy in place of a
	// device's: whether it may connect the device at this resource.
	AuthorizeDevice func(ctx context.Context, token string, resource ...credential.Segment) error

	Now    func() time.Time
	Logger *slog.Logger
	Panics *panics.Recorder // of what runs in the background
}

// Connections are those of a hub's devices. Their methods may be called at once from many
// goroutines.
type Connections struct {
	config        Config
	sessionStates store.Table[sessionState]
	answered      store.Table[answeredRenewal] // by device
	renewals      renewals                     // of devices that are connected to this node
	activity      *activity
	events        atomic.Uint64 // connections that began or ended, here
	arrivals      *deviceLocks  // make one step of who serves a device's subject and what is on record of it
	notices       *deviceLocks  // see LockDesired
	closed        atomic.Bool

	signatures  attest.Signatures // of certificates that were checked
	authorities watchedAuthorities
}

// Open returns the connections of a hub, which has none yet. Close ends what it starts.
func Open(config Config) *Connections {
	c := &Connections{
		config:        config,
		sessionStates: store.NewTable[sessionState](config.Documents, config.Prefix+"subscriptions"),
		answered:      store.NewTable[answeredRenewal](config.Documents, config.Prefix+"renewals"),
		arrivals:      newDeviceLocks(),
		notices:       newDeviceLocks(),
	}
	c.authorities.watch(config.Documents, config.AuthorityRecords)
	c.activity = followActivity(c,
		store.NewTable[stamp](config.Documents, config.Prefix+"activity"),
		store.NewTable[history](config.Documents, config.Prefix+"connections"))
	return c
}

// Close ends the connections of all devices and writes what is known of their activity.
func (c *Connections) Close(ctx context.Context) error {
	c.closed.Store(true)
	c.authorities.stop()
	for _, session := range c.sessions() {
		session.end(ErrShutdown)
	}
	return c.activity.close(ctx)
}

// Events returns how many connections began or ended since Open, on this node.
func (c *Connections) Events() uint64 { return c.events.Load() }

// Statistics counts the connected devices.
type Statistics struct {
	ConnectedDeviceCount int `json:"connectedDeviceCount"`
}

// Statistics counts the devices that are connected now, to all nodes.
func (c *Connections) Statistics(ctx context.Context) (Statistics, error) {
	count, err := c.config.Bus.Count(ctx, c.deviceSubjects())
	return Statistics{count}, err
}

// Present reports of each device or module whether it is connected, to whichever node. All
// nodes are asked once; those that can't be are taken to have none.
func (c *Connections) Present(ctx context.Context, ids ...string) []bool {
	return c.activity.present(ctx, ids...)
}

// IDs returns the ids of the devices that are connected. It reports that they are not known
// when there are more than limit, or some at other nodes.
func (c *Connections) IDs(ctx context.Context, limit int) (ids []string, known bool, _ error) {
	everywhere, err := c.config.Bus.Count(ctx, c.deviceSubjects())
	if err != nil || everywhere > limit {
		return nil, false, err
	}
	here := c.config.Bus.Servers(c.deviceSubjects())
	if len(here) < everywhere {
		return nil, false, nil
	}
	ids = make([]string, len(here))
	for i, server := range here {
		ids[i] = server.(*Session).deviceID
	}
	return ids, true, nil
}

// Describe fills in what is known of the connections of devices and modules, to whichever
// node. All nodes are asked once, however many there are.
func (c *Connections) Describe(ctx context.Context, devices ...Described) error {
	return c.activity.describe(ctx, devices...)
}

// PrepareDelete returns what is to be committed with the end of an identity, so that
// nothing stays of its connections.
func (c *Connections) PrepareDelete(id string) []store.Change {
	return []store.Change{
		c.sessionStates.Delete(id, store.Always),
		c.answered.Delete(id, store.Always),
		c.activity.stamps.Delete(id, store.Always),
		c.activity.histories.Delete(id, store.Always),
	}
}
