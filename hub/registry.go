package hub

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

const (
	enabled      = "enabled"
	disabled     = "disabled"
	connected    = "Connected"
	disconnected = "Disconnected"
)

// Device returns a device identity. It returns fault 404001 when there is none.
func (h *Hub) Device(ctx context.Context, id string) (Device, error) {
	device, err := h.device(ctx, id)
	if err != nil {
		return Device{}, err
	}
	return device, h.activity.describe(ctx, &device)
}

// CreateDevice adds a device and an empty twin. Keys are generated for a device
// that is to have some and brings none. It returns fault 409001 when the id is
// taken and 400004 for what is wrong in the device. An identity that can't be read
// is replaced.
func (h *Hub) CreateDevice(ctx context.Context, device Device) (Device, error) {
	return h.CreateDeviceWithTwin(ctx, device, nil, nil)
}

// CreateDeviceWithTwin is CreateDevice with the first tags and desired properties of
// the twin: JSON objects, or nothing. What breaks a limit of twins is fault 400004.
func (h *Hub) CreateDeviceWithTwin(ctx context.Context, device Device, tags, desired json.RawMessage) (Device, error) {
	if err := device.complete(nil); err != nil {
		return Device{}, err
	}
	twin := newTwin(h.config.Now())
	if err := twin.begin(tags, desired, h.config.Now()); err != nil {
		return Device{}, err
	}
	device.Issuance = nil
	if err := h.checkScopes(ctx, &device, nil); err != nil {
		return Device{}, err
	}
	if before, err := h.device(ctx, device.DeviceID); store.IsUnreadable(err) {
		created, err := h.replaceUnreadable(ctx, device, twin, !present(tags) && !present(desired), before.ETag)
		if _, conflict := store.IsConflict(err); !conflict {
			return created, err
		}
	}
	return h.create(ctx, device, twin)
}

func (h *Hub) create(ctx context.Context, device Device, twin twin) (Device, error) {
	etags, err := h.config.Documents.Commit(ctx, h.creation(&device, twin)...)
	if _, conflict := store.IsConflict(err); conflict {
		return Device{}, fault.New(fault.DeviceAlreadyExists, "There is a device %q already. Update it, or delete it first", device.DeviceID)
	}
	if err != nil {
		return Device{}, err
	}
	device.ETag, device.ConnectionState = etagOf(etags[0]), disconnected
	return device, nil
}

// creation makes of what was asked for the device that will be, and returns what
// is to be committed.
func (h *Hub) creation(device *Device, twin twin) []store.Change {
	*device = Device{
		DeviceID: device.DeviceID, GenerationID: h.newGeneration(),
		Status: device.Status, StatusReason: device.StatusReason,
		Authentication: device.Authentication, Capabilities: device.Capabilities, Issuance: device.Issuance,
		DeviceScope: device.DeviceScope, ParentScopes: device.ParentScopes,
	}
	if device.Capabilities.IoTEdge {
		device.DeviceScope = edgeScope(*device)
	}
	twin.Generation = device.GenerationID
	changes := []store.Change{
		h.devices.Put(device.DeviceID, store.Absent, *device),
		h.twins.Put(device.DeviceID, store.Absent, twin),
	}
	return append(changes, h.indexStatus(*device, enabled)...)
}

// UpdateDevice replaces what an operator may set of a device: status, reason,
// authentication and capabilities. ifMatch is "", "*" or the ETag that the
// device must have. A device that is disabled, or whose credentials change, is
// disconnected. It returns the faults 404001, 412001 and 400004.
func (h *Hub) UpdateDevice(ctx context.Context, device Device, ifMatch string) (Device, error) {
	return store.RetryOnConflict(ctx, func() (Device, error) {
		before, err := h.device(ctx, device.DeviceID)
		unreadable := store.IsUnreadable(err)
		if err != nil && !unreadable {
			return Device{}, err
		}
		if err := fault.Precondition("device", ifMatch, before.ETag); err != nil {
			return Device{}, err
		}
		if unreadable {
			return h.CreateDevice(ctx, device)
		}
		changed := device
		changed.Issuance = before.Issuance
		if err := h.checkScopes(ctx, &changed, &before); err != nil {
			return Device{}, err
		}
		if err := changed.complete(&before); err != nil {
			return Device{}, err
		}
		return h.replace(ctx, before, changed)
	})
}

// replace writes changed in the place of before and ends the connection that
// this makes void.
func (h *Hub) replace(ctx context.Context, before, changed Device) (Device, error) {
	changes, after := h.replacement(before, changed)
	etags, err := h.config.Documents.Commit(ctx, changes...)
	h.revalidate(ctx, after.DeviceID) // also after an error: it may be there all the same
	if err != nil {
		return Device{}, err
	}
	after.ETag = etagOf(etags[0])
	return after, h.activity.describe(ctx, &after)
}

// replacement returns what is to be committed, the identity first.
func (h *Hub) replacement(before, changed Device) ([]store.Change, Device) {
	after := before
	after.ETag = ""
	after.Status, after.StatusReason = changed.Status, changed.StatusReason
	after.Authentication, after.Capabilities, after.Issuance = changed.Authentication, changed.Capabilities, changed.Issuance
	after.DeviceScope, after.ParentScopes = changed.DeviceScope, changed.ParentScopes
	if after.Capabilities.IoTEdge {
		after.DeviceScope = edgeScope(after)
	}
	if after.Status != before.Status {
		after.StatusUpdatedTime.Time = h.config.Now().UTC()
	}
	change := h.devices.Put(after.DeviceID, storeMatch(before.ETag), after)
	return append([]store.Change{change}, h.indexStatus(after, before.Status)...), after
}

// DeleteDevice removes a device with its twin and all that is kept of it, whatever
// that holds, and ends its connection. It returns the faults 404001 and 412001.
func (h *Hub) DeleteDevice(ctx context.Context, id, ifMatch string) error {
	_, err := store.RetryOnConflict(ctx, func() ([]string, error) {
		device, err := h.device(ctx, id)
		if err != nil && !store.IsUnreadable(err) {
			return nil, err
		}
		if err := fault.Precondition("device", ifMatch, device.ETag); err != nil {
			return nil, err
		}
		etags, err := h.config.Documents.Commit(ctx,
			h.devices.Delete(id, storeMatch(device.ETag)),
			h.disabled.Delete(id, store.Always),
			h.twins.Delete(id, store.Always),
			h.subscriptions.Delete(id, store.Always),
			h.answered.Delete(id, store.Always),
			h.activity.stamps.Delete(id, store.Always),
			h.activity.connections.Delete(id, store.Always))
		h.revalidate(ctx, id) // also after an error: it may be gone all the same
		return etags, err
	})
	return err
}

// Devices returns at most limit devices whose ids start with prefix, in the
// order of their ids, and where to go on: next is the after of the next call,
// or "" at the end.
func (h *Hub) Devices(ctx context.Context, prefix, after string, limit int) (devices []Device, next string, err error) {
	entries, err := h.devices.List(ctx, prefix, after, limit)
	if err != nil {
		return nil, "", err
	}
	devices = make([]Device, len(entries))
	for i, entry := range entries {
		devices[i] = entry.Value
		devices[i].ETag = etagOf(entry.ETag)
		if err := h.activity.describe(ctx, &devices[i]); err != nil {
			return nil, "", err
		}
	}
	if len(entries) == limit {
		next = entries[limit-1].Key
	}
	return devices, next, nil
}

// Admission is a device that the provisioning service has attested.
type Admission struct {
	DeviceID            string
	PrimaryThumbprint   string // SHA-256 in upper-case hexadecimal
	SecondaryThumbprint string // "" for none
	PrimaryKey          string // base64; of a device that proves itself with a key in place of a certificate
	SecondaryKey        string
	IoTEdge             bool
	ParentDeviceID      string          // the IoT Edge device in this hub that it is a child of; "" leaves that as it is
	Issuance            *Issuance       // of a device that proves itself with operational certificates, in place of the others
	Tags, Desired       json.RawMessage // of a new device's twin: JSON objects, or empty

	// IfGeneration is the generation that an identity must have for its credentials to
	// be replaced, "" for none that is there; nil is any.
	IfGeneration *string
}

// DeviceInUse is what an admission is answered that may not replace the credentials
// of the identity that is there.
func DeviceInUse(id string) error {
	return fault.New(fault.DeviceAlreadyExists, "The device id %q belongs to another device in its hub", id)
}

// Admit makes sure that the device is there with these credentials, and returns the
// generation of its identity. At its creation it gets the twin; one that is there
// keeps its own, and its status. It is safe to repeat. It returns fault 400004 for
// what is wrong in it, and 409001 when IfGeneration does not hold.
func (h *Hub) Admit(ctx context.Context, admission Admission) (generation string, _ error) {
	return store.RetryOnConflict(ctx, func() (string, error) {
		prepared, err := h.PrepareAdmission(ctx, admission)
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

// PreparedAdmission is what Admit would commit, for a caller who commits it together
// with changes of its own, all or nothing, and calls Committed then. A conflict in
// one of the changes means that the device was changed meanwhile: prepare again.
// There are none when the device is there as it should be.
type PreparedAdmission struct {
	Changes    []store.Change
	Committed  func(context.Context)
	Generation string // of the identity, once the changes are committed

	Present  string // generation of the identity that is there before, "" for none
	Replaces bool   // it proves itself otherwise than the admission says
}

// PrepareAdmission prepares Admit, with its faults. With fault 409001 it tells all the
// same what is there.
func (h *Hub) PrepareAdmission(ctx context.Context, admission Admission) (prepared PreparedAdmission, _ error) {
	wanted, twin, err := admission.begin(h.config.Now())
	if err != nil {
		return prepared, err
	}
	prepared.Committed = func(context.Context) {}
	if admission.ParentDeviceID != "" {
		parent, err := h.device(ctx, admission.ParentDeviceID)
		if err := CheckParent(admission.ParentDeviceID, parent, err); err != nil {
			return prepared, err
		}
		wanted.SetParent(parent)
	}
	before, err := h.device(ctx, admission.DeviceID)
	if errors.Is(err, fault.DeviceNotFound) {
		prepared.Changes = h.creation(&wanted, twin)
		prepared.Generation = wanted.GenerationID
		return prepared, nil
	}
	if err != nil {
		return prepared, err
	}
	if admission.ParentDeviceID == "" {
		wanted.DeviceScope, wanted.ParentScopes = before.DeviceScope, before.ParentScopes
	}
	prepared.Present, prepared.Generation = before.GenerationID, before.GenerationID
	prepared.Replaces = !reflect.DeepEqual(before.Authentication, wanted.Authentication) || !reflect.DeepEqual(before.Issuance, wanted.Issuance)
	if prepared.Replaces && admission.IfGeneration != nil && *admission.IfGeneration != before.GenerationID {
		return prepared, DeviceInUse(admission.DeviceID)
	}
	if !prepared.Replaces && before.Capabilities == wanted.Capabilities && slices.Equal(before.ParentScopes, wanted.ParentScopes) {
		return prepared, nil
	}
	wanted.Status, wanted.StatusReason = before.Status, before.StatusReason
	var after Device
	prepared.Changes, after = h.replacement(before, wanted)
	prepared.Committed = func(ctx context.Context) { h.revalidate(ctx, after.DeviceID) }
	return prepared, nil
}

// Check says whether Admit would refuse the admission for what stands in it: fault
// 400004.
func (a Admission) Check() error {
	_, _, err := a.begin(time.Now())
	return err
}

// Device returns the identity that the device is to have, for a hub that is told
// of it by its service API. It returns fault 400004 as Check does.
func (a Admission) Device() (Device, error) {
	device, _, err := a.begin(time.Now())
	return device, err
}

func (a Admission) begin(now time.Time) (Device, twin, error) {
	device := Device{
		DeviceID:       a.DeviceID,
		Authentication: a.authentication(),
		Capabilities:   Capabilities{IoTEdge: a.IoTEdge},
		Issuance:       a.Issuance,
	}
	if err := device.complete(nil); err != nil {
		return Device{}, twin{}, err
	}
	if a.ParentDeviceID != "" {
		if err := checkDeviceID(a.ParentDeviceID); err != nil {
			return Device{}, twin{}, err
		}
	}
	twin := newTwin(now)
	err := twin.begin(a.Tags, a.Desired, now)
	return device, twin, err
}

// edgeScope is what the children of an IoT Edge device name as their parent (Azure,
// iot-edge-as-gateway).
func edgeScope(device Device) string {
	return edgeScheme + device.DeviceID + "-" + device.GenerationID
}

// checkScopes holds what an operator writes of a device's parents against the hub's
// devices. What is left out stays as it was before. Of a device without edge
// capability deviceScope is its parent's, as parentScopes is; of an IoT Edge device it
// is its own, which the hub gives it. A list of no parents takes the parent away.
func (h *Hub) checkScopes(ctx context.Context, device, before *Device) error {
	if before != nil && before.Capabilities.IoTEdge && !device.Capabilities.IoTEdge && device.DeviceScope == before.DeviceScope {
		device.DeviceScope = "" // its own, as it was read; it has none any more
	}
	if err := checkDeviceScope(*device, before); err != nil {
		return err
	}
	switch {
	case len(device.ParentScopes) == 0 && (device.DeviceScope == "" || device.Capabilities.IoTEdge):
		device.DeviceScope = ""
		if before != nil && device.ParentScopes == nil {
			device.ParentScopes = before.ParentScopes
		}
	case len(device.ParentScopes) == 0:
		device.ParentScopes = []string{device.DeviceScope}
	}
	if len(device.ParentScopes) == 0 {
		device.ParentScopes = nil
		return nil
	}
	if len(device.ParentScopes) > 1 {
		return fault.New(fault.ArgumentInvalid, "parentScopes has %d entries. A device has one parent", len(device.ParentScopes))
	}
	scope := device.ParentScopes[0]
	id := strings.TrimPrefix(scope, edgeScheme)
	if dash := strings.LastIndexByte(id, '-'); dash > 0 && len(id) < len(scope) {
		parent, err := h.device(ctx, id[:dash])
		if err == nil && parent.Capabilities.IoTEdge && parent.DeviceScope == scope {
			device.DeviceScope = scope
			return nil
		}
		if err != nil && !errors.Is(err, fault.DeviceNotFound) && !errors.Is(err, fault.ArgumentInvalid) {
			return err
		}
	}
	return fault.New(fault.ArgumentInvalid, "The scope %.300q is not that of an IoT Edge device in this hub", scope)
}

const edgeScheme = "ms-azure-iot-edge://"

// CheckParent says whether a device can have children: what a hub answered when it
// was asked for the parent. It returns fault 400004 if not.
func CheckParent(id string, parent Device, err error) error {
	switch {
	case errors.Is(err, fault.DeviceNotFound):
		return fault.New(fault.ArgumentInvalid, "The parent device %q is not in this hub. Provision it before its children, and let both go to the same hub", id)
	case err != nil:
		return err
	case !parent.Capabilities.IoTEdge || parent.DeviceScope == "":
		return fault.New(fault.ArgumentInvalid, "The parent device %q is no IoT Edge device", id)
	}
	return nil
}

// SetParent makes the device a child of an IoT Edge device.
func (d *Device) SetParent(parent Device) {
	d.DeviceScope, d.ParentScopes = parent.DeviceScope, []string{parent.DeviceScope}
}

// authentication is how the admitted device proves itself to the hub.
func (a Admission) authentication() *Authentication {
	if a.Issuance != nil {
		return &Authentication{Type: CertificateAuthority}
	}
	if a.PrimaryKey != "" {
		return &Authentication{Type: SAS, SymmetricKey: KeyPair{PrimaryKey: &a.PrimaryKey, SecondaryKey: &a.SecondaryKey}}
	}
	thumbprints := ThumbprintPair{PrimaryThumbprint: &a.PrimaryThumbprint}
	if a.SecondaryThumbprint != "" {
		thumbprints.SecondaryThumbprint = &a.SecondaryThumbprint
	}
	return &Authentication{Type: SelfSigned, X509Thumbprint: thumbprints}
}

// device returns the stored identity with its ETag.
func (h *Hub) device(ctx context.Context, id string) (Device, error) {
	if err := checkDeviceID(id); err != nil {
		return Device{}, err
	}
	device, etag, err := h.devices.Get(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return Device{}, deviceNotFound(id)
	}
	device.ETag = etagOf(etag)
	return device, err
}

func deviceNotFound(id string) error {
	return fault.New(fault.DeviceNotFound, "There is no device %q", id)
}

// newGeneration tells a device from every earlier one of the same id, even if both
// were made in one moment. Azure's is a number of 18 digits that grows with time; so
// is this.
func (h *Hub) newGeneration() string {
	for {
		last := h.generation.Load()
		next := max(h.config.Now().UnixNano()/100+504911232000000000, last+1)
		if h.generation.CompareAndSwap(last, next) {
			return strconv.FormatInt(next, 10)
		}
	}
}
