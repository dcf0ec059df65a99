package provisioningpages

import (
	"slices"
	"strings"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// settingsForm is what the forms of an individual enrollment and of a group have in
// common: how devices prove themselves, where they go, and what they begin with.
type settingsForm struct {
	attestation
	New         bool
	Hub         string
	Hubs        []string // to choose among; all that are linked when empty
	Allocation  string   // policy; "" is the service's
	Webhook     string
	Version     string // of what the webhook is sent; "" is the service's
	Credential  string // credential policy
	Parent      string // device
	InitialTwin string
	Reprovision string
	IoTEdge     bool
	Enabled     bool
	ETag        string // of what was read when the form was made
	LinkedHubs  []string
	Problems    problems
	TwinProblem *web.JSONProblem
	Unplaced    bool           // stored with static allocation and without a hub
	Conflict    []web.DiffLine // somebody else saved meanwhile
	Vanished    bool           // somebody else deleted it meanwhile

	storedETag string
}

// reprovisioning are the choices of what happens to a device's data when it
// registers again, in Azure's order.
var reprovisioning = []struct {
	Value, Text string
	Policy      enroll.ReprovisionPolicy
}{
	{
		"migrate",
		"Re-provision and migrate data",
		enroll.ReprovisionPolicy{UpdateHubAssignment: true, MigrateDeviceData: true},
	},
	{"reset", "Re-provision and reset to initial state", enroll.ReprovisionPolicy{UpdateHubAssignment: true}},
	{"never", "Never re-provision", enroll.ReprovisionPolicy{}},
}

// Reprovisioning returns the choices.
func (settingsForm) Reprovisioning() any { return reprovisioning }

// allocations are the choices of how a hub is chosen, in Azure's order.
var allocations = append([]struct{ Value, Text string }{{"", "As the service does: evenly weighted"}}, policies()...)

// policies are the choices that are policies.
func policies() (choices []struct{ Value, Text string }) {
	for _, policy := range allocation.Policies() {
		choices = append(choices, struct{ Value, Text string }{string(policy), policy.Label()})
	}
	return choices
}

// Allocations returns the choices.
func (settingsForm) Allocations() any { return allocations }

// emptyTwin is what a form begins with, as Azure's does.
const emptyTwin = `{
  "tags": {},
  "properties": {
    "desired": {}
  }
}`

// newSettings are those that a form begins with.
func newSettings(group bool) settingsForm {
	return settingsForm{
		attestation: attestation{Group: group, Mechanism: byX509},
		New:         true,
		InitialTwin: emptyTwin,
		Enabled:     true,
		Reprovision: "migrate",
	}
}

// settingsOf are those that are stored.
func settingsOf(stored *enroll.Settings, group bool) settingsForm {
	f := settingsForm{
		attestation: attestation{Group: group, Mechanism: stored.Attestation.Type},
		Hub:         stored.HubHostName,
		Hubs:        slices.Clone(stored.Hubs),
		Allocation:  string(stored.AllocationPolicy),
		Credential:  stored.CredentialPolicyName,
		Parent:      stored.ParentDeviceID,
		IoTEdge:     stored.Capabilities != nil && stored.Capabilities.IoTEdge,
		Enabled:     stored.ProvisioningStatus != enroll.Disabled,
		ETag:        stored.ETag,
	}
	if custom := stored.CustomAllocationDefinition; custom != nil {
		f.Webhook, f.Version = custom.WebhookURL, custom.APIVersion
	}
	if stored.InitialTwin != nil {
		f.InitialTwin = web.FormatJSON(stored.InitialTwin)
	}
	for _, choice := range reprovisioning {
		if stored.ReprovisionPolicy != nil && *stored.ReprovisionPolicy == choice.Policy {
			f.Reprovision = choice.Value
		}
	}
	f.setStored(stored)
	return f
}

// setStored notes what is there already, which a form need not bring again.
func (f *settingsForm) setStored(stored *enroll.Settings) {
	f.storedETag = stored.ETag
	f.Unplaced = stored.AllocationPolicy.Binds() && stored.HubHostName == "" && len(stored.Hubs) == 0
	f.attestation.setStored(stored)
}

// readSettings takes what was typed, with what is wrong in it.
func (p *Pages) readSettings(c *web.Call, group bool) settingsForm {
	f := settingsForm{
		attestation: p.readAttestation(c, group),
		New:         c.PathValue("id") == "",
		Hub:         c.Value("hub"), Hubs: c.Values("hubs"),
		Allocation: c.Value("allocation"), Webhook: c.Value("webhook"), Version: c.Value("webhookVersion"),
		Credential: c.Value("credential"), Parent: c.Value("parent"), InitialTwin: c.Text("initialTwin"),
		Reprovision: c.Value("reprovision"),
		IoTEdge:     c.Value("iotEdge") != "", Enabled: c.Value("enabled") != "", ETag: c.Value("etag"),
		Problems: problems{},
	}
	_, f.TwinProblem = readInitialTwin(f.InitialTwin)
	return f
}

// offerHubs says which hubs the form offers: those that are linked, and those that are
// chosen though they are not linked any more. The chosen ones are spelled as the
// others, for host names have no case.
func (f *settingsForm) offerHubs(linked []string) {
	f.LinkedHubs = slices.Clone(linked)
	spelled := func(host string) string {
		for _, known := range f.LinkedHubs {
			if strings.EqualFold(known, host) {
				return known
			}
		}
		f.LinkedHubs = append(f.LinkedHubs, host)
		return host
	}
	if f.Hub != "" {
		f.Hub = spelled(f.Hub)
	}
	for i, host := range f.Hubs {
		f.Hubs[i] = spelled(host)
	}
}

// Among reports whether a hub is one of those to choose among.
func (f settingsForm) Among(host string) bool { return slices.Contains(f.Hubs, host) }

// check notes what is wrong with what was typed, beside what is stored.
func (f *settingsForm) check() {
	if !f.Vanished || f.ETag == "" { // else there is something to be said first
		f.attestation.check(f.Problems)
	}
}

// invalid reports whether the form must be corrected before it can be sent on.
func (f *settingsForm) invalid() bool { return len(f.Problems) > 0 || f.TwinProblem != nil }

// creates reports whether saving makes something that is not there.
func (f *settingsForm) creates() bool { return f.New || f.Vanished && f.ETag == "" }

// apply puts what the form asks for into what is to be stored. What the form does
// not show stays as it is.
func (f *settingsForm) apply(wanted *enroll.Settings) {
	former := wanted.HubHostName
	otherHub := !strings.EqualFold(former, f.Hub)
	wanted.HubHostName, wanted.Hubs, wanted.ProvisioningStatus = f.Hub, nil, enroll.Disabled
	if len(f.Hubs) > 0 {
		wanted.Hubs = f.Hubs
	}
	if f.Enabled {
		wanted.ProvisioningStatus = enroll.Enabled
	}
	if f.IoTEdge || wanted.Capabilities != nil {
		wanted.Capabilities = &enroll.Capabilities{IoTEdge: f.IoTEdge}
	}
	chosen, custom := allocation.Policy(f.Allocation), allocation.Custom
	// Whoever goes over to another policy is done with the web service; one that was stored
	// beside another policy stays while the form has it.
	keeps := f.Webhook+f.Version != "" && wanted.AllocationPolicy != custom && wanted.CustomAllocationDefinition != nil
	wanted.AllocationPolicy, wanted.CustomAllocationDefinition = chosen, nil
	if chosen == custom || keeps {
		wanted.CustomAllocationDefinition = &allocation.CustomDefinition{WebhookURL: f.Webhook, APIVersion: f.Version}
	}
	switch {
	case f.Hub == "" && former != "" && wanted.AllocationPolicy == allocation.Static && len(wanted.Hubs) == 0:
		wanted.AllocationPolicy = "" // the hub was taken out, and any may have the device now
	case f.Hub != "" && otherHub && wanted.AllocationPolicy != allocation.Custom:
		wanted.AllocationPolicy = allocation.Static
	}
	wanted.CredentialPolicyName, wanted.ParentDeviceID = f.Credential, f.Parent
	for _, choice := range reprovisioning {
		if choice.Value == f.Reprovision {
			policy := choice.Policy
			wanted.ReprovisionPolicy = &policy
		}
	}
	wanted.InitialTwin, _ = readInitialTwin(f.InitialTwin)
	f.attestation.apply(wanted)
}

// refuse notes why the service did not take what was typed: at the field, or as
// what somebody else stored meanwhile and how it differs. It returns the status to
// answer with.
func (f *settingsForm) refuse(err error, stored, wanted string, fields ...string) int {
	problem := fault.From(err)
	if problem.Code == fault.PreconditionFailed {
		if f.Vanished {
			f.ETag = ""
		} else {
			f.Conflict, f.ETag = web.DiffLines(stored, wanted), f.storedETag
		}
	}
	fields = append(fields, "hub", "credentialPolicyName", "initialTwin", "primary", "secondary")
	switch field := f.Problems.add(err, fields...); {
	case field != "primary" && field != "secondary":
	case f.Mechanism == bySymmetricKey:
		f.Problems[field+"Key"] = problem
	case field == "primary":
		f.Primary.Problem = problem
	default:
		f.Secondary.Problem = problem
	}
	return problem.Code.Status()
}

// clearIncidental leaves of an enrollment or group what two people may have written
// differently.
func clearIncidental(settings *enroll.Settings, group bool) {
	settings.ETag = ""
	settings.CreatedDateTimeUTC, settings.LastUpdatedDateTimeUTC = provisioning.Time{}, provisioning.Time{}
	if settings.Attestation.X509 == nil {
		return
	}
	x := *settings.Attestation.X509
	settings.Attestation.X509 = &x
	if there := *certificates(&x, group); there != nil {
		*certificates(&x, group) = &enroll.X509Certificates{
			Primary:   describe(there.Primary),
			Secondary: describe(there.Secondary),
		}
	}
}

// problems are what is wrong with a form, by field; "" is the whole.
type problems map[string]*fault.Error

// add puts a fault to the field it names, if the form has that, and returns it.
func (p problems) add(err error, fields ...string) string {
	problem := fault.From(err)
	for _, field := range fields {
		if problem.Info["field"] == field {
			p[field] = problem
			return field
		}
	}
	p[""] = problem
	return ""
}
