package portal

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/issuance"
)

var issuerRoutes = map[string]handler{
	"POST credentials/authorities/request": writing(showCredentials, requestIssuer),
	"POST credentials/authorities/revoke":  writing(confirmIssuers, revokeIssuers),
	"POST credentials/authorities/delete":  writing(confirmIssuerDeletion, deleteIssuers),
	"GET issuer/{name}":                    reading(showIssuer),
	"POST issuer/{name}/request":           writing(showIssuer, requestAgain),
	"POST issuer/{name}/activate":          writing(showIssuer, activateIssuer),
	"POST issuer/{name}/rotate":            writing(showIssuer, rotateIssuer),
}

func createIssuer(c *call) error {
	authority, err := c.config.Issuer.CreateAuthority(c.r.Context(), strings.TrimSpace(c.value("name")))
	if err != nil {
		return c.showCredentialsProblem(err)
	}
	c.say("ok", c.language.T("The issuing authority %s was created", authority.Name))
	return c.redirect("credentials")
}

// requestIssuer makes an authority that one of the operator's own is to sign.
func requestIssuer(c *call) error {
	authority, err := c.config.Issuer.RequestAuthority(c.r.Context(), strings.TrimSpace(c.value("name")), "")
	if err != nil {
		return c.showCredentialsProblem(err)
	}
	return c.redirect(issuerPath(authority.Name))
}

// issuerPath is the path of the page of an issuing authority.
func issuerPath(name string) string { return "issuer/" + url.PathEscape(name) }

// IssuerPath is issuerPath for templates.
func (v *view) IssuerPath(name string) string { return issuerPath(name) }

func (c *call) issuerRevocation() deletion {
	return deletion{
		Back:   "credentials",
		Path:   "credentials/authorities/revoke",
		Button: "Revoke",
		Title:  "Revoke %d issuing authority?|Revoke %d issuing authorities?",
		Explain: "All certificates that it issued are void. Devices that are connected with one are cut off at once, " +
			"and need a new certificate of another authority. This can't be undone.",
		Done: "%d issuing authority was revoked|%d issuing authorities were revoked",
		gone: fault.NotFound,
		delete: func(ctx context.Context, name string) error {
			_, err := c.config.Issuer.RevokeAuthority(ctx, name)
			return err
		},
	}
}

func confirmIssuers(c *call) error { return c.confirm(c.issuerRevocation()) }
func revokeIssuers(c *call) error  { return c.deleteSelected(c.issuerRevocation()) }

func (c *call) issuerDeletion() deletion {
	return deletion{
		Back:    "credentials",
		Path:    "credentials/authorities/delete",
		Title:   "Delete %d issuing authority?|Delete %d issuing authorities?",
		Explain: "Its key is deleted, and all certificates that it issued are void. Its name can't be used again.",
		Force:   "Delete it though a policy names it, or certificates that it issued are good",
		Done:    "%d issuing authority was deleted|%d issuing authorities were deleted",
		gone:    fault.NotFound,
		delete: func(ctx context.Context, name string) error {
			return c.config.Issuer.DeleteAuthority(ctx, name, c.force())
		},
	}
}

func confirmIssuerDeletion(c *call) error { return c.confirm(c.issuerDeletion()) }
func deleteIssuers(c *call) error         { return c.deleteSelected(c.issuerDeletion()) }

// issuerPage is an issuing authority, and what is typed on its page.
type issuerPage struct {
	issuance.Authority
	Chain       string // that was signed, in PEM
	Replacement string
	Problem     *fault.Error
}

// Own reports whether an authority of the operator's own signs it.
func (p issuerPage) Own() bool { return p.Request != "" }

func (c *call) issuerPage() (issuerPage, error) {
	authority, err := c.config.Issuer.Authority(c.r.Context(), c.r.PathValue("name"))
	return issuerPage{Authority: authority, Chain: c.text("chain"),
		Replacement: strings.TrimSpace(c.value("replacement"))}, err
}

func showIssuer(c *call) error {
	page, err := c.issuerPage()
	if err != nil {
		return err
	}
	return c.render(http.StatusOK, "issuer", page)
}

// changeIssuer changes the authority that the address names, and says what was done.
func (c *call) changeIssuer(done string, change func(page issuerPage) error) error {
	page, err := c.issuerPage()
	if err != nil {
		return err
	}
	if err := change(page); err != nil {
		page.Problem = fault.From(err)
		if holdsPrivateKey(page.Chain) {
			page.Chain = ""
		}
		return c.render(page.Problem.Code.Status(), "issuer", page)
	}
	c.say("ok", done)
	return c.redirect(issuerPath(page.Name))
}

func requestAgain(c *call) error {
	return c.changeIssuer(c.language.T("Another request was made"), func(page issuerPage) error {
		_, err := c.config.Issuer.RequestAuthority(c.r.Context(), page.Name, "")
		return err
	})
}

func activateIssuer(c *call) error {
	return c.changeIssuer(c.language.T("The issuing authority signs from now on"), func(page issuerPage) error {
		if page.Chain == "" {
			return fault.New(fault.ArgumentInvalid, "The chain is missing: choose its .pem file, or paste it")
		}
		_, err := c.config.Issuer.ActivateAuthority(c.r.Context(), page.Name, []byte(page.Chain))
		return err
	})
}

func rotateIssuer(c *call) error {
	return c.changeIssuer(c.language.T("The issuing authority was revoked, and its policies name the other one"),
		func(page issuerPage) error {
			if c.value("confirm") != "yes" {
				return fault.New(fault.ArgumentInvalid, "Tick the box that says what happens to the devices")
			}
			_, err := c.config.Issuer.RotateAuthority(c.r.Context(), page.Name, page.Replacement)
			return err
		})
}
