package provisioning

import (
	"errors"
	"fmt"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/store"
)

// What is read from the store is held against what the code relies on, so that a
// damaged record is one that can't be read, and nothing worse.
var (
	_ store.Checkable = (*Enrollment)(nil)
	_ store.Checkable = (*storedGroup)(nil)
	_ store.Checkable = (*storedRegistration)(nil)
	_ store.Checkable = (*intent)(nil)
	_ store.Checkable = (*owner)(nil)
)

// Intact implements store.Checkable.
func (e *Enrollment) Intact() error {
	if checkRegistrationID(e.RegistrationID) != nil {
		return errors.New("it has no registration id")
	}
	if err := e.Attestation.intact(); err != nil {
		return err
	}
	if err := intactSettings(e.ProvisioningStatus, e.ReprovisionPolicy); err != nil {
		return err
	}
	return errors.Join(document.CheckFreeDepth("optionalDeviceInformation", e.OptionalDeviceInformation), e.InitialTwin.Intact())
}

// Intact implements store.Checkable.
func (g *storedGroup) Intact() error {
	if checkGroupID(g.EnrollmentGroupID) != nil {
		return errors.New("it has no enrollment group id")
	}
	switch g.Attestation.Type {
	case bySymmetricKey:
		if g.Attestation.SymmetricKey == nil {
			return errors.New("it has no key")
		}
	case byX509:
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
	case m.Type == bySymmetricKey && m.SymmetricKey != nil, m.Type == byTPM && m.TPM != nil:
		return nil
	case m.Type == byX509 && m.X509 != nil && m.X509.ClientCertificates != nil:
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

// Intact implements store.Checkable.
func (r *storedRegistration) Intact() error {
	if checkRegistrationID(r.RegistrationID) != nil {
		return errors.New("it has no registration id")
	}
	return document.CheckFreeDepth("payload", r.Payload)
}

// Intact implements store.Checkable.
func (i *intent) Intact() error {
	if checkRegistrationID(i.RegistrationID) != nil {
		return errors.New("it has no registration id")
	}
	if err := document.CheckDepth(i.Case, document.MaxDepth); err != nil {
		return fmt.Errorf("case: %w", err)
	}
	return document.CheckFreeDepth("payload", i.Payload)
}

// Intact implements store.Checkable.
func (o *owner) Intact() error {
	if o.RegistrationID == "" {
		return errors.New("it names no registration")
	}
	return nil
}
