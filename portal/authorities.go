package portal

import (
	"context"
	"net/http"
	"net/url"

	"github.com/berth-iot/berth/authority"
	"github.com/berth-iot/berth/fault"
)

var authorityRoutes = map[string]handler{
	"GET certificates":               reading(listAuthorities),
	"GET certificates/new":           reading(newAuthority),
	"POST certificates/new":          writing(newAuthority, uploadAuthority),
	"POST certificates/delete":       writing(confirmAuthorities, deleteAuthorities),
	"GET certificate/{name}":         reading(showAuthority),
	"POST certificate/{name}/code":   writing(showAuthority, makeCode),
	"POST certificate/{name}/verify": writing(showAuthority, verifyAuthority),
}

func listAuthorities(c *call) error {
	return c.show("certificates", nil, func() (any, error) {
		l := list[authority.Authority]{place: place{Prefix: c.query("prefix"), After: c.query("after")}}
		var err error
		l.Items, l.Next, err = c.config.Provisioning.Authorities().List(c.r.Context(), l.Prefix, l.After, pageSize)
		return l, err
	})
}

// authorityDeletion is how authorities are deleted. uses are the groups that name
// those which are selected.
func (c *call) authorityDeletion(uses []use) deletion {
	return deletion{
		Uses:    uses,
		Back:    "certificates",
		Title:   "Delete %d certificate authority?|Delete %d certificate authorities?",
		Explain: "Devices of groups that name it are refused from then on; those that are in their hubs stay.",
		Done:    "%d certificate authority was deleted|%d certificate authorities were deleted",
		gone:    fault.NotFound,
		delete: func(ctx context.Context, id string) error {
			return c.config.Provisioning.Authorities().Delete(ctx, id, "", c.value("force") == "yes")
		},
	}
}

// authorityUses are the groups that name the authorities which are selected.
func (c *call) authorityUses() (uses []use, err error) {
	const most = 20 // groups of each that a person wants to read of
	ids := c.selected()
	if len(ids) > maxSelected {
		return nil, nil // they are refused
	}
	for _, name := range ids {
		groups, count, err := c.config.Provisioning.GroupsOfAuthority(c.r.Context(), name, most)
		if err != nil {
			return nil, err
		}
		if count > len(groups) {
			groups = append(groups, "+"+c.language.Number(count-len(groups)))
		}
		if count > 0 {
			uses = append(uses, use{name, groups})
		}
	}
	return uses, nil
}

func confirmAuthorities(c *call) error {
	uses, err := c.authorityUses()
	if err != nil {
		return err
	}
	return c.confirm(c.authorityDeletion(uses))
}

func deleteAuthorities(c *call) error {
	if c.value("confirm") != "yes" {
		return confirmAuthorities(c)
	}
	return c.deleteSelected(c.authorityDeletion(nil))
}

// authorityForm is an authority's page: what is typed, and what there is.
type authorityForm struct {
	Name     string
	Trust    bool
	Upload   certificateField
	Problem  *fault.Error
	There    *authority.Authority
	Commands string // that make the verification certificate
}

func newAuthority(c *call) error {
	return c.render(http.StatusOK, "certificate-new", authorityForm{Name: c.value("name"), Trust: c.value("trust") != "", Upload: c.readCertificate("certificate", true)})
}

func uploadAuthority(c *call) error {
	form := authorityForm{Name: c.value("name"), Trust: c.value("trust") != "", Upload: c.readCertificate("certificate", true)}
	if form.Upload.Problem == nil && form.Upload.Text == "" {
		form.Upload.Problem = fault.New(fault.ArgumentInvalid, "The authority's certificate is missing: choose its .pem or .cer file")
	}
	if form.Upload.Problem != nil {
		return c.render(http.StatusBadRequest, "certificate-new", form)
	}
	authority, err := c.config.Provisioning.Authorities().Put(c.r.Context(), form.Name, []byte(form.Upload.Text), form.Trust, "")
	if err != nil {
		form.Problem = fault.From(err)
		return c.render(form.Problem.Code.Status(), "certificate-new", form)
	}
	c.say("ok", c.language.T("The certificate authority %s was saved", authority.Name))
	return c.redirect("certificate/" + url.PathEscape(authority.Name))
}

// storedAuthority is the authority that the address names.
func (c *call) storedAuthority() (authorityForm, error) {
	authority, err := c.config.Provisioning.Authorities().Get(c.r.Context(), c.r.PathValue("name"))
	form := authorityForm{Name: authority.Name, There: &authority, Upload: c.readCertificate("proof", true)}
	if code := authority.VerificationCode; code != "" {
		form.Commands = "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out verify.key\n" +
			"openssl req -new -key verify.key -subj \"/CN=" + code + "\" -out verify.csr\n" +
			"openssl x509 -req -in verify.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 -out verify.pem"
	}
	return form, err
}

func showAuthority(c *call) error {
	form, err := c.storedAuthority()
	if err != nil {
		return err
	}
	return c.render(http.StatusOK, "certificate", form)
}

func makeCode(c *call) error {
	if _, err := c.config.Provisioning.Authorities().NewVerificationCode(c.r.Context(), c.r.PathValue("name"), ""); err != nil {
		return err
	}
	return c.redirect("certificate/" + url.PathEscape(c.r.PathValue("name")))
}

// verifyAuthority takes the certificate that proves possession.
func verifyAuthority(c *call) error {
	form, err := c.storedAuthority()
	if err != nil {
		return err
	}
	if form.Upload.Problem == nil && form.Upload.Text == "" {
		form.Upload.Problem = fault.New(fault.ArgumentInvalid, "The verification certificate is missing: choose its .pem or .cer file")
	}
	if form.Upload.Problem != nil {
		return c.render(http.StatusBadRequest, "certificate", form)
	}
	if _, err := c.config.Provisioning.Authorities().Verify(c.r.Context(), form.Name, []byte(form.Upload.Text), ""); err != nil {
		form.Problem = fault.From(err)
		return c.render(form.Problem.Code.Status(), "certificate", form)
	}
	c.say("ok", c.language.T("The certificate authority %s is verified", form.Name))
	return c.redirect("certificate/" + url.PathEscape(form.Name))
}

// verifiedAuthorities are the names of those that a group may name.
func (c *call) verifiedAuthorities() (names []string, err error) {
	for after := ""; ; {
		page, next, err := c.config.Provisioning.Authorities().List(c.r.Context(), "", after, 1000)
		if err != nil {
			return nil, err
		}
		for _, authority := range page {
			if authority.IsVerified {
				names = append(names, authority.Name)
			}
		}
		if after = next; next == "" {
			return names, nil
		}
	}
}
