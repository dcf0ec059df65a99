// Package snapshot keeps, with an attempt to register, all that its judgement depended
// on, so that it can be judged again elsewhere.
package snapshot

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/authority"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/store"
)

// Snapshot is all that a judgement of a device depends on, so that it can be made again
// elsewhere: what the device showed, and what was known of it. It holds no secret:
// of a token it says whose key signed it.
type Snapshot struct {
	Time           time.Time `json:"time"`
	ServiceIDScope string    `json:"serviceIdScope"`

	IDScope        string   `json:"idScope"` // that the device named
	RegistrationID string   `json:"registrationId"`
	Certificates   [][]byte `json:"certificates,omitempty"` // DER, as the device sent them
	Token          *Token   `json:"token,omitempty"`
	// such a snapshot can't be judged again: only the TPM and its service know the challenge
	TPM bool `json:"tpm,omitempty"`

	Enrollment *enroll.Enrollment   `json:"enrollment,omitempty"` // the device's own
	Groups     []enroll.StoredGroup `json:"groups,omitempty"`     // that the device may belong to
	// of the service, that they name or the chain leads over
	Authorities []Authority `json:"authorities,omitempty"`
}

// Token is what a device's token says.
type Token struct {
	Malformed bool      `json:"malformed,omitempty"`
	Resource  string    `json:"resource,omitempty"`
	KeyName   string    `json:"keyName,omitempty"`
	Expiry    time.Time `json:"expiry,omitzero"`
	// primary or secondary key, of the enrollment or of the one group there; "" for neither
	SignedBy string `json:"signedBy,omitempty"`
}

// Authority is a certificate authority of the service.
type Authority struct {
	Name        string `json:"name"`
	Certificate []byte `json:"certificate"` // DER
	Verified    bool   `json:"isVerified"`
}

// Config is what snapshots are taken of.
type Config struct {
	IDScope     string // of the service
	Documents   store.Documents
	Enrollments *enroll.Enrollments
	Groups      *enroll.Groups
	Authorities *authority.Authorities
	// Chain puts together what a device sent with the authorities that it leads over.
	Chain func(ctx context.Context, evidence attest.Evidence) (*attest.Chain, error)
	Now   func() time.Time
}

// Snapshots takes and restores the snapshots of a service.
type Snapshots struct{ config Config }

// New returns the snapshots of a service.
func New(config Config) *Snapshots { return &Snapshots{config} }

// FromChain is the snapshot of a chain against authorities that a person has at hand:
// each is the signing certificate of a group.
func FromChain(chain []*x509.Certificate, authorities []*x509.Certificate, registrationID string,
	now time.Time) *Snapshot {
	const scope = "0ne00000000"
	c := &Snapshot{Time: now, ServiceIDScope: scope, IDScope: scope, RegistrationID: registrationID}
	if c.RegistrationID == "" {
		c.RegistrationID = chain[0].Subject.CommonName
	}
	for _, certificate := range chain {
		c.Certificates = append(c.Certificates, certificate.Raw)
	}
	for i, authority := range authorities {
		attestation := enroll.AttestationMechanism{Type: enroll.X509, X509: &enroll.X509Attestation{}}
		settings := enroll.Settings{Attestation: attestation, ProvisioningStatus: enroll.Enabled,
			ReprovisionPolicy: &enroll.ReprovisionPolicy{}}
		c.Groups = append(c.Groups, enroll.StoredGroup{
			Group:   enroll.Group{EnrollmentGroupID: fmt.Sprintf("authority-%d", i+1), Settings: settings},
			Signing: [2][]byte{authority.Raw},
		})
	}
	return c
}
