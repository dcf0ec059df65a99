package provisioning

import (
	"slices"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/provisioning/attest"
)

// EnrollmentGroup is an enrollment of all devices that one authority signed, or
// that have a key derived from one. It is written in the JSON of the provisioning
// service's REST API (EnrollmentGroup).
type EnrollmentGroup struct {
	EnrollmentGroupID string `json:"enrollmentGroupId"`
	EnrollmentSettings

	// ReplaceExistingDevices is Berth's own: the group's devices may take hub identities
	// from devices of other enrollments, and from those made by hand. When it is left
	// out, what was stored stays, so that clients which don't know it don't change it;
	// what is read shows it when it is true.
	ReplaceExistingDevices *bool `json:"replaceExistingDevices,omitempty"`
}

// replaces reports whether the group's devices may replace existing ones.
func (g EnrollmentGroup) replaces() bool {
	return g.ReplaceExistingDevices != nil && *g.ReplaceExistingDevices
}

// member is the group as the individual enrollment of one of its devices.
func (g EnrollmentGroup) member(registrationID string) Enrollment {
	member := Enrollment{RegistrationID: registrationID, EnrollmentSettings: g.EnrollmentSettings}
	member.Hubs, member.Attestation = slices.Clone(g.Hubs), AttestationMechanism{Type: g.Attestation.Type}
	return member
}

// withCertificate is member for a device with this certificate.
func (g EnrollmentGroup) withCertificate(registrationID string, certificate *credential.X509CertificateInfo) Enrollment {
	member := g.member(registrationID)
	member.Attestation.X509 = &X509Attestation{ClientCertificates: &X509Certificates{Primary: &X509Certificate{Info: certificate}}}
	return member
}

// withKeys is member for a device with keys derived from the group's.
func (g EnrollmentGroup) withKeys(registrationID string) Enrollment {
	member := g.member(registrationID)
	keys := g.Attestation.SymmetricKey
	member.Attestation.SymmetricKey = &SymmetricKeyAttestation{
		PrimaryKey: attest.DeriveKey(keys.PrimaryKey, registrationID), SecondaryKey: attest.DeriveKey(keys.SecondaryKey, registrationID)}
	return member
}

// withoutKeys leaves out the keys, as what is read shows it.
func (m AttestationMechanism) withoutKeys() AttestationMechanism {
	switch {
	case m.Type == byTPM:
		m.SymmetricKey = nil // see withHubKeys
	case m.SymmetricKey != nil:
		m.SymmetricKey = &SymmetricKeyAttestation{}
	}
	return m
}
