package identity

import (
	"errors"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/store"
)

// What there is in fields of a Device.
const (
	Enabled      = "enabled"
	Disabled     = "disabled"
	Connected    = "Connected"
	Disconnected = "Disconnected"
)

// Device is a device identity in the hub's registry, in the JSON of the IoT Hub
// service REST API (PyPI azure-iot-hub, model Device).
type Device struct {
	DeviceID          string        `json:"deviceId"`
	GenerationID      string        `json:"generationId"`
	ETag              string        `json:"etag"`
	Status            string        `json:"status"` // enabled or disabled
	StatusReason      *string       `json:"statusReason"`
	StatusUpdatedTime document.Time `json:"statusUpdatedTime"` // zero is 0001-01-01T00:00:00Z
	State
	Authentication *Authentication `json:"authentication"`
	Capabilities   Capabilities    `json:"capabilities"`
	DeviceScope    string          `json:"deviceScope,omitempty"`
	ParentScopes   []string        `json:"parentScopes,omitzero"` // [] takes the parent away
	// Berth's own, read only: of a device with operational certificates
	Issuance *Issuance `json:"certificateIssuance,omitempty"`
}

// State is what a hub knows of a device or module beside its identity. It is no part of
// what the registry keeps, which leaves it zero.
type State struct {
	ConnectionState            string        `json:"connectionState"` // Connected or Disconnected
	ConnectionStateUpdatedTime document.Time `json:"connectionStateUpdatedTime"`
	LastActivityTime           document.Time `json:"lastActivityTime"`
	CloudToDeviceMessageCount  int           `json:"cloudToDeviceMessageCount"`
}

// Authentication says how a device or module proves itself to the hub.
type Authentication struct {
	Type           AuthenticationType `json:"type"`
	SymmetricKey   KeyPair            `json:"symmetricKey"`
	X509Thumbprint ThumbprintPair     `json:"x509Thumbprint"`
}

// Issuance is how a device comes by its operational certificates.
type Issuance struct {
	RegistrationID string `json:"registrationId"` // they are issued to
	Policy         string `json:"credentialPolicyName"`
}

// AuthenticationType is one of the hub's ways to authenticate a device.
type AuthenticationType string

// The ways in which a device can prove itself.
const (
	SAS                  AuthenticationType = "sas"
	SelfSigned           AuthenticationType = "selfSigned" // X.509 by thumbprint
	CertificateAuthority AuthenticationType = "certificateAuthority"
	NoAuthentication     AuthenticationType = "none"
)

// KeyPair holds two keys, base64 of 16 to 64 bytes.
type KeyPair struct {
	PrimaryKey   *string `json:"primaryKey"`
	SecondaryKey *string `json:"secondaryKey"`
}

// ThumbprintPair holds two certificate thumbprints: SHA-1 or SHA-256 in
// hexadecimal, upper case.
type ThumbprintPair struct {
	PrimaryThumbprint   *string `json:"primaryThumbprint"`
	SecondaryThumbprint *string `json:"secondaryThumbprint"`
}

// Capabilities of a device.
type Capabilities struct {
	IoTEdge bool `json:"iotEdge"`
}

// What is read from the store is held against what the code relies on, so that a
// damaged record is one that can't be read, and nothing worse.
var _ store.Checkable = (*Device)(nil)

// Intact implements store.Checkable.
func (d *Device) Intact() error {
	switch {
	case CheckDeviceID(d.DeviceID) != nil:
		return errors.New("it has no device id")
	case d.Status != Enabled && d.Status != Disabled:
		return errors.New("it is neither enabled nor disabled")
	case d.Authentication == nil:
		return errors.New("it has no authentication")
	}
	return nil
}
