package provisioningpages

import (
	"slices"
	"strings"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning"
)

// terms is what the forms of an individual enrollment and of a group have in
// common: how devices prove themselves, where they go, and what they begin with.
type terms struct {
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
	Policy      provisioning.ReprovisionPolicy
}{
	{"migrate", "Re-provision and migrate data", provisioning.ReprovisionPolicy{UpdateHubAssignment: true, MigrateDeviceData: true}},
	{"reset", "Re-provision and reset to initial state", provisioning.ReprovisionPolicy{UpdateHubAssignment: true}},
	{"never", "Never re-provision", provisioning.ReprovisionPolicy{}},
}

// Reprovisioning returns the choices.
func (terms) Reprovisioning() any { return reprovisioning }

// allocations are the choices of how a hub is chosen, in Azure's order.
var allocations = []struct{ Value, Text string }{
	{"", "As the service does: evenly weighted"},
	{string(provisioning.Hashed), "Evenly weighted distribution"},
	{string(provisioning.GeoLatency), "Lowest latency"},
	{string(provisioning.Static), "Static: the hub below"},
	{string(provisioning.Custom), "Custom: a web service says"},
}

// Allocations returns the choices.
func (terms) Allocations() any { return allocations }

// emptyTwin is what a form begins with, as Azure's does.
const emptyTwin = `{
  "tags": {},
  "properties": {
    "desired": {}
  }
}`

// newTerms are those that a form begins with.
func newTerms(group bool) terms {
	return terms{attestation: attestation{Group: group, Mechanism: byX509}, New: true, InitialTwin: emptyTwin, Enabled: true, Reprovision: "migrate"}
}

// termsOf are those that are stored.
func termsOf(stored *provisioning.EnrollmentSettings, group bool) terms {
	t := terms{
		attestation: attestation{Group: group, Mechanism: stored.Attestation.Type},
		Hub:         stored.HubHostName, Hubs: slices.Clone(stored.Hubs),
		Allocation: string(stored.AllocationPolicy), Credential: stored.CredentialPolicyName, Parent: stored.ParentDeviceID,
		IoTEdge: stored.Capabilities != nil && stored.Capabilities.IoTEdge,
		Enabled: stored.ProvisioningStatus != provisioning.Disabled,
		ETag:    stored.ETag,
	}
	if stored.CustomAllocationDefinition != nil {
		t.Webhook, t.Version = stored.CustomAllocationDefinition.WebhookURL, stored.CustomAllocationDefinition.APIVersion
	}
	if stored.InitialTwin != nil {
		t.InitialTwin = web.FormatJSON(stored.InitialTwin)
	}
	for _, choice := range reprovisioning {
		if stored.ReprovisionPolicy != nil && *stored.ReprovisionPolicy == choice.Policy {
			t.Reprovision = choice.Value
		}
	}
	t.setStored(stored)
	return t
}

// setStored notes what is there already, which a form need not bring again.
func (t *terms) setStored(stored *provisioning.EnrollmentSettings) {
	t.storedETag = stored.ETag
	t.Unplaced = stored.AllocationPolicy == provisioning.Static && stored.HubHostName == "" && len(stored.Hubs) == 0
	t.attestation.setStored(stored)
}

// readTerms takes what was typed, with what is wrong in it.
func (p *Pages) readTerms(c *web.Call, group bool) terms {
	t := terms{
		attestation: p.readAttestation(c, group),
		New:         c.PathValue("id") == "",
		Hub:         c.Value("hub"), Hubs: c.Values("hubs"),
		Allocation: c.Value("allocation"), Webhook: c.Value("webhook"), Version: c.Value("webhookVersion"),
		Credential: c.Value("credential"), Parent: c.Value("parent"), InitialTwin: c.Text("initialTwin"),
		Reprovision: c.Value("reprovision"),
		IoTEdge:     c.Value("iotEdge") != "", Enabled: c.Value("enabled") != "", ETag: c.Value("etag"),
		Problems: problems{},
	}
	_, t.TwinProblem = readInitialTwin(t.InitialTwin)
	return t
}

// offerHubs says which hubs the form offers: those that are linked, and those that are
// chosen though they are not linked any more. The chosen ones are spelled as the
// others, for host names have no case.
func (t *terms) offerHubs(linked []string) {
	t.LinkedHubs = slices.Clone(linked)
	spelled := func(host string) string {
		for _, known := range t.LinkedHubs {
			if strings.EqualFold(known, host) {
				return known
			}
		}
		t.LinkedHubs = append(t.LinkedHubs, host)
		return host
	}
	if t.Hub != "" {
		t.Hub = spelled(t.Hub)
	}
	for i, host := range t.Hubs {
		t.Hubs[i] = spelled(host)
	}
}

// Among reports whether a hub is one of those to choose among.
func (t terms) Among(host string) bool { return slices.Contains(t.Hubs, host) }

// check notes what is wrong with what was typed, beside what is stored.
func (t *terms) check() {
	if !t.Vanished || t.ETag == "" { // else there is something to be said first
		t.attestation.check(t.Problems)
	}
}

// wrong reports whether the form must be corrected before it can be sent on.
func (t *terms) wrong() bool { return len(t.Problems) > 0 || t.TwinProblem != nil }

// creates reports whether saving makes something that is not there.
func (t *terms) creates() bool { return t.New || t.Vanished && t.ETag == "" }

// write puts what the form asks for into what is to be stored. What the form does
// not show stays as it is.
func (t *terms) write(wanted *provisioning.EnrollmentSettings) {
	former := wanted.HubHostName
	otherHub := !strings.EqualFold(former, t.Hub)
	wanted.HubHostName, wanted.Hubs, wanted.ProvisioningStatus = t.Hub, nil, provisioning.Disabled
	if len(t.Hubs) > 0 {
		wanted.Hubs = t.Hubs
	}
	if t.Enabled {
		wanted.ProvisioningStatus = provisioning.Enabled
	}
	if t.IoTEdge || wanted.Capabilities != nil {
		wanted.Capabilities = &provisioning.Capabilities{IoTEdge: t.IoTEdge}
	}
	wanted.AllocationPolicy, wanted.CustomAllocationDefinition = provisioning.AllocationPolicy(t.Allocation), nil
	if t.Allocation == string(provisioning.Custom) {
		wanted.CustomAllocationDefinition = &provisioning.CustomAllocationDefinition{WebhookURL: t.Webhook, APIVersion: t.Version}
	}
	switch {
	case t.Hub == "" && former != "" && wanted.AllocationPolicy == provisioning.Static && len(wanted.Hubs) == 0:
		wanted.AllocationPolicy = "" // the hub was taken out, and any may have the device now
	case t.Hub != "" && otherHub && wanted.AllocationPolicy != provisioning.Custom:
		wanted.AllocationPolicy = provisioning.Static
	}
	wanted.CredentialPolicyName, wanted.ParentDeviceID = t.Credential, t.Parent
	for _, choice := range reprovisioning {
		if choice.Value == t.Reprovision {
			policy := choice.Policy
			wanted.ReprovisionPolicy = &policy
		}
	}
	wanted.InitialTwin, _ = readInitialTwin(t.InitialTwin)
	t.attestation.write(wanted)
}

// refuse notes why the service did not take what was typed: at the field, or as
// what somebody else stored meanwhile and how it differs. It returns the status to
// answer with.
func (t *terms) refuse(err error, stored, wanted string, fields ...string) int {
	problem := fault.From(err)
	if problem.Code == fault.PreconditionFailed {
		if t.Vanished {
			t.ETag = ""
		} else {
			t.Conflict, t.ETag = web.DiffLines(stored, wanted), t.storedETag
		}
	}
	switch field := t.Problems.add(err, append(fields, "hub", "credentialPolicyName", "initialTwin", "primary", "secondary")...); {
	case field != "primary" && field != "secondary":
	case t.Mechanism == bySymmetricKey:
		t.Problems[field+"Key"] = problem
	case field == "primary":
		t.Primary.Problem = problem
	default:
		t.Secondary.Problem = problem
	}
	return problem.Code.Status()
}

// bare leaves of an enrollment or group what two people may have written
// differently.
func bare(settings *provisioning.EnrollmentSettings, group bool) {
	settings.ETag = ""
	settings.CreatedDateTimeUTC, settings.LastUpdatedDateTimeUTC = provisioning.Time{}, provisioning.Time{}
	if settings.Attestation.X509 == nil {
		return
	}
	x := *settings.Attestation.X509
	settings.Attestation.X509 = &x
	if there := *certificates(&x, group); there != nil {
		*certificates(&x, group) = &provisioning.X509Certificates{Primary: described(there.Primary), Secondary: described(there.Secondary)}
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
