package rest

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/identity"
)

// hubModules are the operations on the modules of devices (Azure, IoT Hub service REST API).
// Those on their twins are the ones on twins of devices.
func hubModules() []https.Operation {
	return []https.Operation{
		iot("GET", contract.ModulesPath, hub.RegistryRead, 0, listModules).FlattenFaults(),
		iot("GET", contract.ModulePath, hub.RegistryRead, 0, getModule).FlattenFaults(),
		iot("PUT", contract.ModulePath, hub.RegistryWrite, https.SmallBody, putModule).FlattenFaults(),
		iot("DELETE", contract.ModulePath, hub.RegistryWrite, 0, deleteModule).FlattenFaults(),
		iot("GET", contract.ModuleTwinPath, hub.ServiceConnect, 0, getTwin),
		iot("PATCH", contract.ModuleTwinPath, hub.ServiceConnect, https.TwinBody, patchTwin),
		iot("PUT", contract.ModuleTwinPath, hub.ServiceConnect, https.TwinBody, replaceTwin),
	}
}

func listModules(c *https.Call) (any, error) {
	modules, err := c.Hub.Modules(c.Context(), c.Parameter("id"))
	if modules == nil {
		modules = []identity.Module{}
	}
	return modules, err
}

func getModule(c *https.Call) (any, error) {
	module, err := c.Hub.Module(c.Context(), c.Parameter("id"), c.Parameter("module"))
	return c.Tagged(module, module.ETag, err)
}

// moduleBody is what is read of a module that a back end sends. What only the hub writes is
// left aside, as in deviceBody.
type moduleBody struct {
	DeviceID       string                   `json:"deviceId"`
	ModuleID       string                   `json:"moduleId"`
	ManagedBy      *string                  `json:"managedBy"`
	Authentication *identity.Authentication `json:"authentication"`
}

// putModule creates a module, or updates one when the request has an If-Match.
func putModule(c *https.Call) (any, error) {
	var body moduleBody
	if err := c.Decode(&body); err != nil {
		return nil, err
	}
	module := identity.Module{DeviceID: c.Parameter("id"), ModuleID: c.Parameter("module"), ManagedBy: body.ManagedBy,
		Authentication: body.Authentication}
	switch {
	case body.DeviceID != "" && body.DeviceID != module.DeviceID:
		return nil, fault.New(fault.ArgumentInvalid, "The body names the device %.128q, the address %.128q",
			body.DeviceID, module.DeviceID)
	case body.ModuleID != "" && body.ModuleID != module.ModuleID:
		return nil, fault.New(fault.ArgumentInvalid, "The body names the module %.128q, the address %.128q",
			body.ModuleID, module.ModuleID)
	}
	if module.ManagedBy != nil && *module.ManagedBy == "" {
		module.ManagedBy = nil // SDKs write what they leave out as ""
	}
	ifMatch := c.Header.Get("If-Match")
	if ifMatch == "" {
		created, err := c.Hub.CreateModule(c.Context(), module)
		return c.Tagged(created, created.ETag, err)
	}
	updated, err := c.Hub.UpdateModule(c.Context(), module, ifMatch)
	return c.Tagged(updated, updated.ETag, err)
}

func deleteModule(c *https.Call) (any, error) {
	return nil, c.Hub.DeleteModule(c.Context(), c.Parameter("id"), c.Parameter("module"), c.Header.Get("If-Match"))
}

// importModule does to a module of a bulk operation what its importMode says, as
// importDevice does to a device.
func importModule(c *https.Call, body deviceBody, mode string) (err error) {
	ctx := c.Context()
	module := identity.Module{DeviceID: body.device().DeviceID, ModuleID: body.ModuleID, ManagedBy: body.ManagedBy,
		Authentication: body.Authentication}
	if strings.HasPrefix(mode, "updatetwin") {
		return importTwin(c, body, mode)
	}
	create := func() error {
		desired, err := body.initialDesired()
		if err == nil {
			_, err = c.Hub.CreateModuleWithTwin(ctx, module, body.Tags, desired)
		}
		return err
	}
	if body.hasTwin() && !body.deletes() && mode != "create" {
		_, err := c.Hub.Module(ctx, module.DeviceID, module.ModuleID)
		if !errors.Is(err, fault.ModuleNotFound) {
			return fault.New(fault.ArgumentInvalid,
				"The module has tags or properties, which a bulk operation takes for new modules only. Change its "+
					"twin with PATCH /twins/%.128s/modules/%.128s",
				module.DeviceID, module.ModuleID)
		}
	}
	switch mode {
	case "create":
		err = create()
	case "update":
		_, err = c.Hub.UpdateModule(ctx, module, "*")
	case "updateifmatchetag":
		_, err = c.Hub.UpdateModule(ctx, module, body.ETag)
	case "createorupdate", "":
		if _, err = c.Hub.UpdateModule(ctx, module, "*"); errors.Is(err, fault.ModuleNotFound) {
			err = create()
		}
	case "delete":
		err = c.Hub.DeleteModule(ctx, module.DeviceID, module.ModuleID, "")
	case "deleteifmatchetag":
		err = c.Hub.DeleteModule(ctx, module.DeviceID, module.ModuleID, body.ETag)
	default:
		err = errImportMode(body.ImportMode)
	}
	return err
}

// initialDesired are the desired properties of a new twin.
func (b deviceBody) initialDesired() (json.RawMessage, error) {
	if b.Properties == nil {
		return nil, nil
	}
	if hasMembers(b.Properties.Reported) {
		return nil, fault.New(fault.ArgumentInvalid, "properties.reported is for the device to write. Leave it out")
	}
	return b.Properties.Desired, nil
}
