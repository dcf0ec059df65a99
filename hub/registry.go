package hub

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"time"

	"github.com/berth-iot/berth/cluster"
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
// taken and 400004 for what is wrong in the device.
func (h *Hub) CreateDevice(ctx context.Context, device Device) (Device, error) {
	if err := device.complete(nil); err != nil {
		return Device{}, err
	}
	return h.create(ctx, device, newTwin(h.config.Now()))
}

func (h *Hub) create(ctx context.Context, device Device, twin twin) (Device, error) {
	now := h.config.Now().UTC()
	device = Device{
		DeviceID: device.DeviceID, GenerationID: newGeneration(now),
		Status: device.Status, StatusReason: device.StatusReason,
		Authentication: device.Authentication, Capabilities: device.Capabilities,
	}
	etags, err := h.config.Documents.Commit(ctx,
		h.devices.Put(device.DeviceID, store.Absent, device),
		h.twins.Put(device.DeviceID, store.Absent, twin))
	if _, conflict := store.IsConflict(err); conflict {
		return Device{}, fault.New(fault.DeviceAlreadyExists, "There is a device %q already. Update it, or delete it first", device.DeviceID)
	}
	if err != nil {
		return Device{}, err
	}
	device.ETag, device.ConnectionState = etagOf(etags[0]), disconnected
	return device, nil
}

// UpdateDevice replaces what an operator may set of a device: status, reason,
// authentication and capabilities. ifMatch is "", "*" or the ETag that the
// device must have. A device that is disabled, or whose credentials change, is
// disconnected. It returns the faults 404001, 412001 and 400004.
func (h *Hub) UpdateDevice(ctx context.Context, device Device, ifMatch string) (Device, error) {
	for {
		before, err := h.device(ctx, device.DeviceID)
		if err != nil {
			return Device{}, err
		}
		if err := precondition("device", ifMatch, before.ETag); err != nil {
			return Device{}, err
		}
		changed := device
		if err := changed.complete(&before); err != nil {
			return Device{}, err
		}
		after, err := h.replace(ctx, before, changed)
		if _, conflict := store.IsConflict(err); conflict {
			continue
		}
		return after, err
	}
}

// replace writes changed in the place of before and ends the connection that
// this makes void.
func (h *Hub) replace(ctx context.Context, before, changed Device) (Device, error) {
	after := before
	after.ETag = ""
	after.Status, after.StatusReason = changed.Status, changed.StatusReason
	after.Authentication, after.Capabilities = changed.Authentication, changed.Capabilities
	if after.Status != before.Status {
		after.StatusUpdatedTime = h.config.Now().UTC()
	}
	etags, err := h.config.Documents.Commit(ctx, h.devices.Put(after.DeviceID, storeMatch(before.ETag), after))
	if err != nil {
		return Device{}, err
	}
	after.ETag = etagOf(etags[0])
	switch {
	case after.Status == disabled:
		h.disconnect(ctx, after.DeviceID, ErrDisabled)
	case !reflect.DeepEqual(after.Authentication, before.Authentication):
		h.disconnect(ctx, after.DeviceID, ErrCredentialChanged)
	}
	return after, h.activity.describe(ctx, &after)
}

// DeleteDevice removes a device with its twin and all that is kept of it, and
// ends its connection. It returns the faults 404001 and 412001.
func (h *Hub) DeleteDevice(ctx context.Context, id, ifMatch string) error {
	for {
		device, err := h.device(ctx, id)
		if err != nil {
			return err
		}
		if err := precondition("device", ifMatch, device.ETag); err != nil {
			return err
		}
		_, err = h.config.Documents.Commit(ctx,
			h.devices.Delete(id, storeMatch(device.ETag)),
			h.twins.Delete(id, store.Always),
			h.subscriptions.Delete(id, store.Always),
			h.activity.stamps.Delete(id, store.Always),
			h.activity.connections.Delete(id, store.Always))
		if _, conflict := store.IsConflict(err); conflict {
			continue
		}
		if err == nil {
			h.disconnect(ctx, id, ErrDeleted)
		}
		return err
	}
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

// RegistryStatistics counts the device identities.
type RegistryStatistics struct {
	TotalDeviceCount    int `json:"totalDeviceCount"`
	EnabledDeviceCount  int `json:"enabledDeviceCount"`
	DisabledDeviceCount int `json:"disabledDeviceCount"`
}

// ServiceStatistics counts the connected devices.
type ServiceStatistics struct {
	ConnectedDeviceCount int `json:"connectedDeviceCount"`
}

// DeviceCount counts the device identities.
func (h *Hub) DeviceCount(ctx context.Context) (int, error) { return h.devices.Count(ctx) }

// RegistryStatistics counts the device identities; that costs a read of each.
func (h *Hub) RegistryStatistics(ctx context.Context) (statistics RegistryStatistics, err error) {
	const page = 1000
	for after := ""; ; {
		entries, err := h.devices.List(ctx, "", after, page)
		if err != nil {
			return statistics, err
		}
		for _, entry := range entries {
			statistics.TotalDeviceCount++
			if entry.Value.Status == disabled {
				statistics.DisabledDeviceCount++
			} else {
				statistics.EnabledDeviceCount++
			}
		}
		if len(entries) < page {
			return statistics, nil
		}
		after = entries[page-1].Key
	}
}

// ServiceStatistics counts the devices that are connected now.
func (h *Hub) ServiceStatistics(context.Context) (ServiceStatistics, error) {
	return ServiceStatistics{h.activity.connected()}, nil
}

// Admission is a device that the provisioning service has attested.
type Admission struct {
	DeviceID            string
	PrimaryThumbprint   string // SHA-256 in upper-case hexadecimal
	SecondaryThumbprint string // "" for none
	PrimaryKey          string // base64; of a device that proves itself with a key in place of a certificate
	SecondaryKey        string
	IoTEdge             bool
	Tags, Desired       json.RawMessage // of a new device's twin: JSON objects, or empty
}

// Admit makes sure that the device is there with these credentials. At its
// creation it gets the twin; one that is there keeps its own, and its status.
// It is safe to repeat. It returns fault 400004 for what is wrong in it.
func (h *Hub) Admit(ctx context.Context, admission Admission) error {
	wanted, twin, err := h.admitted(admission)
	if err != nil {
		return err
	}
	for {
		before, err := h.device(ctx, admission.DeviceID)
		switch {
		case errors.Is(err, fault.DeviceNotFound):
			_, err = h.create(ctx, wanted, twin)
			if errors.Is(err, fault.DeviceAlreadyExists) {
				continue
			}
			return err
		case err != nil:
			return err
		case reflect.DeepEqual(before.Authentication, wanted.Authentication) && before.Capabilities == wanted.Capabilities:
			return nil
		}
		wanted.Status, wanted.StatusReason = before.Status, before.StatusReason
		_, err = h.replace(ctx, before, wanted)
		if _, conflict := store.IsConflict(err); conflict {
			continue
		}
		return err
	}
}

// CheckAdmission says whether Admit would refuse the admission for what stands
// in it.
func (h *Hub) CheckAdmission(admission Admission) error {
	_, _, err := h.admitted(admission)
	return err
}

func (h *Hub) admitted(admission Admission) (Device, twin, error) {
	device := Device{
		DeviceID:       admission.DeviceID,
		Authentication: admission.authentication(),
		Capabilities:   Capabilities{IoTEdge: admission.IoTEdge},
	}
	if err := device.complete(nil); err != nil {
		return Device{}, twin{}, err
	}
	twin := newTwin(h.config.Now())
	err := twin.begin(admission.Tags, admission.Desired, h.config.Now())
	return device, twin, err
}

// authentication is how the admitted device proves itself to the hub.
func (a Admission) authentication() *Authentication {
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

// disconnect ends the device's connection, wherever it is.
func (h *Hub) disconnect(ctx context.Context, id string, reason error) {
	_, err := h.config.Bus.Request(ctx, h.subject(id), downlinkRequest{Close: reason.Error()}.encode())
	if err != nil && !errors.Is(err, cluster.ErrNobody) {
		h.config.Logger.Error("a device is still connected", "hub", h.config.Name, "device", id, "error", err)
	}
}

// newGeneration tells a device from an earlier one of the same id. Azure's is a
// number of 18 digits that grows with time; so is this.
func newGeneration(now time.Time) string {
	return strconv.FormatInt(now.UnixNano()/100+504911232000000000, 10)
}
