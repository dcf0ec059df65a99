package enroll

import (
	"encoding/base64"

	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// Admission is what the enrollment's device brings to its hub.
func (e Enrollment) Admission() linkedhub.Admission {
	admission := linkedhub.Admission{
		DeviceID:       e.HubDeviceID(),
		IoTEdge:        e.Capabilities != nil && e.Capabilities.IoTEdge,
		ParentDeviceID: e.ParentDeviceID,
		Twin:           e.InitialTwin,
	}
	if keys := e.Attestation.SymmetricKey; keys != nil {
		admission.PrimaryKey, admission.SecondaryKey = keys.PrimaryKey, keys.SecondaryKey
	} else {
		admission.PrimaryThumbprint, admission.SecondaryThumbprint = e.Thumbprints()
	}
	return admission
}

// HubDeviceID is the id that the device has in its hub.
func (e Enrollment) HubDeviceID() string {
	if e.DeviceID != "" {
		return e.DeviceID
	}
	return e.RegistrationID
}

// Thumbprints returns the SHA-256 thumbprints of the enrolled certificates;
// secondary is "" when there is none.
func (e Enrollment) Thumbprints() (primary, secondary string) {
	certificates := e.Attestation.X509.ClientCertificates
	primary = certificates.Primary.Info.SHA256Thumbprint
	if certificates.Secondary != nil {
		secondary = certificates.Secondary.Info.SHA256Thumbprint
	}
	return primary, secondary
}

// WithoutKeys leaves out the keys, as what is read shows it.
func (m AttestationMechanism) WithoutKeys() AttestationMechanism {
	switch {
	case m.Type == TPM:
		m.SymmetricKey = nil // see WithHubKeys
	case m.SymmetricKey != nil:
		m.SymmetricKey = &SymmetricKeyAttestation{}
	}
	return m
}

// WithHubKeys is the enrollment as one whose device has these keys in its hub.
func (e Enrollment) WithHubKeys(primary, secondary []byte) Enrollment {
	e.Attestation.SymmetricKey = &SymmetricKeyAttestation{
		PrimaryKey:   base64.StdEncoding.EncodeToString(primary),
		SecondaryKey: base64.StdEncoding.EncodeToString(secondary)}
	return e
}
