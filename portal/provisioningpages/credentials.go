package provisioningpages

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/portal/web"
)

func (p *Pages) credentialRoutes() web.Routes {
	return web.Routes{
		"GET credentials":                 web.RequireSession(p.showCredentials),
		"POST credentials/revoke":         web.HandleDeletion(p.revocation),
		"POST credentials":                web.RequireOperator(p.showCredentials, p.createIssuer),
		"POST credentials/devices/revoke": web.HandleDeletion(p.deviceRevocation),
		"GET credentials/new":             web.RequireSession(p.newCredentialPolicy),
		"POST credentials/new":            web.RequireOperator(p.newCredentialPolicy, p.saveCredentialPolicy),
		"POST credentials/delete":         web.HandleDeletion(p.credentialPolicyDeletion),
		"GET credential/{name}":           web.RequireSession(p.showCredentialPolicy),
		"POST credential/{name}":          web.RequireOperator(p.showCredentialPolicy, p.saveCredentialPolicy),
	}
}

// credentialsPage is what certificates are issued by, and which there are.
type credentialsPage struct {
	Policies    []issuance.Policy
	Authorities []issuance.Authority
	Name        string // of an authority that is to be created
	Problem     *fault.Error
	Issued      web.List[issuance.Certificate] // a page of those of the device in Prefix, the latest first, or of all
}

func (p *Pages) credentialsPage(c *web.Call) (page credentialsPage, err error) {
	ctx, issuer := c.Context(), p.Issuer
	page.Name = strings.TrimSpace(c.Value("name"))
	page.Issued = web.List[issuance.Certificate]{
		Position: web.Position{Prefix: strings.TrimSpace(c.Query("prefix")), After: c.Query("after")},
		Part:     "issued",
	}
	if page.Policies, err = issuer.Policies(ctx); err != nil {
		return page, err
	}
	if page.Authorities, err = issuer.Authorities(ctx); err != nil {
		return page, err
	}
	if page.Issued.Prefix != "" {
		issued := &page.Issued
		issued.Items, issued.Next, err = issuer.Issued(ctx, issued.Prefix, issued.After, web.PageSize)
	} else {
		page.Issued.Items, page.Issued.Next, err = issuer.Certificates(ctx, "", page.Issued.After, web.PageSize)
	}
	return page, err
}

func (p *Pages) showCredentials(c *web.Call) error {
	return c.Show("credentials", nil, func() (any, error) { return p.credentialsPage(c) })
}

// showCredentialsProblem answers with the page, and why what was asked for there was
// not done.
func (p *Pages) showCredentialsProblem(c *web.Call, err error) error {
	page, failed := p.credentialsPage(c)
	if failed != nil {
		return failed
	}
	page.Problem = fault.From(err)
	return c.Render(page.Problem.Code.Status(), "credentials", page)
}

func (p *Pages) revocation(c *web.Call) (web.Deletion, error) {
	return web.Deletion{
		Back:   "credentials",
		Path:   "credentials/revoke",
		Button: "Revoke",
		Title:  "Revoke %d certificate?|Revoke %d certificates?",
		Explain: "Devices that are connected with them are cut off at once, and come in again only with " +
			"another certificate. This can't be undone.",
		Done: "%d certificate was revoked|%d certificates were revoked",
		Gone: fault.NotFound,
		Delete: func(ctx context.Context, thumbprint string) error {
			_, err := p.Issuer.Revoke(ctx, thumbprint)
			return err
		},
	}, nil
}

// deviceRevocation revokes all certificates of the device of the button, and none of
// those whose boxes are in the same form.
func (p *Pages) deviceRevocation(c *web.Call) (web.Deletion, error) {
	if device := c.Value("device"); device != "" {
		c.Form()["id"] = []string{device}
	}
	return web.Deletion{
		Back:   "credentials",
		Path:   "credentials/devices/revoke",
		Button: "Revoke",
		Title:  "Revoke all certificates of %d device?|Revoke all certificates of %d devices?",
		Explain: "The device is cut off at once. It gets a new certificate when it registers again, unless its " +
			"enrollment is disabled. This can't be undone.",
		Done: "all certificates of %d device were revoked|all certificates of %d devices were revoked",
		Gone: fault.NotFound,
		Delete: func(ctx context.Context, registrationID string) error {
			_, err := p.Issuer.RevokeDevice(ctx, registrationID)
			return err
		},
	}, nil
}

func (p *Pages) credentialPolicyDeletion(c *web.Call) (web.Deletion, error) {
	return web.Deletion{
		Back:    "credentials",
		Title:   "Delete %d credential policy?|Delete %d credential policies?",
		Explain: "Devices whose enrollments name it get no more certificates. Those that they have stay good.",
		Force:   "Delete it though an enrollment or a group names it",
		Done:    "%d credential policy was deleted|%d credential policies were deleted",
		Gone:    fault.NotFound,
		Delete: func(ctx context.Context, name string) error {
			return p.Issuer.DeletePolicy(ctx, name, "", c.Forced())
		},
	}, nil
}

// credentialPolicyForm is a credential policy as it is typed.
type credentialPolicyForm struct {
	Name, Authority, Validity, DNSNames, ETag string
	New                                       bool
	KeyTypes                                  []keyType
	Authorities                               []string // that may sign
	Problem                                   *fault.Error
}

// keyType is a kind of key that a policy may take.
type keyType struct {
	Name    string
	Allowed bool
}

func (f *credentialPolicyForm) markKeyTypes(names []string) {
	f.KeyTypes = nil
	for _, name := range issuance.KeyTypes {
		f.KeyTypes = append(f.KeyTypes, keyType{name, slices.Contains(names, name)})
	}
}

// readCredentialPolicy takes what was typed.
func (p *Pages) readCredentialPolicy(c *web.Call) (form credentialPolicyForm, err error) {
	form = credentialPolicyForm{
		Name:      c.PathValue("name"),
		Authority: c.Value("authority"),
		Validity:  c.Value("validity"),
		DNSNames:  c.Text("dnsNames"),
		ETag:      c.Value("etag"),
	}
	if form.New = form.Name == ""; form.New {
		form.Name = strings.TrimSpace(c.Value("name"))
	}
	form.markKeyTypes(c.Form()["keyType"])
	authorities, err := p.Issuer.Authorities(c.Context())
	for _, authority := range authorities {
		if authority.Revoked.IsZero() && authority.Certificate != "" {
			form.Authorities = append(form.Authorities, authority.Name)
		}
	}
	return form, err
}

func (p *Pages) newCredentialPolicy(c *web.Call) error {
	form, err := p.readCredentialPolicy(c)
	if err != nil {
		return err
	}
	if c.Request.Method == http.MethodGet {
		form.Validity = strconv.Itoa(30 * 24 * 60)
		form.markKeyTypes(issuance.KeyTypes)
	}
	return c.Render(http.StatusOK, "credential", form)
}

func (p *Pages) showCredentialPolicy(c *web.Call) error {
	form, err := p.readCredentialPolicy(c)
	if err != nil {
		return err
	}
	policy, err := p.Issuer.Policy(c.Context(), form.Name)
	if err != nil {
		return err
	}
	if c.Request.Method == http.MethodGet {
		form.Name, form.Authority, form.ETag = policy.Name, policy.Authority, policy.ETag
		form.Validity = strconv.Itoa(policy.ValidityMinutes)
		form.DNSNames = strings.Join(policy.DNSNames, "\n")
		form.markKeyTypes(policy.KeyTypes)
	}
	return c.Render(http.StatusOK, "credential", form)
}

func (p *Pages) saveCredentialPolicy(c *web.Call) error {
	form, err := p.readCredentialPolicy(c)
	if err != nil {
		return err
	}
	policy := issuance.Policy{
		Name:      form.Name,
		Authority: form.Authority,
		KeyTypes:  slices.Clone(c.Form()["keyType"]),
		DNSNames:  strings.Fields(form.DNSNames),
	}
	policy.ValidityMinutes, err = strconv.Atoi(form.Validity)
	switch {
	case err != nil:
		err = fault.New(fault.ArgumentInvalid, "The validity must be a whole number of minutes, not %.20q",
			form.Validity)
	case len(policy.KeyTypes) == 0:
		err = fault.New(fault.ArgumentInvalid, "Tick the kinds of keys that get certificates, one at least")
	case form.New && p.hasCredentialPolicy(c, form.Name):
		err = fault.New(fault.Conflict, "There is a credential policy %.64q already. Change it, or choose another name",
			form.Name)
	default:
		_, err = p.Issuer.PutPolicy(c.Context(), policy, form.ETag)
	}
	if err != nil {
		form.Problem = fault.From(err)
		return c.Render(form.Problem.Code.Status(), "credential", form)
	}
	c.Notify("ok", c.T("The credential policy %s was saved", policy.Name))
	return c.Redirect("credentials")
}

func (p *Pages) hasCredentialPolicy(c *web.Call, name string) bool {
	_, err := p.Issuer.Policy(c.Context(), name)
	return err == nil
}

// credentialPath is the path of the page of a credential policy.
func credentialPath(name string) string { return "credential/" + web.Segment(name) }

// validity writes a time in minutes as people read it.
func validity(l *web.Language, minutes int) string {
	switch {
	case minutes%(24*60) == 0:
		return l.N("%d day|%d days", minutes/(24*60))
	case minutes%60 == 0:
		return l.N("%d hour|%d hours", minutes/60)
	}
	return l.N("%d minute|%d minutes", minutes)
}
