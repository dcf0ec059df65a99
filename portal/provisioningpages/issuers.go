package provisioningpages

import (
	"context"
	"net/http"
	"strings"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/portal/web"
)

func (p *Pages) issuerRoutes() web.Routes {
	return web.Routes{
		"POST credentials/authorities/request": web.RequireOperator(p.showCredentials, p.requestIssuer),
		"POST credentials/authorities/revoke":  web.HandleDeletion(p.issuerRevocation),
		"POST credentials/authorities/delete":  web.HandleDeletion(p.issuerDeletion),
		"GET issuer/{name}":                    web.RequireSession(p.showIssuer),
		"POST issuer/{name}/request":           web.RequireOperator(p.showIssuer, p.renewIssuerRequest),
		"POST issuer/{name}/activate":          web.RequireOperator(p.showIssuer, p.activateIssuer),
		"POST issuer/{name}/rotate":            web.RequireOperator(p.showIssuer, p.rotateIssuer),
	}
}

func (p *Pages) createIssuer(c *web.Call) error {
	authority, err := p.Issuer.CreateAuthority(c.Context(), strings.TrimSpace(c.Value("name")), "")
	if err != nil {
		return p.showCredentialsProblem(c, err)
	}
	c.Notify("ok", c.T("The issuing authority %s was created", authority.Name))
	return c.Redirect("credentials")
}

// requestIssuer makes an authority that one of the operator's own is to sign.
func (p *Pages) requestIssuer(c *web.Call) error {
	authority, err := p.Issuer.RequestAuthority(c.Context(), strings.TrimSpace(c.Value("name")), "", "")
	if err != nil {
		return p.showCredentialsProblem(c, err)
	}
	return c.Redirect(issuerPath(authority.Name))
}

// issuerPath is the path of the page of an issuing authority.
func issuerPath(name string) string { return "issuer/" + web.Segment(name) }

func (p *Pages) issuerRevocation(c *web.Call) (web.Deletion, error) {
	return web.Deletion{
		Back:   "credentials",
		Path:   "credentials/authorities/revoke",
		Button: "Revoke",
		Title:  "Revoke %d issuing authority?|Revoke %d issuing authorities?",
		Explain: "All certificates that it issued are void. Devices that are connected with one are cut off at once, " +
			"and need a new certificate of another authority. This can't be undone.",
		Done: "%d issuing authority was revoked|%d issuing authorities were revoked",
		Gone: fault.NotFound,
		Delete: func(ctx context.Context, name string) error {
			_, err := p.Issuer.RevokeAuthority(ctx, name, "")
			return err
		},
	}, nil
}

func (p *Pages) issuerDeletion(c *web.Call) (web.Deletion, error) {
	return web.Deletion{
		Back:    "credentials",
		Path:    "credentials/authorities/delete",
		Title:   "Delete %d issuing authority?|Delete %d issuing authorities?",
		Explain: "Its key is deleted, and all certificates that it issued are void. Its name can't be used again.",
		Force:   "Delete it though a policy names it, or certificates that it issued are good",
		Done:    "%d issuing authority was deleted|%d issuing authorities were deleted",
		Gone:    fault.NotFound,
		Delete: func(ctx context.Context, name string) error {
			return p.Issuer.DeleteAuthority(ctx, name, "", c.Forced())
		},
	}, nil
}

// issuerPage is an issuing authority, and what is typed on its page.
type issuerPage struct {
	issuance.Authority
	Chain       string // that was signed, in PEM
	Replacement string
	Problem     *fault.Error
}

// Own reports whether an authority of the operator's own signs it.
func (p issuerPage) Own() bool { return p.Request != "" }

func (p *Pages) issuerPage(c *web.Call) (issuerPage, error) {
	authority, err := p.Issuer.Authority(c.Context(), c.PathValue("name"))
	return issuerPage{Authority: authority, Chain: c.Text("chain"),
		Replacement: strings.TrimSpace(c.Value("replacement"))}, err
}

func (p *Pages) showIssuer(c *web.Call) error {
	page, err := p.issuerPage(c)
	if err != nil {
		return err
	}
	return c.Render(http.StatusOK, "issuer", page)
}

// changeIssuer changes the authority that the address names, and says what was done.
func (p *Pages) changeIssuer(c *web.Call, done string, change func(page issuerPage) error) error {
	page, err := p.issuerPage(c)
	if err != nil {
		return err
	}
	if err := change(page); err != nil {
		page.Problem = fault.From(err)
		if credential.HoldsPrivateKey([]byte(page.Chain)) {
			page.Chain = ""
		}
		return c.Render(page.Problem.Code.Status(), "issuer", page)
	}
	c.Notify("ok", done)
	return c.Redirect(issuerPath(page.Name))
}

func (p *Pages) renewIssuerRequest(c *web.Call) error {
	return p.changeIssuer(c, c.T("Another request was made"), func(page issuerPage) error {
		_, err := p.Issuer.RequestAuthority(c.Context(), page.Name, "", "")
		return err
	})
}

func (p *Pages) activateIssuer(c *web.Call) error {
	return p.changeIssuer(c, c.T("The issuing authority signs from now on"), func(page issuerPage) error {
		if page.Chain == "" {
			return fault.New(fault.ArgumentInvalid, "The chain is missing: choose its .pem file, or paste it")
		}
		_, err := p.Issuer.ActivateAuthority(c.Context(), page.Name, []byte(page.Chain), "")
		return err
	})
}

func (p *Pages) rotateIssuer(c *web.Call) error {
	return p.changeIssuer(c, c.T("The issuing authority was revoked, and its policies name the other one"),
		func(page issuerPage) error {
			if c.Value("confirm") != "yes" {
				return fault.New(fault.ArgumentInvalid, "Tick the box that says what happens to the devices")
			}
			_, err := p.Issuer.RotateAuthority(c.Context(), page.Name, page.Replacement, "")
			return err
		})
}
