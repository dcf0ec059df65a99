package identity

import (
	"errors"
	"strings"
	"testing"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
)

func TestCompleteRefuses(t *testing.T) {
	key := credential.NewKey(32)
	with := func(a Authentication) Device { return Device{DeviceID: "d", Authentication: &a} }
	for _, c := range []struct {
		name   string
		device Device
		says   string
	}{
		{"no id", Device{}, "empty"},
		{"long id", Device{DeviceID: strings.Repeat("x", 129)}, "128"},
		{"id with a slash", Device{DeviceID: "a/b"}, "character"},
		{"id with an umlaut", Device{DeviceID: "ä"}, "character"},
		{"status", Device{DeviceID: "d", Status: "asleep"}, "enabled or disabled"},
		{"long reason", Device{DeviceID: "d", StatusReason: text(strings.Repeat("x", 129))}, "128"},
		{"one key", with(Authentication{SymmetricKey: KeyPair{PrimaryKey: &key}}), "both"},
		{"short keys", with(Authentication{SymmetricKey: KeyPair{text("AAAA"), text("AAAA")}}), "16 to 64"},
		{"keys that are not base64", with(Authentication{SymmetricKey: KeyPair{text("hello world!"), &key}}), "base64"},
		{"no thumbprint", with(Authentication{Type: SelfSigned}), "primaryThumbprint"},
		{"no thumbprint of any kind",
			with(Authentication{X509Thumbprint: ThumbprintPair{PrimaryThumbprint: text("ABC")}}),
			"40 hexadecimal digits"},
		{"type", with(Authentication{Type: "magic"}), "sas"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.device.Complete(nil)
			if !errors.Is(err, fault.ArgumentInvalid) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("answered %v, want 400004 that says %q", err, c.says)
			}
		})
	}
}

// The type of an authentication is taken in the case of others, and kept as the contract
// has it.
func TestCompleteAuthenticationTypeHasNoCase(t *testing.T) {
	for given, want := range map[AuthenticationType]AuthenticationType{"SAS": SAS, "Sas": SAS, "": SAS,
		"certificateauthority": CertificateAuthority, "None": NoAuthentication} {
		device := Device{DeviceID: "d", Authentication: &Authentication{Type: given}}
		if err := device.Complete(nil); err != nil || device.Authentication.Type != want {
			t.Errorf("%q is written as %+v, error %v, want %q", given, device.Authentication, err, want)
		}
	}
}

// TestComplete is what becomes of authentications that are not complete, of a new device
// and of one that had keys.
func TestComplete(t *testing.T) {
	key, other, sha1 := credential.NewKey(32), credential.NewKey(64), strings.Repeat("ab", 20)
	keys := KeyPair{&key, &other}
	had := &Device{Authentication: &Authentication{Type: SAS, SymmetricKey: keys}}
	hadCertificate := &Device{Authentication: &Authentication{Type: CertificateAuthority}}
	fresh := func(a Authentication) bool {
		return a.Type == SAS && credential.ValidKey(*a.SymmetricKey.PrimaryKey) &&
			*a.SymmetricKey.PrimaryKey != *a.SymmetricKey.SecondaryKey && *a.SymmetricKey.PrimaryKey != key
	}
	kept := func(a Authentication) bool { return a.Type == SAS && a.SymmetricKey == keys }
	for _, c := range []struct {
		name   string
		before *Device
		given  *Authentication
		good   func(Authentication) bool
	}{
		{"none, of a new device", nil, nil, fresh},
		{"none, of one that had keys", had, nil, kept},
		{"none, of one that had a certificate", hadCertificate, nil, fresh},
		{"empty texts, as SDKs send them", had, &Authentication{Type: SAS, SymmetricKey: KeyPair{text(""), text("")},
			X509Thumbprint: ThumbprintPair{text(""), text("")}}, kept},
		{"keys", hadCertificate, &Authentication{SymmetricKey: keys}, kept},
		{"a thumbprint without a type", had, &Authentication{X509Thumbprint: ThumbprintPair{nil, &sha1}},
			func(a Authentication) bool {
				return a.Type == SelfSigned && a.SymmetricKey == KeyPair{} &&
					a.X509Thumbprint.PrimaryThumbprint == nil &&
					*a.X509Thumbprint.SecondaryThumbprint == strings.ToUpper(sha1)
			}},
		{"an authority, with the keys of before", had, &Authentication{Type: CertificateAuthority, SymmetricKey: keys,
			X509Thumbprint: ThumbprintPair{PrimaryThumbprint: &sha1}},
			func(a Authentication) bool { return a == Authentication{Type: CertificateAuthority} }},
	} {
		device := Device{DeviceID: "d", Status: "Disabled", Authentication: c.given}
		err := device.Complete(c.before)
		if err != nil || !c.good(*device.Authentication) || device.Status != Disabled {
			t.Errorf("%s: it is %+v, %+v, error %v", c.name, device, device.Authentication, err)
		}
	}
}
