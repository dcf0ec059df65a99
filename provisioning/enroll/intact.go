package enroll

import (
	"errors"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/store"
)

// What is read from the store is held against what the code relies on, so that a
// damaged record is one that can't be read, and nothing worse.
var (
	_ store.Checkable = (*Enrollment)(nil)
	_ store.Checkable = (*StoredGroup)(nil)
)

// Intact implements store.Checkable.
func (e *Enrollment) Intact() error {
	if CheckRegistrationID(e.RegistrationID) != nil {
		return errors.New("it has no registration id")
	}
	if err := e.Attestation.intact(); err != nil {
		return err
	}
	if err := intactSettings(e.ProvisioningStatus, e.ReprovisionPolicy); err != nil {
		return err
	}
	return errors.Join(document.CheckFreeDepth("optionalDeviceInformation", e.OptionalDeviceInformation),
		e.InitialTwin.Intact())
}

// Intact implements store.Checkable.
func (g *StoredGroup) Intact() error {
	if checkGroupID(g.EnrollmentGroupID) != nil {
		return errors.New("it has no enrollment group id")
	}
	switch g.Attestation.Type {
	case SymmetricKey:
		if g.Attestation.SymmetricKey == nil {
			return errors.New("it has no key")
		}
	case X509:
		if g.Attestation.X509 == nil || len(g.Signing[0]) == 0 {
			return errors.New("it has no signing certificate")
		}
		if signing := g.Attestation.X509.SigningCertificates; signing != nil {
			if err := signing.intact(); err != nil {
				return err
			}
		}
	default:
		return errors.New("it has no attestation of a known type")
	}
	if err := intactSettings(g.ProvisioningStatus, g.ReprovisionPolicy); err != nil {
		return err
	}
	return g.InitialTwin.Intact()
}

func (m AttestationMechanism) intact() error {
	switch {
	case m.Type == SymmetricKey && m.SymmetricKey != nil, m.Type == TPM && m.TPM != nil:
		return nil
	case m.Type == X509 && m.X509 != nil && m.X509.ClientCertificates != nil:
		return m.X509.ClientCertificates.intact()
	}
	return errors.New("it has no attestation of a known type")
}

func (c *X509Certificates) intact() error {
	if c.Primary == nil || c.Primary.Info == nil || c.Secondary != nil && c.Secondary.Info == nil {
		return errors.New("it has no information of a certificate")
	}
	return nil
}

func intactSettings(status ProvisioningStatus, policy *ReprovisionPolicy) error {
	switch {
	case status != Enabled && status != Disabled:
		return errors.New("it is neither enabled nor disabled")
	case policy == nil:
		return errors.New("it has no reprovision policy")
	}
	return nil
}
