package enroll

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
)

// KeySize is that of keys that the service makes, in bytes.
const KeySize = 64

// clone returns a copy that can be completed without changing the original.
func (m AttestationMechanism) clone() AttestationMechanism {
	if m.X509 != nil {
		own := X509Attestation{ClientCertificates: m.X509.ClientCertificates.clone(),
			SigningCertificates: m.X509.SigningCertificates.clone()}
		if m.X509.CAReferences != nil {
			references := *m.X509.CAReferences
			own.CAReferences = &references
		}
		m.X509 = &own
	}
	if m.SymmetricKey != nil {
		keys := *m.SymmetricKey
		m.SymmetricKey = &keys
	}
	if m.TPM != nil {
		keys := *m.TPM
		m.TPM = &keys
	}
	return m
}

func (c *X509Certificates) clone() *X509Certificates {
	if c == nil {
		return nil
	}
	own := *c
	for _, certificate := range []**X509Certificate{&own.Primary, &own.Secondary} {
		if *certificate != nil {
			copied := **certificate
			*certificate = &copied
		}
	}
	return &own
}

// isSet reports whether there is a certificate, and not only what was read of one.
func (c *X509Certificates) isSet() bool {
	whole := func(c *X509Certificate) bool { return c != nil && c.Certificate != "" }
	return c != nil && (whole(c.Primary) || whole(c.Secondary))
}

// isSet reports whether an authority is named.
func (r *X509CAReferences) isSet() bool { return r != nil && (r.Primary != "" || r.Secondary != "") }

// completeAttestation checks the mechanism of an individual enrollment and fills
// in what its writer may leave out. before is the one that it replaces.
func completeAttestation(mechanism *AttestationMechanism, before AttestationMechanism) error {
	if err := checkType(&mechanism.Type); err != nil {
		return err
	}
	switch mechanism.Type {
	case SymmetricKey:
		mechanism.X509, mechanism.TPM = nil, nil
		return completeKeys(mechanism, before)
	case TPM:
		mechanism.X509, mechanism.SymmetricKey = nil, nil
		return checkTPM(mechanism.TPM)
	}
	mechanism.SymmetricKey, mechanism.TPM = nil, nil
	if mechanism.X509 == nil || mechanism.X509.ClientCertificates == nil {
		return fault.About("primary", fault.New(fault.ArgumentInvalid,
			"attestation.x509.clientCertificates is missing. An individual enrollment has the device's own "+
				"certificate there"))
	}
	if mechanism.X509.SigningCertificates.isSet() || mechanism.X509.CAReferences.isSet() {
		return fault.About("attestation", fault.New(fault.ArgumentInvalid,
			"attestation.x509 has signingCertificates or caReferences beside clientCertificates. "+
				"An individual enrollment has the device's own certificate alone"))
	}
	var earlier *X509Certificates
	if before.X509 != nil {
		earlier = before.X509.ClientCertificates
	}
	mechanism.X509.SigningCertificates, mechanism.X509.CAReferences = nil, nil
	return completeCertificates("clientCertificates", mechanism.X509.ClientCertificates, earlier)
}

// checkType checks the type of a mechanism, and writes it as the contract does.
func checkType(name *string) error {
	*name = Canonical(*name, X509, SymmetricKey, TPM)
	switch *name {
	case X509, SymmetricKey, TPM:
		return nil
	case "":
		return fault.About("attestation", fault.New(fault.ArgumentInvalid,
			"attestation.type is missing: it must be x509, symmetricKey or tpm"))
	}
	return fault.About("attestation", fault.New(fault.ArgumentInvalid,
		"attestation.type must be x509, symmetricKey or tpm, not %.64q", *name))
}

// completeKeys makes the keys that are left out. An enrollment that was read,
// changed and is written back has none, and keeps those that it had.
func completeKeys(mechanism *AttestationMechanism, before AttestationMechanism) error {
	if mechanism.SymmetricKey == nil {
		mechanism.SymmetricKey = new(SymmetricKeyAttestation)
	}
	var earlier SymmetricKeyAttestation
	if before.SymmetricKey != nil {
		earlier = *before.SymmetricKey
	}
	for _, part := range []struct {
		name    string
		word    fault.Word
		key     *string
		earlier string
	}{
		{"primary", fault.Word("primary key"), &mechanism.SymmetricKey.PrimaryKey, earlier.PrimaryKey},
		{"secondary", fault.Word("secondary key"), &mechanism.SymmetricKey.SecondaryKey, earlier.SecondaryKey},
	} {
		switch {
		case *part.key != "":
		case part.earlier != "":
			*part.key = part.earlier
		default:
			*part.key = credential.NewKey(KeySize)
		}
		if !credential.ValidKey(*part.key) {
			return fault.About(part.name, fault.New(fault.ArgumentInvalid,
				"The %s is not base64 of 16 to 64 bytes. Leave it out to have one made", part.word))
		}
	}
	return nil
}

// completeCertificate replaces a certificate by what it says: what comes out of
// the service is never the certificate. An enrollment that was read, changed
// and is written back carries only what it says; so does one that was exported
// elsewhere, of which the thumbprint is enough.
func completeCertificate(which string, certificate, before *X509Certificate) error {
	if certificate == nil {
		return nil
	}
	if certificate.Certificate == "" {
		if certificate.Info == nil {
			return nil
		}
		thumbprint := strings.ToUpper(certificate.Info.SHA256Thumbprint)
		if before != nil && before.Info != nil && before.Info.SHA256Thumbprint == thumbprint {
			certificate.Info = before.Info
			return nil
		}
		if digits, err := hex.DecodeString(thumbprint); err != nil || len(digits) != sha256.Size {
			return fault.New(fault.ArgumentInvalid,
				"The %s certificate is missing: without it, info must have its sha256Thumbprint of 64 "+
					"hexadecimal digits", fault.Word(which))
		}
		known := *certificate.Info
		known.SHA256Thumbprint, known.SHA1Thumbprint = thumbprint, strings.ToUpper(known.SHA1Thumbprint)
		certificate.Info = &known
		return nil
	}
	parsed, err := credential.ParseEnrollable([]byte(certificate.Certificate))
	if err != nil {
		return fault.New(fault.ArgumentInvalid, "The %s certificate is refused: %v", fault.Word(which), err)
	}
	if len(parsed) > 1 {
		return fault.New(fault.ArgumentInvalid,
			"The %s certificate is refused: this holds %d certificates. An individual enrollment takes the "+
				"device's own certificate alone, without its chain", fault.Word(which), len(parsed))
	}
	*certificate = X509Certificate{Info: credential.Describe(parsed[0])}
	return nil
}

// completeCertificates checks a primary and a secondary certificate. earlier are
// those that they replace, nil for none.
func completeCertificates(what string, certificates, earlier *X509Certificates) error {
	if earlier == nil {
		earlier = new(X509Certificates)
	}
	if err := completeCertificate("primary", certificates.Primary, earlier.Primary); err != nil {
		return fault.About("primary", err)
	}
	if certificates.Primary == nil || certificates.Primary.Info == nil {
		return fault.About("primary", fault.New(fault.ArgumentInvalid,
			"attestation.x509.%s.primary has no certificate", fault.Word(what)))
	}
	if err := completeCertificate("secondary", certificates.Secondary, earlier.Secondary); err != nil {
		return fault.About("secondary", err)
	}
	if certificates.Secondary != nil && certificates.Secondary.Info == nil {
		certificates.Secondary = nil
	}
	return nil
}

// checkTPM checks the attestation of an individual enrollment.
func checkTPM(attestation *TPMAttestation) error {
	if attestation == nil || attestation.EndorsementKey == "" {
		return fault.About("attestation", fault.New(fault.ArgumentInvalid,
			"attestation.tpm.endorsementKey is missing. It is the public endorsement key of the device's TPM, "+
				"base64 of a TPM2B_PUBLIC"))
	}
	if _, err := attest.ParseEndorsementKey(attestation.EndorsementKey); err != nil {
		return fault.About("attestation", fault.New(fault.ArgumentInvalid,
			"attestation.tpm.endorsementKey is refused: %v", err))
	}
	if attestation.StorageRootKey == "" {
		return nil
	}
	if _, err := attest.ParseTPMKey(attestation.StorageRootKey); err != nil {
		return fault.About("attestation", fault.New(fault.ArgumentInvalid,
			"attestation.tpm.storageRootKey is refused: %v", err))
	}
	return nil
}
