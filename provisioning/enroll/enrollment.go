package enroll

import (
	"encoding/json"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// Enrollment is an individual enrollment: one device that may come in. It is
// written in the JSON of the provisioning service's REST API
// (IndividualEnrollment).
type Enrollment struct {
	RegistrationID string `json:"registrationId"`
	// the registration id when empty
	DeviceID                  string                 `json:"deviceId,omitempty"`
	RegistrationState         *contract.Registration `json:"registrationState,omitempty"` // read only
	OptionalDeviceInformation json.RawMessage        `json:"optionalDeviceInformation,omitempty"`
	Settings
}

// Settings are what an individual enrollment and a group have in common: how
// devices prove themselves, where they go, and what they begin with.
type Settings struct {
	Attestation  AttestationMechanism `json:"attestation"`
	Capabilities *Capabilities        `json:"capabilities,omitempty"`
	// the hub it is bound to, with static allocation
	HubHostName            string                 `json:"iotHubHostName,omitempty"`
	InitialTwin            *linkedhub.InitialTwin `json:"initialTwin,omitempty"`
	ETag                   string                 `json:"etag,omitempty"` // with its quotes: "\"…\""
	ProvisioningStatus     ProvisioningStatus     `json:"provisioningStatus,omitempty"`
	ReprovisionPolicy      *ReprovisionPolicy     `json:"reprovisionPolicy,omitempty"`
	CreatedDateTimeUTC     document.Time          `json:"createdDateTimeUtc,omitzero"`
	LastUpdatedDateTimeUTC document.Time          `json:"lastUpdatedDateTimeUtc,omitzero"`
	AllocationPolicy       allocation.Policy      `json:"allocationPolicy,omitempty"`
	// host names to choose from; all linked hubs when empty
	Hubs []string `json:"iotHubs,omitempty"`

	CustomAllocationDefinition *allocation.CustomDefinition `json:"customAllocationDefinition,omitempty"`

	// of the operational certificates that the device gets; "" for none
	CredentialPolicyName string `json:"credentialPolicyName,omitempty"`
	// Berth's own: the IoT Edge device, in the same hub, that it is a child of
	ParentDeviceID string `json:"parentDeviceId,omitempty"`
}

// ProvisioningStatus says whether devices may register under an enrollment.
type ProvisioningStatus string

const (
	Enabled  ProvisioningStatus = "enabled"
	Disabled ProvisioningStatus = "disabled"
)

// ReprovisionPolicy is what happens when a device that has a hub registers
// again.
type ReprovisionPolicy struct {
	UpdateHubAssignment bool `json:"updateHubAssignment"`
	MigrateDeviceData   bool `json:"migrateDeviceData"`
}

// ReprovisionPolicies are the policies by the names that people give them.
var ReprovisionPolicies = map[string]ReprovisionPolicy{
	"migrate": {UpdateHubAssignment: true, MigrateDeviceData: true},
	"reset":   {UpdateHubAssignment: true},
	"never":   {},
}

// Name is what people call the policy: migrate, reset or never.
func (p ReprovisionPolicy) Name() string {
	switch {
	case !p.UpdateHubAssignment:
		return "never"
	case p.MigrateDeviceData:
		return "migrate"
	}
	return "reset"
}

// Capabilities of the device in its hub.
type Capabilities struct {
	IoTEdge bool `json:"iotEdge"`
}

// AttestationMechanism says how a device proves that it is the enrolled one.
type AttestationMechanism struct {
	Type         string                   `json:"type"` // x509, symmetricKey or tpm
	X509         *X509Attestation         `json:"x509,omitempty"`
	SymmetricKey *SymmetricKeyAttestation `json:"symmetricKey,omitempty"`
	TPM          *TPMAttestation          `json:"tpm,omitempty"` // of an individual enrollment
}

// The types of attestation mechanisms.
const (
	X509         = "x509"
	SymmetricKey = "symmetricKey"
	TPM          = "tpm"
)

// TPMAttestation holds what is known of a device's TPM: the public areas of its
// keys, base64 of a TPM2B_PUBLIC.
type TPMAttestation struct {
	EndorsementKey string `json:"endorsementKey"`           // RSA of 2048 bits or more, or EC
	StorageRootKey string `json:"storageRootKey,omitempty"` // if it is given, the device must show the same
}

// SymmetricKeyAttestation holds the keys of an enrollment, base64 of 16 to 64
// bytes; of a group, those from which its devices' keys are derived. Keys that
// are left out are made. Only AttestationMechanism and what answers a write show
// them.
type SymmetricKeyAttestation struct {
	PrimaryKey   string `json:"primaryKey,omitempty"`
	SecondaryKey string `json:"secondaryKey,omitempty"`
}

// X509Attestation holds the certificates of an enrollment.
type X509Attestation struct {
	ClientCertificates  *X509Certificates `json:"clientCertificates,omitempty"`  // of an individual enrollment
	SigningCertificates *X509Certificates `json:"signingCertificates,omitempty"` // of a group
	// of a group, in place of signing certificates
	CAReferences *X509CAReferences `json:"caReferences,omitempty"`
}

// X509CAReferences names certificate authorities of the service.
type X509CAReferences struct {
	Primary   string `json:"primary,omitempty"`
	Secondary string `json:"secondary,omitempty"`
}

// X509Certificates is a primary certificate and one to roll over to.
type X509Certificates struct {
	Primary   *X509Certificate `json:"primary,omitempty"`
	Secondary *X509Certificate `json:"secondary,omitempty"`
}

// X509Certificate is a certificate on its way in (Certificate: PEM, or base64
// of PEM or DER) and what it says on its way out (Info).
type X509Certificate struct {
	Certificate string                          `json:"certificate,omitempty"`
	Info        *credential.X509CertificateInfo `json:"info,omitempty"`
}

// Allocation is what the settings say of how a hub is chosen.
func (e Settings) Allocation() allocation.Settings {
	return allocation.Settings{Policy: e.AllocationPolicy, HubHostName: e.HubHostName, Hubs: e.Hubs,
		Custom: e.CustomAllocationDefinition}
}
