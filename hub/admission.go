package hub

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/twin"
	"github.com/berth-iot/berth/store"
)

// Admission is a device that the provisioning service has attested.
type Admission struct {
	DeviceID            string
	PrimaryThumbprint   string // SHA-256 in upper-case hexadecimal
	SecondaryThumbprint string // "" for none
	PrimaryKey          string // base64; of a device that proves itself with a key in place of a certificate
	SecondaryKey        string
	IoTEdge             bool

	// ParentDeviceID is the IoT Edge device in this hub that it is a child of; "" leaves
	// that as it is.
	ParentDeviceID string

	// Issuance is that of a device that proves itself with operational certificates, in
	// place of the others.
	Issuance *identity.Issuance

	// Tags and Desired are of a new device's twin: JSON objects, or empty.
	Tags, Desired json.RawMessage

	// Disabled and StatusReason are the status of a new device.
	Disabled     bool
	StatusReason *string

	// IfGeneration is the generation that an identity must have for its credentials to
	// be replaced, "" for none that is there; nil is any.
	IfGeneration *string
}

// DeviceInUse is what an admission is answered that may not replace the credentials
// of the identity that is there.
func DeviceInUse(id string) error {
	return fault.New(fault.DeviceAlreadyExists, "The device id %q belongs to another device in its hub", id)
}

// EnsureDevice makes sure that the device is there with these credentials, and returns the
// generation of its identity. At its creation it gets the twin and the status; one that is
// there keeps its own. It is safe to repeat. It returns fault 400004 for
// what is wrong in it, and 409001 when IfGeneration does not hold.
func (h *Hub) EnsureDevice(ctx context.Context, admission Admission) (generation string, _ error) {
	return store.RetryOnConflict(ctx, func() (string, error) {
		prepared, err := h.prepareDevice(ctx, admission)
		if err != nil || len(prepared.Changes) == 0 {
			return prepared.Generation, err
		}
		_, err = h.config.Documents.Commit(ctx, prepared.Changes...)
		if _, conflict := store.IsConflict(err); !conflict {
			prepared.Committed(ctx) // also after an error: it may be there all the same
		}
		return prepared.Generation, err
	})
}

// PreparedDevice is what EnsureDevice would commit, for a caller who commits it together
// with changes of its own, all or nothing, and calls Committed then. A conflict in
// one of the changes means that the device was changed meanwhile: prepare again.
// There are none when the device is there as it should be.
type PreparedDevice struct {
	Changes    []store.Change
	Committed  func(context.Context)
	Generation string // of the identity, once the changes are committed

	Present  string // generation of the identity that is there before, "" for none
	Replaces bool   // it proves itself otherwise than the admission says

	// Disabled and StatusReason are the status of the identity that is there before.
	Disabled     bool
	StatusReason *string
}

// PrepareDevice prepares EnsureDevice, with its faults. With fault 409001 it tells all the
// same what is there.
func (h *Hub) PrepareDevice(ctx context.Context, admission Admission) (PreparedDevice, error) {
	prepared, err := h.prepareDevice(ctx, admission)
	if err == nil {
		prepared.Changes, err = h.derived.Complete(ctx, prepared.Changes)
	}
	return prepared, err
}

// prepareDevice is PrepareDevice for a commit to the documents of the hub.
func (h *Hub) prepareDevice(ctx context.Context, admission Admission) (prepared PreparedDevice, _ error) {
	wanted, initial, err := admission.identityAndTwin(h.config.Now())
	if err != nil {
		return prepared, err
	}
	prepared.Committed = func(context.Context) {}
	var parent identity.Device
	if admission.ParentDeviceID != "" {
		parent, err = h.registry.Get(ctx, admission.ParentDeviceID)
		if err := identity.CheckParent(admission.ParentDeviceID, parent, err); err != nil {
			return prepared, err
		}
		wanted.SetParent(parent)
	}
	before, err := h.registry.Get(ctx, admission.DeviceID)
	if errors.Is(err, fault.DeviceNotFound) {
		prepared.Changes, err = h.prepareCreate(ctx, &wanted, initial)
		prepared.Generation = wanted.GenerationID
		return prepared, err
	}
	if err != nil {
		return prepared, err
	}
	if admission.ParentDeviceID == "" {
		wanted.DeviceScope, wanted.ParentScopes = before.DeviceScope, before.ParentScopes
	}
	if admission.ParentDeviceID != "" && !slices.Equal(before.ParentScopes, wanted.ParentScopes) {
		if err := h.registry.CheckNotBelow(ctx, before, parent); err != nil {
			return prepared, err
		}
	}
	prepared.Present, prepared.Generation = before.GenerationID, before.GenerationID
	prepared.Disabled, prepared.StatusReason = before.Status == identity.Disabled, before.StatusReason
	prepared.Replaces = !reflect.DeepEqual(before.Authentication, wanted.Authentication) ||
		!reflect.DeepEqual(before.Issuance, wanted.Issuance)
	if prepared.Replaces && admission.IfGeneration != nil && *admission.IfGeneration != before.GenerationID {
		return prepared, DeviceInUse(admission.DeviceID)
	}
	if !prepared.Replaces && before.Capabilities == wanted.Capabilities &&
		slices.Equal(before.ParentScopes, wanted.ParentScopes) {
		return prepared, nil
	}
	wanted.Status, wanted.StatusReason = before.Status, before.StatusReason
	changes, after := h.prepareUpdate(before, wanted)
	modules, err := h.prepareSystemModules(ctx, after)
	if err != nil {
		return prepared, err
	}
	prepared.Changes = append(changes, modules...)
	prepared.Committed = func(ctx context.Context) { h.connections.Revalidate(ctx, after.DeviceID) }
	return prepared, nil
}

// Check says whether EnsureDevice would refuse the admission for what stands in it: fault
// 400004.
func (a Admission) Check() error {
	_, _, err := a.identityAndTwin(time.Now())
	return err
}

// Device returns the identity that the device is to have, for a hub that is told
// of it by its service API. It returns fault 400004 as Check does.
func (a Admission) Device() (identity.Device, error) {
	device, _, err := a.identityAndTwin(time.Now())
	return device, err
}

func (a Admission) identityAndTwin(now time.Time) (identity.Device, twin.Document, error) {
	device := identity.Device{
		DeviceID:       a.DeviceID,
		Authentication: a.authentication(),
		Capabilities:   identity.Capabilities{IoTEdge: a.IoTEdge},
		Issuance:       a.Issuance,
		StatusReason:   a.StatusReason,
	}
	if a.Disabled {
		device.Status = identity.Disabled
	}
	if err := device.Complete(nil); err != nil {
		return identity.Device{}, twin.Document{}, err
	}
	if a.ParentDeviceID != "" {
		if err := identity.CheckDeviceID(a.ParentDeviceID); err != nil {
			return identity.Device{}, twin.Document{}, err
		}
	}
	initial, err := twin.New(a.Tags, a.Desired, now)
	return device, initial, err
}

// authentication is how the admitted device proves itself to the hub.
func (a Admission) authentication() *identity.Authentication {
	if a.Issuance != nil {
		return &identity.Authentication{Type: identity.CertificateAuthority}
	}
	if a.PrimaryKey != "" {
		return &identity.Authentication{Type: identity.SAS,
			SymmetricKey: identity.KeyPair{PrimaryKey: &a.PrimaryKey, SecondaryKey: &a.SecondaryKey}}
	}
	thumbprints := identity.ThumbprintPair{PrimaryThumbprint: &a.PrimaryThumbprint}
	if a.SecondaryThumbprint != "" {
		thumbprints.SecondaryThumbprint = &a.SecondaryThumbprint
	}
	return &identity.Authentication{Type: identity.SelfSigned, X509Thumbprint: thumbprints}
}
