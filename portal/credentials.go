package portal

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/issuance"
)

var credentialRoutes = map[string]handler{
	"GET credentials":                 reading(showCredentials),
	"POST credentials/revoke":         writing(confirmRevocation, revokeSelected),
	"POST credentials":                writing(showCredentials, createIssuer),
	"POST credentials/devices/revoke": writing(confirmDeviceRevocation, revokeDevices),
	"GET credentials/new":             reading(newCredentialPolicy),
	"POST credentials/new":            writing(newCredentialPolicy, saveCredentialPolicy),
	"POST credentials/delete":         writing(confirmCredentialPolicies, deleteCredentialPolicies),
	"GET credential/{name}":           reading(showCredentialPolicy),
	"POST credential/{name}":          writing(showCredentialPolicy, saveCredentialPolicy),
}

// credentialsPage is what certificates are issued by, and which there are.
type credentialsPage struct {
	Policies    []issuance.Policy
	Authorities []issuance.Authority
	Name        string // of an authority that is to be created
	Problem     *fault.Error
	Issued      list[issuance.Certificate] // a page of those of the device in Prefix, the latest first, or of all
}

func (c *call) credentialsPage() (page credentialsPage, err error) {
	ctx, issuer := c.r.Context(), c.config.Issuer
	page.Name = strings.TrimSpace(c.value("name"))
	page.Issued = list[issuance.Certificate]{place: place{Prefix: strings.TrimSpace(c.query("prefix")), After: c.query("after")}, Part: "issued"}
	if page.Policies, err = issuer.Policies(ctx); err != nil {
		return page, err
	}
	if page.Authorities, err = issuer.Authorities(ctx); err != nil {
		return page, err
	}
	if page.Issued.Prefix != "" {
		page.Issued.Items, page.Issued.Next, err = issuer.Issued(ctx, page.Issued.Prefix, page.Issued.After, pageSize)
	} else {
		page.Issued.Items, page.Issued.Next, err = issuer.Certificates(ctx, page.Issued.After, pageSize)
	}
	return page, err
}

func showCredentials(c *call) error {
	return c.show("credentials", nil, func() (any, error) { return c.credentialsPage() })
}

// showCredentialsProblem answers with the page, and why what was asked for there was
// not done.
func (c *call) showCredentialsProblem(err error) error {
	page, failed := c.credentialsPage()
	if failed != nil {
		return failed
	}
	page.Problem = fault.From(err)
	return c.render(page.Problem.Code.Status(), "credentials", page)
}

func (c *call) revocation() deletion {
	return deletion{
		Back:    "credentials",
		Path:    "credentials/revoke",
		Button:  "Revoke",
		Title:   "Revoke %d certificate?|Revoke %d certificates?",
		Explain: "Devices that are connected with them are cut off at once, and come in again only with another certificate. This can't be undone.",
		Done:    "%d certificate was revoked|%d certificates were revoked",
		gone:    fault.NotFound,
		delete: func(ctx context.Context, thumbprint string) error {
			_, err := c.config.Issuer.Revoke(ctx, thumbprint)
			return err
		},
	}
}

func confirmRevocation(c *call) error { return c.confirm(c.revocation()) }
func revokeSelected(c *call) error    { return c.deleteSelected(c.revocation()) }

func (c *call) deviceRevocation() deletion {
	return deletion{
		Back:   "credentials",
		Path:   "credentials/devices/revoke",
		Button: "Revoke",
		Title:  "Revoke all certificates of %d device?|Revoke all certificates of %d devices?",
		Explain: "The device is cut off at once. It gets a new certificate when it registers again, unless its " +
			"enrollment is disabled. This can't be undone.",
		Done: "all certificates of %d device were revoked|all certificates of %d devices were revoked",
		gone: fault.NotFound,
		delete: func(ctx context.Context, registrationID string) error {
			_, err := c.config.Issuer.RevokeDevice(ctx, registrationID)
			return err
		},
	}
}

func confirmDeviceRevocation(c *call) error {
	c.selectDevice()
	return c.confirm(c.deviceRevocation())
}

func revokeDevices(c *call) error {
	c.selectDevice()
	return c.deleteSelected(c.deviceRevocation())
}

// selectDevice has the device of the button be selected, and none of the certificates
// whose boxes are in the same form.
func (c *call) selectDevice() {
	if device := c.value("device"); device != "" {
		c.form["id"] = []string{device}
	}
}

func (c *call) credentialPolicyDeletion() deletion {
	return deletion{
		Back:    "credentials",
		Title:   "Delete %d credential policy?|Delete %d credential policies?",
		Explain: "Devices whose enrollments name it get no more certificates. Those that they have stay good.",
		Force:   "Delete it though an enrollment or a group names it",
		Done:    "%d credential policy was deleted|%d credential policies were deleted",
		gone:    fault.NotFound,
		delete: func(ctx context.Context, name string) error {
			return c.config.Issuer.DeletePolicy(ctx, name, c.force())
		},
	}
}

func confirmCredentialPolicies(c *call) error { return c.confirm(c.credentialPolicyDeletion()) }
func deleteCredentialPolicies(c *call) error  { return c.deleteSelected(c.credentialPolicyDeletion()) }

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

func (f *credentialPolicyForm) allow(names []string) {
	f.KeyTypes = nil
	for _, name := range issuance.KeyTypes {
		f.KeyTypes = append(f.KeyTypes, keyType{name, slices.Contains(names, name)})
	}
}

// readCredentialPolicy takes what was typed.
func (c *call) readCredentialPolicy() (form credentialPolicyForm, err error) {
	form = credentialPolicyForm{Name: c.r.PathValue("name"), Authority: c.value("authority"), Validity: c.value("validity"), DNSNames: c.text("dnsNames"), ETag: c.value("etag")}
	if form.New = form.Name == ""; form.New {
		form.Name = strings.TrimSpace(c.value("name"))
	}
	form.allow(c.form["keyType"])
	authorities, err := c.config.Issuer.Authorities(c.r.Context())
	for _, authority := range authorities {
		if authority.Revoked.IsZero() && authority.Certificate != "" {
			form.Authorities = append(form.Authorities, authority.Name)
		}
	}
	return form, err
}

func newCredentialPolicy(c *call) error {
	form, err := c.readCredentialPolicy()
	if err != nil {
		return err
	}
	if c.r.Method == http.MethodGet {
		form.Validity = strconv.Itoa(30 * 24 * 60)
		form.allow(issuance.KeyTypes)
	}
	return c.render(http.StatusOK, "credential", form)
}

func showCredentialPolicy(c *call) error {
	form, err := c.readCredentialPolicy()
	if err != nil {
		return err
	}
	policy, err := c.config.Issuer.Policy(c.r.Context(), form.Name)
	if err != nil {
		return err
	}
	if c.r.Method == http.MethodGet {
		form.Name, form.Authority, form.Validity, form.ETag = policy.Name, policy.Authority, strconv.Itoa(policy.ValidityMinutes), policy.ETag
		form.DNSNames = strings.Join(policy.DNSNames, "\n")
		form.allow(policy.KeyTypes)
	}
	return c.render(http.StatusOK, "credential", form)
}

func saveCredentialPolicy(c *call) error {
	form, err := c.readCredentialPolicy()
	if err != nil {
		return err
	}
	policy := issuance.Policy{Name: form.Name, Authority: form.Authority, KeyTypes: slices.Clone(c.form["keyType"]), DNSNames: strings.Fields(form.DNSNames)}
	policy.ValidityMinutes, err = strconv.Atoi(form.Validity)
	switch {
	case err != nil:
		err = fault.New(fault.ArgumentInvalid, "The validity is %.20q. It is a whole number of minutes", form.Validity)
	case len(policy.KeyTypes) == 0:
		err = fault.New(fault.ArgumentInvalid, "Tick the kinds of keys that get certificates, one at least")
	case form.New && c.hasCredentialPolicy(form.Name):
		err = fault.New(fault.Conflict, "There is a credential policy %.64q already. Change it, or choose another name", form.Name)
	default:
		_, err = c.config.Issuer.PutPolicy(c.r.Context(), policy, form.ETag)
	}
	if err != nil {
		form.Problem = fault.From(err)
		return c.render(form.Problem.Code.Status(), "credential", form)
	}
	c.say("ok", c.language.T("The credential policy %s was saved", policy.Name))
	return c.redirect("credentials")
}

func (c *call) hasCredentialPolicy(name string) bool {
	_, err := c.config.Issuer.Policy(c.r.Context(), name)
	return err == nil
}

// CredentialPath is the path of the page of a credential policy.
func (v *view) CredentialPath(name string) string { return "credential/" + url.PathEscape(name) }

// Days writes a validity in minutes as people read it.
func (v *view) Days(minutes int) string {
	switch {
	case minutes%(24*60) == 0:
		return v.N("%d day|%d days", minutes/(24*60))
	case minutes%60 == 0:
		return v.N("%d hour|%d hours", minutes/60)
	}
	return v.N("%d minute|%d minutes", minutes)
}

// Over reports whether a certificate has had its time.
func (v *view) Over(certificate issuance.Certificate) bool {
	return v.config.Now().After(certificate.NotAfter)
}
