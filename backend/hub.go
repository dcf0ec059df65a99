package backend

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/connection"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/inject"
	"github.com/berth-iot/berth/hub/telemetry"
	"github.com/berth-iot/berth/hub/twin"
)

// Hub is a client of a hub.
type Hub struct {
	*client
	authorities
	faults[inject.DeviceFault]
}

// NewHub returns a client for the hub of a connection string.
func NewHub(connectionString string, options Options) (*Hub, error) {
	c, err := newClient(connectionString, "2021-04-12", options)
	if err != nil {
		return nil, err
	}
	return &Hub{c, authorities{c, contract.HubAuthorities},
		faults[inject.DeviceFault]{c, contract.FaultsPath, contract.FaultPath}}, nil
}

// maxDocument bounds an identity or a twin that a hub answers with, in bytes. A twin
// of Azure's limits, with all of its metadata, stays below it.
const maxDocument = 8 << 20

// Host is the host name of the hub.
func (h *Hub) Host() string { return h.connection.HostName }

// Device returns a device identity.
func (h *Hub) Device(ctx context.Context, id string) (device identity.Device, err error) {
	err = h.do(ctx, request{method: http.MethodGet, path: contract.DevicePath.With(id), into: &device,
		maxAnswer: maxDocument})
	return device, err
}

// CreateDevice adds a device identity.
func (h *Hub) CreateDevice(ctx context.Context, device identity.Device) (created identity.Device, err error) {
	err = h.do(ctx, request{method: http.MethodPut, path: contract.DevicePath.With(device.DeviceID), body: device,
		into: &created, maxAnswer: maxDocument})
	return created, err
}

// UpdateDevice replaces what may be set of a device. ifMatch is "*" or the
// device's ETag; "" is taken for "*".
func (h *Hub) UpdateDevice(ctx context.Context, device identity.Device,
	ifMatch string) (updated identity.Device, err error) {
	if ifMatch == "" {
		ifMatch = "*"
	}
	err = h.do(ctx, request{method: http.MethodPut, path: contract.DevicePath.With(device.DeviceID), ifMatch: ifMatch,
		body: device, into: &updated, maxAnswer: maxDocument})
	return updated, err
}

// DeleteDevice removes a device under the condition ifMatch.
func (h *Hub) DeleteDevice(ctx context.Context, id, ifMatch string) error {
	return h.do(ctx, request{method: http.MethodDelete, path: contract.DevicePath.With(id), ifMatch: ifMatch})
}

// DeleteDevices removes several devices, at most MaxBulk, each for itself, and returns
// those that failed.
func (h *Hub) DeleteDevices(ctx context.Context, ids []string) (failed []BulkError, err error) {
	type item struct {
		ID   string `json:"id"`
		Mode string `json:"importMode"`
	}
	items := make([]item, len(ids))
	for i, id := range ids {
		items[i] = item{id, "delete"}
	}
	var answer contract.BulkDeviceResult
	err = h.do(ctx, request{method: http.MethodPost, path: contract.DevicesPath, body: items, into: &answer})
	for _, e := range answer.Errors {
		code, ok := contract.CodeOf(e.ErrorCode)
		if !ok {
			code = fault.Internal
		}
		failed = append(failed, BulkError{e.DeviceID, int(code), e.ErrorStatus})
	}
	return failed, err
}

// Devices returns at most top devices with ids that start with prefix, and the
// after of the next call, "" at the end.
func (h *Hub) Devices(ctx context.Context, prefix, after string, top int) ([]identity.Device, string, error) {
	return list[identity.Device](ctx, h.client, contract.DeviceListPath, prefix, after, top)
}

// twinPath is that of the twin of a device or module, whose id is as identity.ModuleKey has
// it.
func twinPath(id string) contract.Path {
	if deviceID, moduleID := identity.SplitKey(id); moduleID != "" {
		return contract.ModuleTwinPath.With(deviceID, moduleID)
	}
	return contract.TwinPath.With(id)
}

// Twin returns the twin of a device or module, whose id is as identity.ModuleKey has it.
func (h *Hub) Twin(ctx context.Context, id string) (twin twin.Twin, err error) {
	err = h.do(ctx, request{method: http.MethodGet, path: twinPath(id), into: &twin,
		maxAnswer: maxDocument})
	return twin, err
}

// PatchTwin merges a patch into a twin under the condition ifMatch.
func (h *Hub) PatchTwin(ctx context.Context, id string, patch json.RawMessage,
	ifMatch string) (twin twin.Twin, err error) {
	err = h.do(ctx, request{method: http.MethodPatch, path: twinPath(id), ifMatch: ifMatch, body: patch,
		into: &twin, maxAnswer: maxDocument})
	return twin, err
}

// ReplaceTwin puts other tags and desired properties into a twin.
func (h *Hub) ReplaceTwin(ctx context.Context, id string, replacement json.RawMessage,
	ifMatch string) (twin twin.Twin, err error) {
	err = h.do(ctx, request{method: http.MethodPut, path: twinPath(id), ifMatch: ifMatch,
		body: replacement, into: &twin, maxAnswer: maxDocument})
	return twin, err
}

// RegistryStatistics counts the device identities.
func (h *Hub) RegistryStatistics(ctx context.Context) (statistics identity.Statistics, err error) {
	err = h.do(ctx, request{method: http.MethodGet, path: contract.DeviceStatisticsPath, into: &statistics})
	return statistics, err
}

// ServiceStatistics counts the connected devices.
func (h *Hub) ServiceStatistics(ctx context.Context) (statistics connection.Statistics, err error) {
	err = h.do(ctx, request{method: http.MethodGet, path: contract.ServiceStatisticsPath, into: &statistics})
	return statistics, err
}

// Telemetry calls each with messages from a position on, of one device or of
// all (""), until ctx ends, max (unless 0) have come, or each returns an error;
// hub.ErrStop ends it without one.
func (h *Hub) Telemetry(ctx context.Context, from telemetry.Position, deviceID string, max int,
	each func(telemetry.Message) error) error {
	return h.follow(ctx, contract.TelemetryPath, from, deviceID, max, each)
}

// Events is Telemetry for what happens to devices: that they are created and deleted, connect
// and disconnect, and that their twins change. The property opType says what it is.
func (h *Hub) Events(ctx context.Context, from telemetry.Position, deviceID string, max int,
	each func(telemetry.Message) error) error {
	return h.follow(ctx, contract.ChangeEventsPath, from, deviceID, max, each)
}

func (h *Hub) follow(ctx context.Context, path contract.Path, from telemetry.Position, deviceID string, max int,
	each func(telemetry.Message) error) error {
	query := url.Values{"from": {"latest"}}
	switch {
	case from.Earliest:
		query.Set("from", "earliest")
	case !from.Time.IsZero():
		query.Set("from", from.Time.UTC().Format(time.RFC3339Nano))
	}
	if deviceID != "" {
		query.Set("device", deviceID)
	}
	if max > 0 {
		query.Set("max", fmt.Sprint(max))
	}
	response, err := h.send(ctx, request{method: http.MethodGet, path: path, query: query})
	if err != nil {
		return err
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 4<<20) // the largest message, escaped
	for lines.Scan() {
		var message telemetry.Message
		if err := json.Unmarshal(lines.Bytes(), &message); err != nil {
			// It keeps nobody from those after it.
			message = telemetry.Message{BodyBase64: slices.Clone(lines.Bytes()),
				Unreadable: "it is not the JSON of a message"}
		}
		if err := each(message); err != nil {
			if errors.Is(err, telemetry.ErrStop) {
				return nil
			}
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return lines.Err()
}
