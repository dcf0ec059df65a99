package identity

import (
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// Module is a module identity of a device, in the JSON of the IoT Hub service REST API
// (PyPI azure-iot-hub, model Module). It has the status of its device.
type Module struct {
	ModuleID     string  `json:"moduleId"`
	ManagedBy    *string `json:"managedBy"` // who looks after it; iotEdge for one of an IoT Edge device
	DeviceID     string  `json:"deviceId"`
	GenerationID string  `json:"generationId"`
	ETag         string  `json:"etag"`
	State
	Authentication *Authentication `json:"authentication"`
}

// MaxModules is how many modules a device can have beside the system modules (Microsoft
// Learn, iot-hub-devguide-module-twins).
const MaxModules = 50

// The modules that the hub gives an IoT Edge device, and who looks after them.
const (
	EdgeAgent = "$edgeAgent"
	EdgeHub   = "$edgeHub"

	ManagedByEdge = "iotEdge"
)

// isSystemModule reports whether only the hub makes modules of this id.
func isSystemModule(moduleID string) bool { return strings.HasPrefix(moduleID, "$") }

// Complete checks what an operator may write of a module and fills in what may be left out,
// as Device.Complete does. before is the module that it replaces, nil for a new one. A
// module proves itself somehow: with none it gets keys, as in Azure.
func (m *Module) Complete(before *Module) error {
	if err := CheckDeviceID(m.DeviceID); err != nil {
		return err
	}
	if err := CheckModuleID(m.ModuleID); err != nil {
		return err
	}
	if isSystemModule(m.ModuleID) {
		return fault.New(fault.ArgumentInvalid,
			"The module id %.128q begins with $. The hub gives IoT Edge devices their system modules: choose another id",
			m.ModuleID)
	}
	if m.ManagedBy != nil && utf8.RuneCountInString(*m.ManagedBy) > 128 {
		return fault.New(fault.ArgumentInvalid, "managedBy has more than 128 characters")
	}
	authentication := Authentication{}
	if m.Authentication != nil {
		authentication = *m.Authentication
	}
	if strings.EqualFold(string(authentication.Type), string(NoAuthentication)) {
		authentication.Type = SAS
	}
	m.Authentication = &authentication
	var previous *Authentication
	if before != nil {
		previous = before.Authentication
	}
	return authentication.complete(previous)
}

// What is read from the store is held against what the code relies on, so that a
// damaged record is one that can't be read, and nothing worse.
var _ store.Checkable = (*Module)(nil)

// Intact implements store.Checkable.
func (m *Module) Intact() error {
	switch {
	case CheckDeviceID(m.DeviceID) != nil:
		return errors.New("it has no device id")
	case CheckModuleID(m.ModuleID) != nil:
		return errors.New("it has no module id")
	case m.Authentication == nil:
		return errors.New("it has no authentication")
	}
	return nil
}
