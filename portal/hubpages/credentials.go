package hubpages

import (
	"strings"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/portal/web"
)

// credentialForm is how a device or module is to prove itself.
type credentialForm struct {
	Authentication identity.AuthenticationType
	Primary        string // a key or a thumbprint, by the authentication
	Secondary      string
}

func readCredentialForm(c *web.Call) credentialForm {
	return credentialForm{
		Authentication: identity.AuthenticationType(c.Value("authentication")),
		Primary:        c.Text("primary"),
		Secondary:      c.Text("secondary"),
	}
}

func (f credentialForm) authentication() *identity.Authentication {
	authentication := &identity.Authentication{Type: f.Authentication}
	optional := func(text string) *string {
		if text == "" {
			return nil
		}
		return &text
	}
	switch f.Authentication {
	case identity.SelfSigned:
		plain := strings.NewReplacer(":", "", " ", "")
		authentication.X509Thumbprint = identity.ThumbprintPair{
			PrimaryThumbprint:   optional(plain.Replace(f.Primary)),
			SecondaryThumbprint: optional(plain.Replace(f.Secondary)),
		}
	case identity.SAS:
		authentication.SymmetricKey = identity.KeyPair{
			PrimaryKey:   optional(f.Primary),
			SecondaryKey: optional(f.Secondary),
		}
	}
	return authentication
}

// keysView is what a page shows of the keys of a device or module.
type keysView struct {
	HasKeys   bool
	ShowKeys  bool
	Primary   string // connection strings, when they are asked for, or the keys alone
	Secondary string
	Uncarried bool // no connection string can carry the id
}

// showKeys returns what the page shows of keys, and the authentication without them.
func showKeys(
	c *web.Call, host string, of subject, stored *identity.Authentication,
) (view keysView, shown *identity.Authentication) {
	keys := stored.SymmetricKey
	view.HasKeys = stored.Type == identity.SAS && keys.PrimaryKey != nil
	view.ShowKeys = view.HasKeys && c.ShowsSecret("keys")
	if view.ShowKeys {
		text := func(key *string) string {
			if key == nil {
				return ""
			}
			full := credential.ConnectionString{HostName: host, DeviceID: of.DeviceID, ModuleID: of.ModuleID,
				SharedAccessKey: *key}
			if view.Uncarried = full.Check() != nil; view.Uncarried {
				return *key
			}
			return full.String()
		}
		view.Primary, view.Secondary = text(keys.PrimaryKey), text(keys.SecondaryKey)
	}
	return view, &identity.Authentication{Type: stored.Type, X509Thumbprint: stored.X509Thumbprint}
}
