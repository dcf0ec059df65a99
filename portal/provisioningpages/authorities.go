package provisioningpages

import (
	"context"
	"net/http"

	"github.com/berth-iot/berth/authority"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/portal/web"
)

func (p *Pages) authorityRoutes() web.Routes {
	return web.Routes{
		"GET certificates":               web.RequireSession(p.listAuthorities),
		"GET certificates/new":           web.RequireSession(p.newAuthority),
		"POST certificates/new":          web.RequireOperator(p.newAuthority, p.uploadAuthority),
		"POST certificates/delete":       web.HandleDeletion(p.authorityDeletion),
		"GET certificate/{name}":         web.RequireSession(p.showAuthority),
		"POST certificate/{name}/code":   web.RequireOperator(p.showAuthority, p.makeCode),
		"POST certificate/{name}/verify": web.RequireOperator(p.showAuthority, p.verifyAuthority),
	}
}

func (p *Pages) listAuthorities(c *web.Call) error {
	return c.Show("certificates", nil, func() (any, error) {
		l := web.List[authority.Authority]{Position: web.Position{Prefix: c.Query("prefix"), After: c.Query("after")}}
		var err error
		l.Items, l.Next, err = p.Provisioning.Authorities().List(c.Context(), l.Prefix, l.After, web.PageSize)
		return l, err
	})
}

// authorityDeletion is how authorities are deleted. The page that asks for it names the
// groups that name those which are selected.
func (p *Pages) authorityDeletion(c *web.Call) (web.Deletion, error) {
	var uses []web.Use
	if !c.Confirmed() {
		var err error
		if uses, err = p.authorityUses(c); err != nil {
			return web.Deletion{}, err
		}
	}
	return web.Deletion{
		Used:    "%s is named by groups:",
		Uses:    uses,
		Force:   "Delete them though groups name them",
		Back:    "certificates",
		Title:   "Delete %d certificate authority?|Delete %d certificate authorities?",
		Explain: "Devices of groups that name it are refused from then on; those that are in their hubs stay.",
		Done:    "%d certificate authority was deleted|%d certificate authorities were deleted",
		Gone:    fault.NotFound,
		Delete: func(ctx context.Context, id string) error {
			return p.Provisioning.Authorities().Delete(ctx, id, "", c.Forced())
		},
	}, nil
}

// authorityUses are the groups that name the authorities which are selected.
func (p *Pages) authorityUses(c *web.Call) (uses []web.Use, err error) {
	const most = 20 // groups of each that a person wants to read of
	ids := c.Selected()
	if len(ids) > web.MaxSelected {
		return nil, nil // they are refused
	}
	for _, name := range ids {
		groups, count, err := p.Provisioning.Groups().ListOfAuthority(c.Context(), name, most)
		if err != nil {
			return nil, err
		}
		if count > len(groups) {
			groups = append(groups, "+"+c.Number(count-len(groups)))
		}
		if count > 0 {
			uses = append(uses, web.Use{ID: name, By: groups})
		}
	}
	return uses, nil
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

func (p *Pages) newAuthority(c *web.Call) error {
	return c.Render(
		http.StatusOK,
		"certificate-new",
		authorityForm{
			Name:   c.Value("name"),
			Trust:  c.Value("trust") != "",
			Upload: p.readCertificate(c, "certificate", true),
		},
	)
}

func (p *Pages) uploadAuthority(c *web.Call) error {
	form := authorityForm{
		Name:   c.Value("name"),
		Trust:  c.Value("trust") != "",
		Upload: p.readCertificate(c, "certificate", true),
	}
	if form.Upload.Problem == nil && form.Upload.Text == "" {
		form.Upload.Problem = fault.New(fault.ArgumentInvalid,
			"The authority's certificate is missing: choose its .pem or .cer file")
	}
	if form.Upload.Problem != nil {
		return c.Render(http.StatusBadRequest, "certificate-new", form)
	}
	authority, err := p.Provisioning.Authorities().Put(c.Context(), form.Name, []byte(form.Upload.Text), form.Trust, "")
	if err != nil {
		form.Problem = fault.From(err)
		return c.Render(form.Problem.Code.Status(), "certificate-new", form)
	}
	c.Notify("ok", c.T("The certificate authority %s was saved", authority.Name))
	return c.Redirect("certificate/" + web.Segment(authority.Name))
}

// storedAuthority is the authority that the address names.
func (p *Pages) storedAuthority(c *web.Call) (authorityForm, error) {
	authority, err := p.Provisioning.Authorities().Get(c.Context(), c.PathValue("name"))
	form := authorityForm{Name: authority.Name, There: &authority, Upload: p.readCertificate(c, "proof", true)}
	if code := authority.VerificationCode; code != "" {
		form.Commands = "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out verify.key\n" +
			"openssl req -new -key verify.key -subj \"/CN=" + code + "\" -out verify.csr\n" +
			"openssl x509 -req -in verify.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 -out verify.pem"
	}
	return form, err
}

func (p *Pages) showAuthority(c *web.Call) error {
	form, err := p.storedAuthority(c)
	if err != nil {
		return err
	}
	return c.Render(http.StatusOK, "certificate", form)
}

func (p *Pages) makeCode(c *web.Call) error {
	if _, err := p.Provisioning.Authorities().NewVerificationCode(c.Context(), c.PathValue("name"), ""); err != nil {
		return err
	}
	return c.Redirect("certificate/" + web.Segment(c.PathValue("name")))
}

// verifyAuthority takes the certificate that proves possession.
func (p *Pages) verifyAuthority(c *web.Call) error {
	form, err := p.storedAuthority(c)
	if err != nil {
		return err
	}
	if form.Upload.Problem == nil && form.Upload.Text == "" {
		form.Upload.Problem = fault.New(fault.ArgumentInvalid,
			"The verification certificate is missing: choose its .pem or .cer file")
	}
	if form.Upload.Problem != nil {
		return c.Render(http.StatusBadRequest, "certificate", form)
	}
	if _, err := p.Provisioning.Authorities().Verify(c.Context(), form.Name, []byte(form.Upload.Text), ""); err != nil {
		form.Problem = fault.From(err)
		return c.Render(form.Problem.Code.Status(), "certificate", form)
	}
	c.Notify("ok", c.T("The certificate authority %s is verified", form.Name))
	return c.Redirect("certificate/" + web.Segment(form.Name))
}

// verifiedAuthorities are the names of those that a group may name.
func (p *Pages) verifiedAuthorities(c *web.Call) (names []string, err error) {
	for after := ""; ; {
		page, next, err := p.Provisioning.Authorities().List(c.Context(), "", after, 1000)
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
