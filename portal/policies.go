package portal

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/berth-iot/berth/access"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning"
)

func (p *pages) policyRoutes() web.Routes {
	return web.Routes{
		"GET hubs/{hub}/policies":  web.RequireSession(p.listHubPolicies),
		"GET policies":             web.RequireSession(p.listServicePolicies),
		"GET policies/new":         web.RequireSession(p.newPolicy),
		"POST policies/new":        web.RequireOperator(p.newPolicy, p.createPolicy),
		"POST policies/delete":     web.HandleDeletion(p.policyDeletion),
		"GET policy/{name}":        web.RequireSession(p.showPolicy),
		"POST policy/{name}":       web.RequireOperator(p.showPolicy, p.setRights),
		"POST policy/{name}/renew": web.RequireOperator(p.showPolicy, p.renewKey),
	}
}

type policiesPage struct {
	Hub      string // whose policies they are; "" for the provisioning service's
	Host     string
	Policies []secret
}

func (p *pages) listServicePolicies(c *web.Call) error {
	service := p.Provisioning
	policies, err := service.Access().List(c.Context())
	if err != nil {
		return err
	}
	return c.Render(
		http.StatusOK,
		"policies",
		policiesPage{"", service.Host(), p.connectionStrings(c, service.Host(), policies)},
	)
}

func (p *pages) listHubPolicies(c *web.Call) error {
	h, err := p.hubs.Hub(c)
	if err != nil {
		return err
	}
	policies, err := h.Access().List(c.Context())
	if err != nil {
		return err
	}
	return c.Render(
		http.StatusOK,
		"policies",
		policiesPage{h.Name(), h.Host(), p.connectionStrings(c, h.Host(), policies)},
	)
}

// policyForm is a policy of the provisioning service as it is typed. Its keys are on
// the page of all policies.
type policyForm struct {
	Name, ETag string
	New        bool
	Rights     []policyRight
	Renew      string // a key that is to be made anew, if that is confirmed
	Problem    *fault.Error
}

// policyRight is a right that a policy may have.
type policyRight struct {
	Name, Text string
	Has        bool
}

// policyRights are what the rights allow.
var policyRights = []policyRight{
	{Name: provisioning.ServiceConfig, Text: "change the service: hubs, policies, certificate authorities"},
	{Name: provisioning.EnrollmentRead, Text: "read enrollments and groups, their keys too"},
	{Name: provisioning.EnrollmentWrite, Text: "create, change and delete enrollments and groups"},
	{Name: provisioning.RegistrationStatusRead, Text: "read registration records and attempts"},
	{Name: provisioning.RegistrationStatusWrite, Text: "delete registration records"},
}

func (f *policyForm) markRights(rights []string) {
	f.Rights = slices.Clone(policyRights)
	for i, right := range f.Rights {
		f.Rights[i].Has = slices.Contains(rights, right.Name)
	}
}

// readPolicy takes what was typed.
func (p *pages) readPolicy(c *web.Call) policyForm {
	form := policyForm{Name: c.PathValue("name"), ETag: c.Value("etag")}
	if form.New = form.Name == ""; form.New {
		form.Name = strings.TrimSpace(c.Value("name"))
	}
	form.markRights(c.Form()["right"])
	return form
}

func (p *pages) newPolicy(c *web.Call) error {
	return c.Render(http.StatusOK, "policy", p.readPolicy(c))
}

func (p *pages) showPolicy(c *web.Call) error {
	form := p.readPolicy(c)
	policy, err := p.Provisioning.Access().Get(c.Context(), form.Name)
	if err != nil {
		return err
	}
	if c.Request.Method == http.MethodGet {
		form.Name, form.ETag = policy.Name, policy.ETag
		form.markRights(policy.Rights)
	}
	return c.Render(http.StatusOK, "policy", form)
}

func (p *pages) createPolicy(c *web.Call) error {
	form := p.readPolicy(c)
	policy, err := p.Provisioning.Access().Create(c.Context(), form.Name, c.Form()["right"])
	return p.answerSaved(c, form, policy, err)
}

func (p *pages) setRights(c *web.Call) error {
	form := p.readPolicy(c)
	policy, err := p.Provisioning.Access().SetRights(c.Context(), form.Name, c.Form()["right"], form.ETag)
	return p.answerSaved(c, form, policy, err)
}

func (p *pages) answerSaved(c *web.Call, form policyForm, policy access.Policy, err error) error {
	if err != nil {
		form.Problem = fault.From(err)
		return c.Render(form.Problem.Code.Status(), "policy", form)
	}
	p.PoliciesChanged()
	c.Notify("ok", c.T("The shared access policy %s was saved", policy.Name))
	return c.Redirect("policies")
}

// renewKey makes a key anew, once that is confirmed.
func (p *pages) renewKey(c *web.Call) error {
	policy, err := p.Provisioning.Access().Get(c.Context(), c.PathValue("name"))
	if err != nil {
		return err
	}
	form := policyForm{Name: policy.Name, ETag: policy.ETag}
	form.markRights(policy.Rights)
	if c.Value("confirm") != "yes" {
		form.Renew = c.Value("key")
		return c.Render(http.StatusOK, "policy", form)
	}
	policy, err = p.Provisioning.Access().RegenerateKey(c.Context(), form.Name, c.Value("key"), "")
	return p.answerSaved(c, form, policy, err)
}

func (p *pages) policyDeletion(c *web.Call) (web.Deletion, error) {
	return web.Deletion{
		Back:    "policies",
		Title:   "Delete %d shared access policy?|Delete %d shared access policies?",
		Explain: "Back ends that use its keys are refused from then on.",
		Done:    "%d shared access policy was deleted|%d shared access policies were deleted",
		Gone:    fault.NotFound,
		Delete: func(ctx context.Context, name string) error {
			err := p.Provisioning.Access().Delete(ctx, name, "")
			if err == nil {
				p.PoliciesChanged()
			}
			return err
		},
	}, nil
}

// policyPath is the path of the page of a policy.
func policyPath(name string) string { return "policy/" + web.Segment(name) }
