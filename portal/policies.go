package portal

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/berth-iot/berth/access"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
)

var policyRoutes = map[string]handler{
	"GET policies":             reading(servicePolicies),
	"GET policies/new":         reading(newPolicy),
	"POST policies/new":        writing(newPolicy, createPolicy),
	"POST policies/delete":     writing(confirmPolicy, deletePolicy),
	"GET policy/{name}":        reading(showPolicy),
	"POST policy/{name}":       writing(showPolicy, setRights),
	"POST policy/{name}/renew": writing(showPolicy, renewKey),
}

type policiesPage struct {
	Hub      string // whose policies they are; "" for the provisioning service's
	Host     string
	Policies []secret
}

func servicePolicies(c *call) error {
	service := c.config.Provisioning
	policies, err := service.Access().List(c.r.Context())
	if err != nil {
		return err
	}
	return c.render(http.StatusOK, "policies", policiesPage{"", service.Host(), c.connectionStrings(service.Host(), policies)})
}

func hubPolicies(c *call) error {
	h, err := c.hub()
	if err != nil {
		return err
	}
	policies, err := h.Access().List(c.r.Context())
	if err != nil {
		return err
	}
	return c.render(http.StatusOK, "policies", policiesPage{h.Name(), h.Host(), c.connectionStrings(h.Host(), policies)})
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

func (f *policyForm) give(rights []string) {
	f.Rights = slices.Clone(policyRights)
	for i, right := range f.Rights {
		f.Rights[i].Has = slices.Contains(rights, right.Name)
	}
}

// readPolicy takes what was typed.
func (c *call) readPolicy() policyForm {
	form := policyForm{Name: c.r.PathValue("name"), ETag: c.value("etag")}
	if form.New = form.Name == ""; form.New {
		form.Name = strings.TrimSpace(c.value("name"))
	}
	form.give(c.form["right"])
	return form
}

func newPolicy(c *call) error {
	return c.render(http.StatusOK, "policy", c.readPolicy())
}

func showPolicy(c *call) error {
	form := c.readPolicy()
	policy, err := c.config.Provisioning.Access().Get(c.r.Context(), form.Name)
	if err != nil {
		return err
	}
	if c.r.Method == http.MethodGet {
		form.Name, form.ETag = policy.Name, policy.ETag
		form.give(policy.Rights)
	}
	return c.render(http.StatusOK, "policy", form)
}

func createPolicy(c *call) error {
	form := c.readPolicy()
	policy, err := c.config.Provisioning.Access().Create(c.r.Context(), form.Name, c.form["right"])
	return c.savedPolicy(form, policy, err)
}

func setRights(c *call) error {
	form := c.readPolicy()
	policy, err := c.config.Provisioning.Access().SetRights(c.r.Context(), form.Name, c.form["right"], form.ETag)
	return c.savedPolicy(form, policy, err)
}

func (c *call) savedPolicy(form policyForm, policy access.Policy, err error) error {
	if err != nil {
		form.Problem = fault.From(err)
		return c.render(form.Problem.Code.Status(), "policy", form)
	}
	c.config.PoliciesChanged()
	c.say("ok", c.language.T("The shared access policy %s was saved", policy.Name))
	return c.redirect("policies")
}

// renewKey makes a key anew, once that is confirmed.
func renewKey(c *call) error {
	policy, err := c.config.Provisioning.Access().Get(c.r.Context(), c.r.PathValue("name"))
	if err != nil {
		return err
	}
	form := policyForm{Name: policy.Name, ETag: policy.ETag}
	form.give(policy.Rights)
	if c.value("confirm") != "yes" {
		form.Renew = c.value("key")
		return c.render(http.StatusOK, "policy", form)
	}
	policy, err = c.config.Provisioning.Access().RegenerateKey(c.r.Context(), form.Name, c.value("key"), "")
	return c.savedPolicy(form, policy, err)
}

func (c *call) policyDeletion() deletion {
	return deletion{
		Back:    "policies",
		Title:   "Delete %d shared access policy?|Delete %d shared access policies?",
		Explain: "Back ends that use its keys are refused from then on.",
		Done:    "%d shared access policy was deleted|%d shared access policies were deleted",
		gone:    fault.NotFound,
		delete: func(ctx context.Context, name string) error {
			err := c.config.Provisioning.Access().Delete(ctx, name, "")
			if err == nil {
				c.config.PoliciesChanged()
			}
			return err
		},
	}
}

func confirmPolicy(c *call) error { return c.confirm(c.policyDeletion()) }
func deletePolicy(c *call) error  { return c.deleteSelected(c.policyDeletion()) }

// PolicyPath is the path of the page of a policy.
func (v *view) PolicyPath(name string) string { return "policy/" + url.PathEscape(name) }
