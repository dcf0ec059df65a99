package provisioningpages

import (
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// The mechanisms that the forms offer, in the words of the REST API.
const (
	byX509         = "x509"
	bySymmetricKey = "symmetricKey"
	byTPM          = "tpm" // of individual enrollments
)

// attestation is the part of a form that says how devices prove themselves. The
// mechanism decides which of its fields count.
type attestation struct {
	Group       bool // of an enrollment group
	Mechanism   string
	Primary     certificateField
	Secondary   certificateField
	NoSecondary bool                     // the present secondary certificate is to go
	Authorities []string                 // of the service, which the group names in place of certificates
	Keys        [2]keyField              // primary and secondary
	HasKeys     bool                     // there are keys, which stay where none is typed
	StoredKeys  *keys                    // when they are asked for
	TPM         [2]keyField              // endorsement key and storage root key, base64
	Authority   string                   // the verified authority that a group names, chosen in the form
	Next        string                   // another one, to roll over to
	nextTyped   bool                     // the form brought that, be it none
	Choices     []string                 // the verified authorities that there are
	references  *enroll.X509CAReferences // what Authorities come from
}

// keys are a primary and a secondary key, base64.
type keys struct{ Primary, Secondary string }

// keysOf are the keys of a mechanism.
func keysOf(mechanism enroll.AttestationMechanism, err error) (*keys, error) {
	if err != nil || mechanism.SymmetricKey == nil { // it may have changed meanwhile
		return nil, err
	}
	return &keys{mechanism.SymmetricKey.PrimaryKey, mechanism.SymmetricKey.SecondaryKey}, nil
}

// certificateField is one of the two certificates of the form.
type certificateField struct {
	Name     string // primary or secondary
	Group    bool   // it signs the devices' certificates
	Text     string // as typed; a private key never comes back
	Report   *enroll.CertificateReport
	Problem  *fault.Error
	Enrolled *credential.X509CertificateInfo // what is stored now
}

// keyField is one of the two symmetric keys of the form.
type keyField struct {
	Name string // primaryKey or secondaryKey
	Text string // as typed
}

// readAttestation takes what was typed.
func (p *Pages) readAttestation(c *web.Call, group bool) attestation {
	a := attestation{
		Group: group, Mechanism: c.Value("mechanism"),
		Primary: p.readCertificate(c, "primary", group), Secondary: p.readCertificate(c, "secondary", group),
		NoSecondary: c.Value("removeSecondary") != "",
		Keys:        [2]keyField{{Text: c.Text("primaryKey")}, {Text: c.Text("secondaryKey")}},
		TPM:         [2]keyField{{Text: c.Value("endorsementKey")}, {Text: c.Value("storageRootKey")}},
		Authority:   c.Value("authority"),
		Next:        c.Value("authoritySecondary"), nextTyped: c.Form().Has("authoritySecondary"),
	}
	if a.Mechanism == "" {
		a.Mechanism = byX509
	}
	return a
}

// readCertificate reads a certificate that the form brings.
func (p *Pages) readCertificate(c *web.Call, which string, group bool) certificateField {
	f := certificateField{Name: which, Group: group, Text: c.Text(which)}
	if name, ok := c.Oversized(which); ok {
		f.Problem = fault.New(fault.ArgumentInvalid,
			"The file %.100q is larger than %d bytes, so it is not a certificate. "+
				"Choose the device's .pem or .cer file", name, web.MaxFile)
		f.Text = ""
		return f
	}
	if f.Text == "" {
		return f
	}
	report, err := enroll.Inspect([]byte(f.Text), c.Now())
	if err != nil {
		f.Problem = fault.From(err)
		if f.Problem.Info["reason"] == "privateKey" || credential.HoldsPrivateKey([]byte(f.Text)) {
			f.Text = ""
		}
		return f
	}
	f.Report, f.Text = &report, report.PEM
	return f
}

// ofDevices are the warnings about a certificate that are of a device's own, and
// say nothing of one that signs devices.
var ofDevices = map[string]bool{
	"certificateAuthority":        true,
	"noCommonName":                true,
	"commonNameNotRegistrationID": true,
	"notClientAuth":               true,
}

// Warnings are what may keep devices out that come with the certificate.
func (f certificateField) Warnings() (found []enroll.Warning) {
	for _, warning := range f.Report.Warnings {
		if !f.Group || !ofDevices[warning.Code] {
			found = append(found, warning)
		}
	}
	return found
}

// certificate is the field as it is to be stored.
func (f certificateField) certificate() *enroll.X509Certificate {
	switch {
	case f.Text != "":
		return &enroll.X509Certificate{Certificate: f.Text}
	case f.Enrolled != nil:
		return &enroll.X509Certificate{Info: f.Enrolled}
	}
	return nil
}

// describe is a certificate as what it says.
func describe(certificate *enroll.X509Certificate) *enroll.X509Certificate {
	if certificate == nil || certificate.Certificate == "" {
		return certificate
	}
	report, err := enroll.Inspect([]byte(certificate.Certificate), time.Time{}) // its warnings are not asked for
	if err != nil {
		return certificate
	}
	return &enroll.X509Certificate{Info: &report.Info}
}

// certificates is where a mechanism of a group, or of an individual enrollment, has its
// certificates.
func certificates(x *enroll.X509Attestation, group bool) **enroll.X509Certificates {
	if group {
		return &x.SigningCertificates
	}
	return &x.ClientCertificates
}

// setStored notes the certificates and keys that there are.
func (a *attestation) setStored(stored *enroll.Settings) {
	a.HasKeys = stored.Attestation.Type == bySymmetricKey
	if tpm := stored.Attestation.TPM; tpm != nil && a.TPM[0].Text == "" {
		a.TPM[0].Text, a.TPM[1].Text = tpm.EndorsementKey, tpm.StorageRootKey
	}
	x := stored.Attestation.X509
	if x == nil {
		return
	}
	if a.references = x.CAReferences; a.references != nil {
		for _, name := range []string{a.references.Primary, a.references.Secondary} {
			if name != "" {
				a.Authorities = append(a.Authorities, name)
			}
		}
		if a.Authority == "" {
			a.Authority = a.references.Primary
		}
		if !a.nextTyped {
			a.Next = a.references.Secondary
		}
	}
	there := *certificates(x, a.Group)
	if there == nil {
		return
	}
	if there.Primary != nil {
		a.Primary.Enrolled = there.Primary.Info
	}
	if there.Secondary != nil {
		a.Secondary.Enrolled = there.Secondary.Info
	}
}

// check notes what is wrong with the fields that count.
func (a *attestation) check(found problems) {
	if a.Mechanism != byX509 {
		return
	}
	if a.Primary.certificate() == nil && a.Primary.Problem == nil && !a.keepsAuthorities() && a.Authority == "" {
		a.Primary.Problem = fault.New(fault.ArgumentInvalid,
			"The device's certificate is missing: choose its .pem or .cer file")
		if a.Group {
			a.Primary.Problem = fault.New(fault.ArgumentInvalid,
				"The certificate that signs the devices' is missing: choose its .pem or .cer file")
		}
	}
	if a.Group && a.Authority != "" && a.Primary.Text == "" && a.Secondary.Text != "" && a.Secondary.Problem == nil {
		a.Secondary.Problem = fault.New(fault.ArgumentInvalid,
			"A certificate authority was chosen above, and beside it counts another authority, not a certificate")
	}
	for _, field := range []certificateField{a.Primary, a.Secondary} {
		if field.Problem != nil {
			found[field.Name] = field.Problem
		}
	}
}

// keepsAuthorities reports whether the group goes on naming authorities of the
// service, as no certificate is given in their place.
func (a *attestation) keepsAuthorities() bool {
	return a.references != nil && a.Primary.Text == "" && a.Secondary.Text == ""
}

// apply puts the mechanism into what is to be stored.
func (a *attestation) apply(wanted *enroll.Settings) {
	if a.Mechanism == byTPM {
		wanted.Attestation = enroll.AttestationMechanism{
			Type: byTPM,
			TPM:  &enroll.TPMAttestation{EndorsementKey: a.TPM[0].Text, StorageRootKey: a.TPM[1].Text},
		}
		return
	}
	if a.Mechanism != byX509 { // the service says whether it knows it
		wanted.Attestation = enroll.AttestationMechanism{
			Type: a.Mechanism,
			SymmetricKey: &enroll.SymmetricKeyAttestation{
				PrimaryKey: a.Keys[0].Text, SecondaryKey: a.Keys[1].Text},
		}
		return
	}
	x := new(enroll.X509Attestation)
	wanted.Attestation = enroll.AttestationMechanism{Type: byX509, X509: x}
	switch {
	case a.Group && a.Authority != "" && a.Primary.Text == "":
		x.CAReferences = &enroll.X509CAReferences{Primary: a.Authority, Secondary: a.Next}
		return
	case a.keepsAuthorities() && !a.Group:
		x.CAReferences = a.references
		return
	}
	chosen := enroll.X509Certificates{Primary: a.Primary.certificate(), Secondary: a.Secondary.certificate()}
	if a.NoSecondary && a.Secondary.Text == "" {
		chosen.Secondary = nil
	}
	*certificates(x, a.Group) = &chosen
}

// nameFields gives the fields their names, and takes from them what must not come back.
func (a *attestation) nameFields() {
	a.Primary.Name, a.Secondary.Name = "primary", "secondary"
	a.Primary.Group, a.Secondary.Group = a.Group, a.Group
	a.Keys[0].Name, a.Keys[1].Name = "primaryKey", "secondaryKey"
	a.TPM[0].Name, a.TPM[1].Name = "endorsementKey", "storageRootKey"
	for i := range a.Keys {
		if credential.HoldsPrivateKey([]byte(a.Keys[i].Text)) {
			a.Keys[i].Text = ""
		}
	}
}
