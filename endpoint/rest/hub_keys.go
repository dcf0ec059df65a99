package rest

import (
	"errors"
	"net/http"
	"strings"

	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/identity"
)

// keyRenewal is what keys of which devices are to be regenerated.
type keyRenewal struct {
	PolicyKey string          `json:"policyKey"` // primaryKey, secondaryKey or both
	Devices   []renewedDevice `json:"devices"`   // up to 100
}

// renewedDevice is a device or module whose keys are to be regenerated.
type renewedDevice struct {
	ID       string `json:"id"`
	ModuleID string `json:"moduleId,omitempty"` // for those of a module of the device
}

// keyRenewalResult has the new keys, and the devices that have none.
type keyRenewalResult struct {
	PolicyKey   string            `json:"policyKey"`
	RotatedKeys []renewedKeys     `json:"rotatedKeys"`
	Errors      []keyRenewalError `json:"errors"`
}

// renewedKeys are the keys of a device from now on.
type renewedKeys struct {
	ID           string `json:"id"`
	ModuleID     string `json:"moduleId,omitempty"`
	PrimaryKey   string `json:"primaryKey"`
	SecondaryKey string `json:"secondaryKey"`
}

// keyRenewalError is a device whose keys were not regenerated.
type keyRenewalError struct {
	ID          string `json:"id"`
	ModuleID    string `json:"moduleId,omitempty"`
	ErrorCode   string `json:"errorCode"`
	ErrorStatus string `json:"errorStatus"`
}

// renewKeys makes keys of several devices anew, each for itself: those that fail are
// listed, the others are done.
func renewKeys(c *https.Call) (any, error) {
	var wanted keyRenewal
	if err := c.Decode(&wanted); err != nil {
		return nil, err
	}
	if n := len(wanted.Devices); n == 0 || n > maxBulkDevices {
		return nil, fault.New(fault.ArgumentInvalid, "A bulk operation takes 1 to %d devices, this one has %d",
			maxBulkDevices, n)
	}
	both := strings.EqualFold(wanted.PolicyKey, "both")
	primary := both || strings.EqualFold(wanted.PolicyKey, "primaryKey")
	secondary := both || strings.EqualFold(wanted.PolicyKey, "secondaryKey")
	if !primary && !secondary {
		return nil, fault.New(fault.ArgumentInvalid,
			"policyKey must be primaryKey, secondaryKey or both, not %.32q", wanted.PolicyKey)
	}
	ids := make([]string, len(wanted.Devices))
	for i, device := range wanted.Devices {
		if ids[i] = device.ID; device.ModuleID != "" {
			ids[i] = identity.ModuleKey(device.ID, device.ModuleID)
		}
	}
	if err := authorizeDevices(c, hub.RegistryWrite, ids...); err != nil {
		return nil, err
	}
	result := keyRenewalResult{wanted.PolicyKey, []renewedKeys{}, []keyRenewalError{}}
	for _, device := range wanted.Devices {
		keys, err := renewKeysOf(c, device, primary, secondary)
		var problem *fault.Error
		switch {
		case err == nil:
			result.RotatedKeys = append(result.RotatedKeys, keys)
		case errors.As(err, &problem):
			failed := keyRenewalError{device.ID, device.ModuleID, problem.Code.Name(), problem.Message}
			result.Errors = append(result.Errors, failed)
		default:
			return nil, err
		}
	}
	if len(result.Errors) > 0 {
		c.Status = http.StatusMultiStatus
	}
	return result, nil
}

// renewKeysOf makes keys of one device or module anew.
func renewKeysOf(c *https.Call, device renewedDevice, primary, secondary bool) (renewedKeys, error) {
	var authentication *identity.Authentication
	if device.ModuleID != "" {
		renewed, err := c.Hub.RenewModuleKeys(c.Context(), device.ID, device.ModuleID, primary, secondary)
		if err != nil {
			return renewedKeys{}, err
		}
		authentication = renewed.Authentication
	} else {
		renewed, err := c.Hub.RenewKeys(c.Context(), device.ID, primary, secondary)
		if err != nil {
			return renewedKeys{}, err
		}
		authentication = renewed.Authentication
	}
	keys := authentication.SymmetricKey
	return renewedKeys{device.ID, device.ModuleID, *keys.PrimaryKey, *keys.SecondaryKey}, nil
}
