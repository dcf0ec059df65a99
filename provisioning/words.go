package provisioning

import (
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/document"
)

// Registration is the registration record of a device: where it was assigned.
type Registration = contract.Registration

// Status of a registration.
type Status = contract.RegistrationStatus

// The statuses of a registration.
const (
	StatusUnassigned = contract.StatusUnassigned
	StatusAssigning  = contract.StatusAssigning
	StatusAssigned   = contract.StatusAssigned
	StatusFailed     = contract.StatusFailed
	StatusDisabled   = contract.StatusDisabled
)

// Substatus says how an assigned device came to its hub.
type Substatus = contract.Substatus

// The ways to a hub.
const (
	InitialAssignment                = contract.InitialAssignment
	DeviceDataMigrated               = contract.DeviceDataMigrated
	DeviceDataReset                  = contract.DeviceDataReset
	ReprovisionedToInitialAssignment = contract.ReprovisionedToInitialAssignment
)

// Time is a time in JSON as the service writes it: UTC with seven fractional
// digits.
type Time = document.Time
