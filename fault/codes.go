package fault

import "fmt"

// Code is a six-digit error code. Values and names are those of Azure IoT Hub
// (PyPI azure-iot-hub, generated models, ErrorDetails) and of the Device
// Provisioning Service (as its clients and its documentation of custom allocation
// report them). That list has the names of 400201 to 400209 in the order of their
// numbers.
type Code int

const (
	BadRequest                  Code = 400000 // GenericBadRequest
	InvalidProtocolVersion      Code = 400001
	ArgumentInvalid             Code = 400004
	ArgumentNull                Code = 400005
	BadFormat                   Code = 400006 // IotHubFormatError
	CredentialRequestInvalid    Code = 400040 // CredentialOperationFailed: the hub can't meet a request for a certificate
	InvalidRegistrationID       Code = 400202
	TooManyEnrollments          Code = 400205
	AllocationFailed            Code = 400207 // CustomAllocationFailed
	HubNotSpecified             Code = 400208 // CustomAllocationIotHubNotSpecified
	WebhookUnauthorized         Code = 400209 // CustomAllocationUnauthorizedAccess
	InvalidTargetCondition      Code = 400401 // InvalidConfigurationTargetCondition
	InvalidContent              Code = 400402 // InvalidConfigurationContent
	InvalidMetricsQuery         Code = 400404 // InvalidConfigurationCustomMetricsQuery
	DigitalTwinJSONPatchInvalid Code = 400505 // InvalidDigitalTwinJsonPatch
	DigitalTwinPayloadInvalid   Code = 400506 // InvalidDigitalTwinPayload
	DigitalTwinPatchInvalid     Code = 400507 // InvalidDigitalTwinPatch
	DigitalTwinPatchPathInvalid Code = 400508 // InvalidDigitalTwinPatchPath
	ConnectionRejected          Code = 400030 // ConnectionRejectedOnFaultInjection
	InvalidContainer            Code = 400008 // BlobContainerValidationError

	Unauthorized       Code = 401000 // GenericUnauthorized
	HubNotFound        Code = 401001 // IotHubNotFound: 401, as in Azure
	UnauthorizedAccess Code = 401002 // IotHubUnauthorizedAccess: what DPS answers to every failed attestation
	TokenExpired       Code = 401003 // IotHubUnauthorized

	SystemModuleModification Code = 401100 // SystemModuleModifyUnauthorizedAccess

	Forbidden            Code = 403000 // GenericForbidden
	QuotaExceeded        Code = 403002 // IotHubQuotaExceeded
	QueueFull            Code = 403004 // DeviceMaximumQueueDepthExceeded
	JobQuotaExceeded     Code = 403003
	InvalidMessageExpiry Code = 403009 // InvalidMessageExpiryTime
	TooManyCalls         Code = 403800 // DeviceMaximumInflightMethodExceeded

	NotFound             Code = 404000 // GenericNotFound
	DeviceNotFound       Code = 404001
	JobNotFound          Code = 404002
	ModuleNotFound       Code = 404010
	DeviceNotOnline      Code = 404103 // to a method: the device has no receiver of them
	DeviceGone           Code = 404104 // DeviceConnectionClosedRemotely: before it answered a method
	EnrollmentNotFound   Code = 404201
	RegistrationNotFound Code = 404202 // DeviceRegistrationNotFound
	OperationNotFound    Code = 404203 // AsyncOperationNotFound
	GroupNotFound        Code = 404204 // EnrollmentGroupNotFound

	ConfigurationNotFound Code = 404301

	MethodNotAllowed    Code = 405000 // GenericMethodNotAllowed
	OperationNotAllowed Code = 405102 // OperationNotAllowedInCurrentState

	Conflict             Code = 409000 // GenericConflict
	DeviceAlreadyExists  Code = 409001
	JobAlreadyExists     Code = 409104
	EnrollmentConflict   Code = 409202
	RegistrationConflict Code = 409203

	ModuleAlreadyExists       Code = 409301 // ModuleAlreadyExistsOnDevice
	ConfigurationExists       Code = 409401 // ConfigurationAlreadyExists
	CredentialOperationActive Code = 409005 // another certificate signing request of the device is under way at its hub

	PreconditionFailed Code = 412001 // the ETag given is not the present one
	MessageLockLost    Code = 412002 // DeviceMessageLockLost

	MessageTooLarge      Code = 413001
	TooManyModules       Code = 413003 // TooManyModulesOnDevice
	UnsupportedMediaType Code = 415000

	TooManyConfigurations Code = 413101 // ConfigurationCountLimitExceeded

	Throttled         Code = 429001 // ThrottlingException
	TooManyActiveJobs Code = 429004 // ThrottlingMaxActiveJobCountExceeded

	Internal       Code = 500001 // ServerError
	JobCancelled   Code = 500002 // what became of a device whose turn in a job did not come, or was broken off
	BadGateway     Code = 502000 // GenericBadGateway: a device's answer to a method can't be handed on
	Unavailable    Code = 503001 // ServiceUnavailable
	GatewayTimeout Code = 504101 // a device did not answer a method in time
)

var names = map[Code]string{
	BadRequest:                  "GenericBadRequest",
	InvalidProtocolVersion:      "InvalidProtocolVersion",
	ArgumentInvalid:             "ArgumentInvalid",
	ArgumentNull:                "ArgumentNull",
	BadFormat:                   "IotHubFormatError",
	CredentialRequestInvalid:    "CredentialOperationFailed",
	InvalidRegistrationID:       "InvalidRegistrationId",
	TooManyEnrollments:          "TooManyEnrollments",
	AllocationFailed:            "CustomAllocationFailed",
	HubNotSpecified:             "CustomAllocationIotHubNotSpecified",
	WebhookUnauthorized:         "CustomAllocationUnauthorizedAccess",
	InvalidTargetCondition:      "InvalidConfigurationTargetCondition",
	InvalidContent:              "InvalidConfigurationContent",
	InvalidMetricsQuery:         "InvalidConfigurationCustomMetricsQuery",
	ConfigurationNotFound:       "ConfigurationNotFound",
	ConfigurationExists:         "ConfigurationAlreadyExists",
	TooManyConfigurations:       "ConfigurationCountLimitExceeded",
	Unauthorized:                "GenericUnauthorized",
	UnauthorizedAccess:          "IotHubUnauthorizedAccess",
	TokenExpired:                "IotHubUnauthorized",
	SystemModuleModification:    "SystemModuleModifyUnauthorizedAccess",
	Forbidden:                   "GenericForbidden",
	QuotaExceeded:               "IotHubQuotaExceeded",
	QueueFull:                   "DeviceMaximumQueueDepthExceeded",
	InvalidMessageExpiry:        "InvalidMessageExpiryTime",
	TooManyCalls:                "DeviceMaximumInflightMethodExceeded",
	NotFound:                    "GenericNotFound",
	DeviceNotFound:              "DeviceNotFound",
	JobNotFound:                 "JobNotFound",
	ModuleNotFound:              "ModuleNotFound",
	DeviceNotOnline:             "DeviceNotOnline",
	DeviceGone:                  "DeviceConnectionClosedRemotely",
	EnrollmentNotFound:          "EnrollmentNotFound",
	RegistrationNotFound:        "DeviceRegistrationNotFound",
	OperationNotFound:           "AsyncOperationNotFound",
	GroupNotFound:               "EnrollmentGroupNotFound",
	HubNotFound:                 "IotHubNotFound",
	MethodNotAllowed:            "GenericMethodNotAllowed",
	OperationNotAllowed:         "OperationNotAllowedInCurrentState",
	Conflict:                    "GenericConflict",
	DeviceAlreadyExists:         "DeviceAlreadyExists",
	JobAlreadyExists:            "JobAlreadyExists",
	EnrollmentConflict:          "EnrollmentConflict",
	RegistrationConflict:        "RegistrationConflict",
	PreconditionFailed:          "PreconditionFailed",
	MessageLockLost:             "DeviceMessageLockLost",
	CredentialOperationActive:   "CredentialOperationActive",
	ModuleAlreadyExists:         "ModuleAlreadyExistsOnDevice",
	MessageTooLarge:             "MessageTooLarge",
	TooManyModules:              "TooManyModulesOnDevice",
	UnsupportedMediaType:        "UnsupportedMediaType",
	Throttled:                   "ThrottlingException",
	TooManyActiveJobs:           "ThrottlingMaxActiveJobCountExceeded",
	Internal:                    "ServerError",
	JobCancelled:                "JobCancelled",
	BadGateway:                  "GenericBadGateway",
	Unavailable:                 "ServiceUnavailable",
	GatewayTimeout:              "GatewayTimeout",
	DigitalTwinJSONPatchInvalid: "InvalidDigitalTwinJsonPatch",
	DigitalTwinPayloadInvalid:   "InvalidDigitalTwinPayload",
	DigitalTwinPatchInvalid:     "InvalidDigitalTwinPatch",
	DigitalTwinPatchPathInvalid: "InvalidDigitalTwinPatchPath",
	ConnectionRejected:          "ConnectionRejectedOnFaultInjection",
	InvalidContainer:            "BlobContainerValidationError",
	JobQuotaExceeded:            "JobQuotaExceeded",
}

// Status returns the HTTP status that belongs to the code.
func (c Code) Status() int { return int(c) / 1000 }

// Name returns Azure's name of the code, as the hub's REST API shows it.
func (c Code) Name() string {
	if name, ok := names[c]; ok {
		return name
	}
	return fmt.Sprintf("Error%d", int(c))
}

// Error lets a bare Code be the target of errors.Is.
func (c Code) Error() string { return fmt.Sprintf("%d %s", int(c), c.Name()) }

// Codes returns every code that Berth answers with, for documentation and tests.
func Codes() []Code {
	codes := make([]Code, 0, len(names))
	for code := range names {
		codes = append(codes, code)
	}
	return codes
}
