package rest

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/throttle"
	"github.com/berth-iot/berth/panics"
)

// hubService are the operations of back ends on a hub (Azure, IoT Hub service
// REST API).
func (s *service) hubService() []https.Operation {
	return []https.Operation{
		iot("GET", contract.DevicesPath, hub.RegistryRead, 0, listDevices).Throttled(throttle.RegistryRead),
		iot("POST", contract.DevicesPath, hub.RegistryWrite, https.LargeBody,
			s.bulkDevices).Throttled(throttle.RegistryWrite),
		iot("POST", contract.DeviceKeysPath, hub.RegistryWrite, https.SmallBody, renewKeys).Throttled(throttle.RegistryWrite),
		iot("POST", contract.DevicesQueryPath, hub.ServiceConnect, https.SmallBody, queryTwins).Throttled(throttle.Query),
		iot("GET", contract.DevicePath, hub.RegistryRead, 0, getDevice).Throttled(throttle.RegistryRead),
		iot("PUT", contract.DevicePath, hub.RegistryWrite, https.SmallBody, putDevice).Throttled(throttle.RegistryWrite),
		iot("DELETE", contract.DevicePath, hub.RegistryWrite, 0, deleteDevice).Throttled(throttle.RegistryWrite),
		iot("GET", contract.TwinPath, hub.ServiceConnect, 0, getTwin).Throttled(throttle.TwinRead),
		iot("PATCH", contract.TwinPath, hub.ServiceConnect, https.TwinBody, patchTwin).Throttled(throttle.TwinUpdate),
		iot("PUT", contract.TwinPath, hub.ServiceConnect, https.TwinBody, replaceTwin).Throttled(throttle.TwinUpdate),
		iot("GET", contract.DeviceStatisticsPath, hub.RegistryRead, 0, registryStatistics).Throttled(throttle.RegistryRead),
		iot("GET", contract.ServiceStatisticsPath, hub.ServiceConnect, 0, serviceStatistics).Throttled(throttle.RegistryRead),
	}
}

// authorizeDevices checks that a token is good for these devices and modules, or for all
// devices when none is named. An operation on several has an address that could be that of a device called
// query or keys, for which alone a token may be.
func authorizeDevices(c *https.Call, right string, ids ...string) error {
	resources := [][]credential.Segment{credential.ResourceOf("", "devices").Path}
	if len(ids) > 0 {
		resources = nil
	}
	for _, id := range ids {
		resource := credential.DeviceResource("", id)
		if deviceID, moduleID := identity.SplitKey(id); moduleID != "" {
			resource = credential.ModuleResource("", deviceID, moduleID)
		}
		resources = append(resources, resource.Path)
	}
	for _, resource := range resources {
		if _, err := c.Hub.Access().Authorize(c.Context(), c.Header.Get("Authorization"), right,
			resource...); err != nil {
			return err
		}
	}
	return nil
}

func listDevices(c *https.Call) (any, error) {
	top, err := c.Number("top", c.Query("top"), https.MaxPage, https.MaxPage)
	if err != nil {
		return nil, err
	}
	devices, _, err := c.Hub.Devices(c.Context(), "", "", top)
	return devices, err
}

func getDevice(c *https.Call) (any, error) {
	device, err := c.Hub.Device(c.Context(), c.Parameter("id"))
	return c.Tagged(device, device.ETag, err)
}

// putDevice creates a device, or updates one when the request has an If-Match.
func putDevice(c *https.Call) (any, error) {
	body, device, err := decodeDevice(c)
	if err != nil {
		return nil, err
	}
	ifMatch := c.Header.Get("If-Match")
	if ifMatch == "" {
		created, err := c.Hub.CreateDevice(c.Context(), device)
		return c.Tagged(created, created.ETag, err)
	}
	readParent(c, body, &device)
	updated, err := c.Hub.UpdateDevice(c.Context(), device, ifMatch)
	return c.Tagged(updated, updated.ETag, err)
}

func decodeDevice(c *https.Call) (body deviceBody, device identity.Device, _ error) {
	if err := c.Decode(&body); err != nil {
		return body, device, err
	}
	id := c.Parameter("id")
	if body.hasTwin() {
		return body, device, fault.New(fault.ArgumentInvalid,
			"The device has tags or properties. They are of its twin: PATCH /twins/%.128s", id)
	}
	device = body.device()
	if device.DeviceID == "" {
		device.DeviceID = id
	}
	if device.DeviceID != id {
		return body, device, fault.New(fault.ArgumentInvalid, "The body names the device %.128q, the address %.128q",
			device.DeviceID, id)
	}
	return body, device, nil
}

// deviceBody is what is read of a device that a back end sends. What only the
// hub writes is left aside, whatever its type: SDKs send counts as strings.
type deviceBody struct {
	DeviceID       string                   `json:"deviceId"`
	ID             string                   `json:"id"` // in bulk operations
	ETag           string                   `json:"etag"`
	ImportMode     string                   `json:"importMode"`
	Status         string                   `json:"status"`
	StatusReason   *string                  `json:"statusReason"`
	Authentication *identity.Authentication `json:"authentication"`
	Capabilities   *identity.Capabilities   `json:"capabilities"`
	DeviceScope    *string                  `json:"deviceScope"`
	ParentScopes   []string                 `json:"parentScopes"`

	ModuleID   string              `json:"moduleId"`   // in bulk operations, of a module of the device
	ManagedBy  *string             `json:"managedBy"`  // likewise
	Tags       json.RawMessage     `json:"tags"`       // in bulk operations, of the twin of a new device
	Properties *importedProperties `json:"properties"` // likewise
	TwinETag   string              `json:"twinETag"`   // in bulk operations, for updateTwinIfMatchETag

	sent json.RawMessage // in bulk operations, all of it as it came
}

// importedProperties are those of the twin of a device in a bulk operation.
type importedProperties struct {
	Desired  json.RawMessage `json:"desired"`
	Reported json.RawMessage `json:"reported"`
}

// hasTwin reports whether a device brings a twin.
func (b deviceBody) hasTwin() bool {
	return hasMembers(b.Tags) ||
		b.Properties != nil && (hasMembers(b.Properties.Desired) || hasMembers(b.Properties.Reported))
}

// hasMembers reports whether there is more in a part of a twin than what SDKs send of an
// empty one.
func hasMembers(part json.RawMessage) bool {
	return document.HasMembers(part, "$metadata", "$version")
}

func (b deviceBody) device() identity.Device {
	device := identity.Device{DeviceID: b.DeviceID, ETag: b.ETag, Status: b.Status, StatusReason: b.StatusReason,
		Authentication: b.Authentication, ParentScopes: b.ParentScopes}
	if b.DeviceScope != nil {
		device.DeviceScope = *b.DeviceScope
	}
	if b.ID != "" {
		device.DeviceID = b.ID
	}
	if b.Capabilities != nil {
		device.Capabilities = *b.Capabilities
	}
	return device
}

func deleteDevice(c *https.Call) (any, error) {
	return nil, c.Hub.DeleteDevice(c.Context(), c.Parameter("id"), c.Header.Get("If-Match"))
}

func getTwin(c *https.Call) (any, error) {
	id, err := c.IdentityID()
	if err != nil {
		return nil, err
	}
	twin, err := c.Hub.Twin(c.Context(), id)
	return c.Tagged(twin, twin.ETag, err)
}

func patchTwin(c *https.Call) (any, error) {
	id, err := c.IdentityID()
	if err != nil {
		return nil, err
	}
	twin, err := c.Hub.PatchTwin(c.Context(), id, c.Content, c.Header.Get("If-Match"))
	return c.Tagged(twin, twin.ETag, err)
}

func replaceTwin(c *https.Call) (any, error) {
	id, err := c.IdentityID()
	if err != nil {
		return nil, err
	}
	twin, err := c.Hub.ReplaceTwin(c.Context(), id, c.Content, c.Header.Get("If-Match"))
	return c.Tagged(twin, twin.ETag, err)
}

func registryStatistics(c *https.Call) (any, error) {
	return c.Hub.Registry().Statistics(c.Context())
}

func serviceStatistics(c *https.Call) (any, error) {
	return c.Hub.Connections().Statistics(c.Context())
}

// maxBulkDevices is how many devices one bulk operation takes in Azure.
const maxBulkDevices = 100

// bulkDevices does to each device what its importMode says. Those that fail are
// listed, the others are done. As in Azure the status is 400 when there are some; by the
// header IotHubErrorCode the C# client knows that the body is the result all the same.
func (s *service) bulkDevices(c *https.Call) (any, error) {
	var devices []deviceBody
	if err := c.Decode(&devices); err != nil {
		return nil, err
	}
	var sent []json.RawMessage
	if err := c.Decode(&sent); err != nil {
		return nil, err
	}
	for i := range devices {
		devices[i].sent = sent[i]
	}
	if n := len(devices); n == 0 || n > maxBulkDevices {
		return nil, fault.New(fault.ArgumentInvalid, "A bulk operation takes 1 to %d devices, this one has %d",
			maxBulkDevices, n)
	}
	failed := []contract.BulkDeviceError{}
	identity := func(body deviceBody) (id, etag string) { return body.device().DeviceID, body.ETag }
	atOnce := bulkAtOnce
	if slices.ContainsFunc(devices, func(body deviceBody) bool { return !body.deletes() }) {
		atOnce = 1 // a device may be the parent of one after it
	}
	outcomes := applyAll(devices, atOnce, identity, func(body deviceBody, _, _ string) error {
		return s.Panics.Do(panics.HTTPS, func() error { return importDevice(c, body) })
	})
	for i, err := range outcomes {
		var problem *fault.Error
		switch {
		case err == nil:
		case errors.As(err, &problem):
			failed = append(failed, contract.BulkDeviceError{DeviceID: devices[i].device().DeviceID,
				ModuleID: devices[i].ModuleID, ErrorCode: problem.Code.Name(), ErrorStatus: problem.Message})
		default:
			return nil, err
		}
	}
	if len(failed) > 0 {
		c.Status = http.StatusBadRequest
		c.SetHeader(contract.HubErrorCodeHeader, contract.BulkFailure)
		c.SetHeader("IotHubErrorCode", contract.BulkFailure)
	}
	return contract.BulkDeviceResult{IsSuccessful: len(failed) == 0, Errors: failed, Warnings: []any{}}, nil
}

// deletes reports whether the device is to be deleted.
func (b deviceBody) deletes() bool { return strings.HasPrefix(strings.ToLower(b.ImportMode), "delete") }

func importDevice(c *https.Call, body deviceBody) (err error) {
	ctx, device := c.Context(), body.device()
	mode := strings.ToLower(body.ImportMode)
	if strings.HasSuffix(mode, "ifmatchetag") && mode != "updatetwinifmatchetag" &&
		strings.Trim(device.ETag, `"`) == "" {
		return errNoETag(body.ImportMode)
	}
	if body.ModuleID != "" {
		return importModule(c, body, mode)
	}
	if strings.HasPrefix(mode, "updatetwin") {
		return importTwin(c, body, mode)
	}
	readParent(c, body, &device)
	create := func() error { _, err := c.Hub.CreateDevice(ctx, device); return err }
	if body.hasTwin() && !strings.HasPrefix(mode, "delete") {
		if _, err := c.Hub.Device(ctx, device.DeviceID); mode != "create" && !errors.Is(err, fault.DeviceNotFound) {
			return fault.New(fault.ArgumentInvalid,
				"The device has tags or properties, which a bulk operation takes for new devices only. Change its "+
					"twin with PATCH /twins/%.128s",
				device.DeviceID)
		}
		create = func() error { return createWithTwin(c, body) }
	}
	switch mode {
	case "create":
		err = create()
	case "update":
		_, err = c.Hub.UpdateDevice(ctx, device, "*")
	case "updateifmatchetag":
		_, err = c.Hub.UpdateDevice(ctx, device, device.ETag)
	case "createorupdate", "":
		if _, err = c.Hub.UpdateDevice(ctx, device, "*"); errors.Is(err, fault.DeviceNotFound) {
			err = create()
		}
	case "delete":
		err = c.Hub.DeleteDevice(ctx, device.DeviceID, "")
	case "deleteifmatchetag":
		err = c.Hub.DeleteDevice(ctx, device.DeviceID, device.ETag)
	default:
		err = errImportMode(body.ImportMode)
	}
	return err
}

func errImportMode(mode string) error {
	return fault.New(fault.ArgumentInvalid, "importMode must be create, update, updateIfMatchETag, createOrUpdate, "+
		"delete, deleteIfMatchETag, updateTwin or updateTwinIfMatchETag, not %.32q", mode)
}

// importTwin merges tags and desired properties of a bulk operation into a twin, as PATCH of
// the twin does with the same JSON. It needs the right that that needs.
func importTwin(c *https.Call, body deviceBody, mode string) error {
	deviceID, ifMatch := body.device().DeviceID, "*"
	id := deviceID
	if body.ModuleID != "" {
		id = identity.ModuleKey(deviceID, body.ModuleID)
	}
	if mode == "updatetwinifmatchetag" {
		if ifMatch = body.TwinETag; strings.Trim(ifMatch, `"`) == "" {
			return fault.New(fault.ArgumentNull,
				"%.32s needs a twinETag. Read the twin again and send the etag that it has",
				body.ImportMode)
		}
	} else if mode != "updatetwin" {
		return errImportMode(body.ImportMode)
	}
	if err := authorizeDevices(c, hub.ServiceConnect, id); err != nil {
		return err
	}
	if strings.EqualFold(body.Status, identity.Disabled) { // that SDKs say enabled of every device is no wish
		device, err := c.Hub.Device(c.Context(), deviceID)
		if err == nil && device.Status != identity.Disabled {
			err = fault.New(fault.ArgumentInvalid,
				"%.32s changes the twin alone, and the device is enabled. Disable it with importMode update",
				body.ImportMode)
		}
		if err != nil {
			return err
		}
	}
	_, err := c.Hub.PatchTwin(c.Context(), id, body.sent, ifMatch)
	return err
}

// createWithTwin creates a device of a bulk operation with its twin.
func createWithTwin(c *https.Call, body deviceBody) error {
	desired, err := body.initialDesired()
	if err == nil {
		_, err = c.Hub.CreateDeviceWithTwin(c.Context(), body.device(), body.Tags, desired)
	}
	return err
}
