package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/twin"
	"github.com/berth-iot/berth/store"
)

// identityLine is a device or module in a file of an import or export, with its twin (Azure,
// ExportImportDevice; Microsoft Learn, iot-hub-bulk-identity-mgmt).
type identityLine struct {
	ID             string                   `json:"id"`
	ModuleID       string                   `json:"moduleId,omitempty"`
	ETag           string                   `json:"eTag,omitempty"`
	ImportMode     string                   `json:"importMode,omitempty"` // "" is createOrUpdate
	Status         string                   `json:"status,omitempty"`     // of a device
	StatusReason   *string                  `json:"statusReason,omitempty"`
	ManagedBy      *string                  `json:"managedBy,omitempty"` // of a module
	Authentication *identity.Authentication `json:"authentication,omitempty"`
	TwinETag       string                   `json:"twinETag,omitempty"`
	Tags           json.RawMessage          `json:"tags,omitempty"`
	Properties     *lineProperties          `json:"properties,omitempty"`
	Capabilities   *identity.Capabilities   `json:"capabilities,omitempty"`
	DeviceScope    string                   `json:"deviceScope,omitempty"`
	ParentScopes   []string                 `json:"parentScopes,omitempty"`
}

type lineProperties struct {
	Desired  json.RawMessage `json:"desired,omitempty"`
	Reported json.RawMessage `json:"reported,omitempty"`
}

// exportedAtOnce is how many devices are read together.
const exportedAtOnce = 100

// exportIdentities calls each with all devices, each followed by its modules. A record that
// can't be read is left out.
func (h *Hub) exportIdentities(ctx context.Context, excludeKeys bool, each func(line []byte) error) error {
	for after, more := "", true; more; {
		devices, next, err := h.registry.List(ctx, "", after, exportedAtOnce)
		if err != nil {
			return err
		}
		for _, d := range devices {
			line := identityLine{ID: d.DeviceID, ETag: d.ETag, Status: d.Status, StatusReason: d.StatusReason,
				Authentication: d.Authentication, Capabilities: &d.Capabilities, DeviceScope: d.DeviceScope,
				ParentScopes: d.ParentScopes}
			if err := h.exportLine(ctx, d.DeviceID, line, excludeKeys, each); err != nil {
				return err
			}
			modules, err := h.registry.Modules(ctx, d.DeviceID)
			if err != nil {
				return err
			}
			for _, m := range modules {
				line := identityLine{ID: d.DeviceID, ModuleID: m.ModuleID, ETag: m.ETag, ManagedBy: m.ManagedBy,
					Authentication: m.Authentication}
				if err := h.exportLine(ctx, identity.ModuleKey(m.DeviceID, m.ModuleID), line, excludeKeys, each); err != nil {
					return err
				}
			}
		}
		after, more = next, next != ""
	}
	return nil
}

// exportLine adds what is of the twin to a line and hands it over.
func (h *Hub) exportLine(
	ctx context.Context, id string, line identityLine, excludeKeys bool, each func(line []byte) error,
) error {
	if excludeKeys && line.Authentication != nil {
		without := *line.Authentication
		without.SymmetricKey = identity.KeyPair{}
		line.Authentication = &without
	}
	stored, err := h.twins.Get(ctx, id)
	switch {
	case err == nil:
		described := stored.Describe(identity.Device{})
		line.TwinETag, line.Tags = described.ETag, described.Tags.AppendJSON(nil)
		line.Properties = &lineProperties{Desired: described.Properties.Desired.AppendJSON(nil),
			Reported: described.Properties.Reported.AppendJSON(nil)}
	case !errors.Is(err, fault.DeviceNotFound) && !store.IsUnreadable(err):
		return err
	}
	encoded, err := document.Marshal(line)
	if err != nil {
		return err
	}
	return each(encoded)
}

// importIdentity does what a line says. With redo that may have been done before: what is
// already so is no mistake then.
func (h *Hub) importIdentity(ctx context.Context, text []byte, redo bool) (deviceID, moduleID string, _ error) {
	var line identityLine
	if err := document.CheckDepth(text, document.MaxDepth); err != nil {
		return "", "", fault.New(fault.BadFormat, "The line can't be taken: %v", err)
	}
	if err := document.CheckText(text); err != nil {
		return "", "", fault.New(fault.BadFormat, "The line can't be taken: %v", err)
	}
	if err := json.Unmarshal(text, &line); err != nil {
		return "", "", fault.New(fault.BadFormat, "The line is not the JSON of a device or module").Because(err)
	}
	err := h.importLine(ctx, line, redo)
	return line.ID, line.ModuleID, err
}

func (h *Hub) importLine(ctx context.Context, line identityLine, redo bool) error {
	mode := strings.ToLower(cmp.Or(line.ImportMode, "createOrUpdate"))
	action, conditional := strings.CutSuffix(mode, "ifmatchetag")
	etag := "*"
	if conditional {
		etag = line.ETag
		if action == "updatetwin" {
			etag = line.TwinETag
		}
		if strings.Trim(etag, `"`) == "" {
			return fault.New(fault.ArgumentNull, "%.32s needs an ETag, and the line has none", line.ImportMode)
		}
	}
	id := line.ID
	if line.ModuleID != "" {
		id = identity.ModuleKey(line.ID, line.ModuleID)
	}
	switch action {
	case "delete":
		err := h.deleteIdentity(ctx, line, etag)
		if redo && (errors.Is(err, fault.DeviceNotFound) || errors.Is(err, fault.ModuleNotFound)) {
			err = nil
		}
		return err
	case "updatetwin":
		return h.importTwin(ctx, id, line, etag, false)
	case "create", "update", "createorupdate":
	default:
		return fault.New(fault.ArgumentInvalid, "importMode must be create, update, updateIfMatchETag, createOrUpdate, "+
			"createOrUpdateIfMatchETag, delete, deleteIfMatchETag, updateTwin or updateTwinIfMatchETag, not %.32q",
			line.ImportMode)
	}
	err := h.putIdentity(ctx, line, action, etag)
	if redo && action == "create" && h.isAsImported(ctx, line) {
		err = nil
	}
	if err != nil || line.Tags == nil && line.Properties == nil {
		return err
	}
	return h.importTwin(ctx, id, line, "*", true)
}

// putIdentity creates or updates the identity of a line.
func (h *Hub) putIdentity(ctx context.Context, line identityLine, action, ifMatch string) error {
	// A system module comes and goes with its device.
	create, update := func() error { return nil }, func() error { return nil }
	switch {
	case line.ModuleID == "":
		device := h.importedDevice(ctx, line)
		create = func() error { _, err := h.CreateDevice(ctx, device); return err }
		update = func() error { _, err := h.UpdateDevice(ctx, device, ifMatch); return err }
	case !strings.HasPrefix(line.ModuleID, "$"):
		module := identity.Module{DeviceID: line.ID, ModuleID: line.ModuleID, ManagedBy: line.ManagedBy,
			Authentication: line.Authentication}
		create = func() error { _, err := h.CreateModule(ctx, module); return err }
		update = func() error { _, err := h.UpdateModule(ctx, module, ifMatch); return err }
	}
	if action == "create" {
		return create()
	}
	err := update()
	if action == "createorupdate" && (errors.Is(err, fault.DeviceNotFound) && line.ModuleID == "" ||
		errors.Is(err, fault.ModuleNotFound)) {
		err = create()
	}
	return err
}

// importedDevice is the device of a line. An IoT Edge device gets a scope of its own in this
// hub, and a parent is the device of that name.
func (h *Hub) importedDevice(ctx context.Context, line identityLine) identity.Device {
	device := identity.Device{DeviceID: line.ID, Status: line.Status, StatusReason: line.StatusReason,
		Authentication: line.Authentication, DeviceScope: line.DeviceScope, ParentScopes: line.ParentScopes}
	if line.Capabilities != nil {
		device.Capabilities = *line.Capabilities
	}
	if device.Capabilities.IoTEdge {
		device.DeviceScope = ""
	} else if device.DeviceScope != "" {
		device.DeviceScope = h.registry.PresentScope(ctx, device.DeviceScope)
	}
	for i, scope := range device.ParentScopes {
		device.ParentScopes[i] = h.registry.PresentScope(ctx, scope)
	}
	return device
}

// isAsImported reports whether the identity of a line is there and authenticates as the line
// says, or the line says nothing of that.
func (h *Hub) isAsImported(ctx context.Context, line identityLine) bool {
	var authentication *identity.Authentication
	if line.ModuleID == "" {
		device, err := h.registry.Get(ctx, line.ID)
		if err != nil {
			return false
		}
		authentication = device.Authentication
	} else {
		module, err := h.registry.Module(ctx, line.ID, line.ModuleID)
		if err != nil {
			return false
		}
		authentication = module.Authentication
	}
	return line.Authentication == nil || reflect.DeepEqual(authentication, line.Authentication)
}

func (h *Hub) deleteIdentity(ctx context.Context, line identityLine, ifMatch string) error {
	if line.ModuleID != "" {
		return h.DeleteModule(ctx, line.ID, line.ModuleID, ifMatch)
	}
	return h.DeleteDevice(ctx, line.ID, ifMatch)
}

// importTwin merges the twin of a line, or puts it in the place of the one that is there,
// with its reported properties too: who moves devices to another hub moves what they said.
func (h *Hub) importTwin(ctx context.Context, id string, line identityLine, ifMatch string, replace bool) error {
	desired, reported := json.RawMessage(nil), json.RawMessage(nil)
	if line.Properties != nil {
		desired, reported = line.Properties.Desired, line.Properties.Reported
	}
	body, err := document.Marshal(struct {
		Tags       json.RawMessage `json:"tags,omitempty"`
		Properties lineProperties  `json:"properties"`
	}{line.Tags, lineProperties{Desired: desired}})
	if err != nil {
		return err
	}
	patch, err := twin.ReadPatch(body, replace)
	if err != nil {
		return err
	}
	changed, err := h.changeAndNotify(ctx, id, patch, ifMatch, replace)
	if err != nil || !document.HasMembers(reported, "$metadata", "$version") {
		return err
	}
	_, err = h.twins.Report(ctx, twin.Owner{DeviceID: id, Generation: changed.Generation}, reported, nil,
		func() error { return nil })
	return err
}
