package contract

import (
	"encoding/json"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/document"
)

// RegistrationRequest is what a device sends when it registers (Azure, DPS data plane,
// DeviceRegistration).
type RegistrationRequest struct {
	RegistrationID string          `json:"registrationId"`
	TPM            *TPMKeys        `json:"tpm,omitempty"`     // of a device that proves itself by its TPM
	Payload        json.RawMessage `json:"payload,omitempty"` // for custom allocation
	CSR            []byte          `json:"csr,omitempty"`     // PKCS #10 in DER, for an operational certificate
}

// TPMKeys are the public areas of a TPM's keys, base64 of a TPM2B_PUBLIC each.
type TPMKeys struct {
	EndorsementKey string `json:"endorsementKey"`
	StorageRootKey string `json:"storageRootKey"`
}

// Operation is the state of a registration's assignment (the REST API's
// RegistrationOperationStatus).
type Operation struct {
	OperationID       string              `json:"operationId"`
	Status            RegistrationStatus  `json:"status"`
	RegistrationState *DeviceRegistration `json:"registrationState,omitempty"` // once it is finished

	// RetryAfter is when to ask again, zero once it is finished. It is not in the body:
	// it is the header Retry-After, and over MQTT the parameter retry-after.
	RetryAfter time.Duration `json:"-"`
}

// DeviceRegistration is a registration as its device is told of it.
type DeviceRegistration struct {
	Registration
	X509         *X509Result         `json:"x509,omitempty"`
	SymmetricKey *SymmetricKeyResult `json:"symmetricKey,omitempty"`
	TPM          *TPMResult          `json:"tpm,omitempty"`

	// Base64 of DER, the device's own first and the root last
	IssuedCertificateChain []string `json:"issuedCertificateChain,omitempty"`
}

// Registration is the registration record of a device: where it was assigned.
type Registration struct {
	RegistrationID         string             `json:"registrationId"`
	CreatedDateTimeUTC     document.Time      `json:"createdDateTimeUtc"`
	AssignedHub            string             `json:"assignedHub,omitempty"`
	DeviceID               string             `json:"deviceId,omitempty"`
	Status                 RegistrationStatus `json:"status"`
	Substatus              Substatus          `json:"substatus,omitempty"`
	ErrorCode              int                `json:"errorCode,omitempty"`
	ErrorMessage           string             `json:"errorMessage,omitempty"`
	LastUpdatedDateTimeUTC document.Time      `json:"lastUpdatedDateTimeUtc"`
	ETag                   string             `json:"etag,omitempty"`
	Payload                json.RawMessage    `json:"payload,omitempty"`
}

// RegistrationStatus is how far a registration has come.
type RegistrationStatus string

// The statuses of a registration.
const (
	StatusUnassigned RegistrationStatus = "unassigned"
	StatusAssigning  RegistrationStatus = "assigning"
	StatusAssigned   RegistrationStatus = "assigned"
	StatusFailed     RegistrationStatus = "failed"
	StatusDisabled   RegistrationStatus = "disabled"
)

// Substatus says how an assigned device came to its hub.
type Substatus string

// The ways to a hub.
const (
	InitialAssignment                Substatus = "initialAssignment"
	DeviceDataMigrated               Substatus = "deviceDataMigrated"
	DeviceDataReset                  Substatus = "deviceDataReset"
	ReprovisionedToInitialAssignment Substatus = "reprovisionedToInitialAssignment"
)

// SymmetricKeyResult is what the device was attested with.
type SymmetricKeyResult struct {
	EnrollmentGroupID string `json:"enrollmentGroupId,omitempty"`
}

// X509Result is what the device was attested with.
type X509Result struct {
	CertificateInfo        *credential.X509CertificateInfo `json:"certificateInfo,omitempty"`
	SigningCertificateInfo *credential.X509CertificateInfo `json:"signingCertificateInfo,omitempty"`
	EnrollmentGroupID      string                          `json:"enrollmentGroupId,omitempty"`
}

// TPMResult is how a device with a TPM gets the key of its hub.
type TPMResult struct {
	AuthenticationKey []byte `json:"authenticationKey"` // as attest.Activation makes it
}
