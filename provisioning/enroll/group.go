package enroll

import (
	"slices"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/credential"
)

// Group is an enrollment of all devices that one authority signed, or
// that have a key derived from one. It is written in the JSON of the provisioning
// service's REST API (EnrollmentGroup).
type Group struct {
	EnrollmentGroupID string `json:"enrollmentGroupId"`
	Settings

	// ReplaceExistingDevices is Berth's own: the group's devices may take hub identities
	// from devices of other enrollments, and from those made by hand. When it is left
	// out, what was stored stays, so that clients which don't know it don't change it;
	// what is read shows it when it is true.
	ReplaceExistingDevices *bool `json:"replaceExistingDevices,omitempty"`
}

// Replaces reports whether the group's devices may replace existing ones.
func (g Group) Replaces() bool {
	return g.ReplaceExistingDevices != nil && *g.ReplaceExistingDevices
}

// Member is the group as the individual enrollment of one of its devices.
func (g Group) Member(registrationID string) Enrollment {
	member := Enrollment{RegistrationID: registrationID, Settings: g.Settings}
	member.Hubs, member.Attestation = slices.Clone(g.Hubs), AttestationMechanism{Type: g.Attestation.Type}
	return member
}

// WithCertificate is Member for a device with this certificate.
func (g Group) WithCertificate(registrationID string, certificate *credential.X509CertificateInfo) Enrollment {
	member := g.Member(registrationID)
	own := &X509Certificates{Primary: &X509Certificate{Info: certificate}}
	member.Attestation.X509 = &X509Attestation{ClientCertificates: own}
	return member
}

// WithKeys is Member for a device with keys derived from the group's.
func (g Group) WithKeys(registrationID string) Enrollment {
	member := g.Member(registrationID)
	keys := g.Attestation.SymmetricKey
	member.Attestation.SymmetricKey = &SymmetricKeyAttestation{
		PrimaryKey:   attest.DeriveKey(keys.PrimaryKey, registrationID),
		SecondaryKey: attest.DeriveKey(keys.SecondaryKey, registrationID)}
	return member
}
