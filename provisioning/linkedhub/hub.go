// Package linkedhub keeps the hubs that devices may be assigned to: those of this
// process, and others that are reached by their service API. Each is known by its link.
package linkedhub

import (
	"context"

	"github.com/berth-iot/berth/store"
)

// Hub is a hub as provisioning needs it: in this process, or anywhere else behind
// its service API.
type Hub interface {
	// Host returns the host name that devices connect to.
	Host() string

	// EnsureDevice makes sure that the device is there with these credentials, and returns
	// the generation of its identity. At its creation it gets the twin and the status; a
	// device that is there keeps its own. It is safe to repeat.
	EnsureDevice(ctx context.Context, admission Admission) (generation string, err error)

	// Identity tells of the identity that is there in the place of the admission's.
	Identity(ctx context.Context, admission Admission) (Identity, error)

	// Check says whether EnsureDevice would refuse the admission for what stands in
	// it, without asking the hub for anything.
	Check(admission Admission) error

	// Twin returns what migrates with a device: tags and desired properties. It
	// is nil when the device is not there.
	Twin(ctx context.Context, deviceID string) (*InitialTwin, error)

	// Remove deletes the device. One that is not there is no error.
	Remove(ctx context.Context, deviceID string) error
}

// CommittingHub is a hub that keeps its devices where the service keeps its
// records, so that both can change in one commit.
type CommittingHub interface {
	Hub

	// PrepareDevice returns what EnsureDevice would commit.
	PrepareDevice(ctx context.Context, admission Admission) (PreparedDevice, error)
}

// PreparedDevice is what EnsureDevice would commit, for a caller who commits it together
// with changes of its own and calls Committed then. A conflict means that the device
// was changed meanwhile.
type PreparedDevice struct {
	Changes    []store.Change
	Committed  func(context.Context)
	Generation string   // of the identity once the changes are committed
	Present    Identity // what is there before
}

// Identity is what a hub tells of a device's identity.
type Identity struct {
	Generation string // another one after the device was deleted and made anew; "" when there is no identity
	Differs    bool   // its credentials are not those of the admission
	Status     Status // that an operator gave it
}

// Status says whether a device may connect to its hub, as operators decide there. The
// zero value is that of a new device, which may.
type Status struct {
	Disabled bool
	Reason   *string // that the operator gave; nil for none
}

// Admission is what a hub is told of a device that has been attested.
type Admission struct {
	DeviceID            string
	PrimaryThumbprint   string // SHA-256 in upper-case hexadecimal
	SecondaryThumbprint string // "" for none
	PrimaryKey          string // base64; of a device that proves itself with a key in place of a certificate
	SecondaryKey        string
	IoTEdge             bool

	// ParentDeviceID is the IoT Edge device in the same hub that it is a child of; ""
	// leaves that as it is.
	ParentDeviceID string

	Twin   *InitialTwin // nil for an empty twin
	Status Status

	// CredentialPolicy is that of a device with operational certificates. The
	// thumbprints are then those of its latest two, for hubs that know no policies.
	CredentialPolicy string
	RegistrationID   string // to which they are issued

	// IfGeneration is the generation that an identity must have for its credentials to
	// be replaced, "" for none that is there; nil is any. Else the hub answers fault
	// 409001.
	IfGeneration *string
}

// UnusedKey is a key, base64 of 32 bytes, of an admission that only asks.
const UnusedKey = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
