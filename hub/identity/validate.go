package identity

import (
	"encoding/hex"
	"strings"
	"unicode/utf8"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
)

// CheckDeviceID holds an id against the rules of Azure's documentation
// (iot-hub-devguide-identity-registry): up to 128 characters of a part of ASCII,
// case-sensitive. It returns fault 400004.
func CheckDeviceID(id string) error {
	switch {
	case id == "":
		return fault.New(fault.ArgumentInvalid, "The device id is empty")
	case utf8.RuneCountInString(id) > 128:
		return fault.New(fault.ArgumentInvalid, "The device id has %d characters, the limit is 128",
			utf8.RuneCountInString(id))
	}
	if i := strings.IndexFunc(id, isForbidden); i >= 0 {
		c, _ := utf8.DecodeRuneInString(id[i:])
		return fault.New(fault.ArgumentInvalid,
			"The device id %.128q has the character %q. Letters, digits and %s are allowed", id, c, allowedMarks)
	}
	return nil
}

// CheckModuleID holds the id of a module against the same rules. It returns fault 400004.
func CheckModuleID(id string) error {
	switch {
	case id == "":
		return fault.New(fault.ArgumentInvalid, "The module id is empty")
	case utf8.RuneCountInString(id) > 128:
		return fault.New(fault.ArgumentInvalid, "The module id has %d characters, the limit is 128",
			utf8.RuneCountInString(id))
	}
	if i := strings.IndexFunc(id, isForbidden); i >= 0 {
		c, _ := utf8.DecodeRuneInString(id[i:])
		return fault.New(fault.ArgumentInvalid,
			"The module id %.128q has the character %q. Letters, digits and %s are allowed", id, c, allowedMarks)
	}
	return nil
}

const allowedMarks = "- : . + % _ # * ? ! ( ) , = @ ; $ '"

// isForbidden reports whether no id may have a character.
func isForbidden(c rune) bool {
	alphanumeric := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	return !alphanumeric && !strings.ContainsRune("-:.+%_#*?!(),=@;$'", c)
}

// Complete checks what an operator may write of a device and fills in what may be left
// out. Keys are generated for a device that is to have some and brings none. before is the
// device that it replaces, nil for a new one. It returns fault 400004.
func (d *Device) Complete(before *Device) error {
	if err := CheckDeviceID(d.DeviceID); err != nil {
		return err
	}
	switch strings.ToLower(d.Status) {
	case "", "enabled":
		d.Status = Enabled
	case "disabled":
		d.Status = Disabled
	default:
		return fault.New(fault.ArgumentInvalid, "status must be enabled or disabled, not %.32q", d.Status)
	}
	if d.StatusReason != nil && utf8.RuneCountInString(*d.StatusReason) > 128 {
		return fault.New(fault.ArgumentInvalid, "statusReason has more than 128 characters")
	}
	authentication := Authentication{}
	if d.Authentication != nil {
		authentication = *d.Authentication
	}
	d.Authentication = &authentication
	var previous *Authentication
	if before != nil {
		previous = before.Authentication
	}
	return authentication.complete(previous)
}

func (a *Authentication) complete(before *Authentication) error {
	keys, thumbprints := &a.SymmetricKey, &a.X509Thumbprint
	for _, field := range []**string{&keys.PrimaryKey, &keys.SecondaryKey, &thumbprints.PrimaryThumbprint,
		&thumbprints.SecondaryThumbprint} {
		if *field != nil && **field == "" {
			*field = nil // SDKs write what they leave out as ""
		}
	}
	for _, known := range []AuthenticationType{SAS, SelfSigned, CertificateAuthority, NoAuthentication} {
		if strings.EqualFold(string(a.Type), string(known)) {
			a.Type = known
		}
	}
	if a.Type == "" {
		a.Type = SAS
		if thumbprints.PrimaryThumbprint != nil || thumbprints.SecondaryThumbprint != nil {
			a.Type = SelfSigned
		}
	}
	switch a.Type {
	case SAS:
		a.X509Thumbprint = ThumbprintPair{}
		return keys.complete(before)
	case SelfSigned:
		a.SymmetricKey = KeyPair{}
		return thumbprints.complete()
	case CertificateAuthority, NoAuthentication:
		a.SymmetricKey, a.X509Thumbprint = KeyPair{}, ThumbprintPair{}
		return nil
	}
	return fault.New(fault.ArgumentInvalid,
		"authentication.type must be sas, selfSigned, certificateAuthority or none, not %.32q", a.Type)
}

// keySize is that of the keys that Azure generates for devices, in bytes.
const keySize = 32

func (k *KeyPair) complete(before *Authentication) error {
	if k.PrimaryKey == nil && k.SecondaryKey == nil {
		if before != nil && before.Type == SAS {
			*k = before.SymmetricKey
			return nil
		}
		primary, secondary := credential.NewKey(keySize), credential.NewKey(keySize)
		k.PrimaryKey, k.SecondaryKey = &primary, &secondary
		return nil
	}
	if k.PrimaryKey == nil || k.SecondaryKey == nil {
		return fault.New(fault.ArgumentInvalid,
			"authentication.symmetricKey has one key. Give both, or none to have them generated")
	}
	if !credential.ValidKey(*k.PrimaryKey) || !credential.ValidKey(*k.SecondaryKey) {
		return fault.New(fault.ArgumentInvalid,
			"A key of authentication.symmetricKey is not base64 of 16 to 64 bytes")
	}
	return nil
}

func (t *ThumbprintPair) complete() error {
	if t.PrimaryThumbprint == nil && t.SecondaryThumbprint == nil {
		return fault.New(fault.ArgumentInvalid,
			"authentication.type selfSigned needs x509Thumbprint.primaryThumbprint")
	}
	for _, field := range []**string{&t.PrimaryThumbprint, &t.SecondaryThumbprint} {
		if *field == nil {
			continue
		}
		thumbprint := strings.ToUpper(**field)
		if digits, err := hex.DecodeString(thumbprint); err != nil || len(digits) != 20 && len(digits) != 32 {
			return fault.New(fault.ArgumentInvalid,
				"A thumbprint is not 40 hexadecimal digits (SHA-1) or 64 (SHA-256)")
		}
		*field = &thumbprint
	}
	return nil
}
