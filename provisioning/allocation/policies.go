package allocation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// Policy is how a hub is chosen for a device.
type Policy string

// The policies. Each is a file, and a row of policies.
const (
	Hashed     Policy = "hashed"     // evenly over the hubs by their weights, the same one for the same registration id
	GeoLatency Policy = "geoLatency" // the hub with the lowest latency from the device's network
	Static     Policy = "static"     // the hub that the enrollment names
	Custom     Policy = "custom"     // as the operator's web service says
)

// Default counts where no policy is named.
const Default = Hashed

// policies are all there are, in Azure's order, the default first.
var policies = []definition{
	{name: Hashed, label: "Evenly weighted distribution", note: "evenly weighted", choose: chooseHashed},
	{name: GeoLatency, label: "Lowest latency", note: "lowest latency", choose: chooseNearest},
	{name: Static, label: "Static: the hub below", binds: true, check: checkStatic, choose: chooseStatic},
	{name: Custom, label: "Custom: a web service says", asks: true, check: checkCustom, choose: chooseCustom},
}

// definition is one policy.
type definition struct {
	name  Policy
	label string // in forms, where it has its translations
	note  string // in the help of commands; "" for a name that says it
	binds bool   // the devices belong to the one hub that the enrollment names
	asks  bool   // the operator's web service is asked, which takes time and may fail

	// check says what is wrong with settings of this policy, in fault 400004; nil for
	// nothing. Which hubs they name was checked before.
	check func(Settings) error

	// choose chooses among the hubs that the settings allow, of which there may be none.
	choose func(ctx context.Context, a *Allocator, request Request, hubs []*linkedhub.Linked) (choice, error)
}

// choice is the hub that a policy chose, with its reason.
type choice struct {
	hub       *linkedhub.Linked // nil when there is none
	reason    fault.Text        // such as: evenly weighted
	latencies []time.Duration   // to each of the hubs, where that counted; negative is not known
	answer    answer            // of the web service that was asked
}

// find returns a policy by its name, in any case.
func find(name Policy) (definition, bool) {
	i := slices.IndexFunc(policies, func(d definition) bool { return strings.EqualFold(string(d.name), string(name)) })
	if i < 0 {
		return definition{}, false
	}
	return policies[i], true
}

// definition is the policy's row; that of the default for "".
func (p Policy) definition() definition {
	if found, ok := find(p); ok {
		return found
	}
	return policies[0]
}

// Policies returns all policies, in Azure's order.
func Policies() []Policy {
	names := make([]Policy, len(policies))
	for i, definition := range policies {
		names[i] = definition.name
	}
	return names
}

// ParsePolicy returns the policy of a name in any case, as Azure takes the words of its
// contract. It returns what is no policy as it is.
func ParsePolicy(name string) Policy {
	if found, ok := find(Policy(name)); ok {
		return found.name
	}
	return Policy(name)
}

// Label is what forms call the policy, in English.
func (p Policy) Label() string { return p.definition().label }

// Binds reports whether the policy is that of devices which belong to the one hub that
// their enrollment names.
func (p Policy) Binds() bool { return p.definition().binds }

// Asks reports whether the policy asks the operator's web service.
func (p Policy) Asks() bool { return p.definition().asks }

// Alternatives are the policies for the help of commands, such as: hashed (evenly
// weighted) or static.
func Alternatives() string {
	texts := make([]string, len(policies))
	for i, definition := range policies {
		texts[i] = string(definition.name)
		if definition.note != "" {
			texts[i] = fmt.Sprintf("%s (%s)", definition.name, definition.note)
		}
	}
	last := len(texts) - 1
	return strings.Join(texts[:last], ", ") + " or " + texts[last]
}

// checkPolicy returns the policy as it is spelled, "" for "", and fault 400004 for what
// is none.
func checkPolicy(name Policy) (Policy, error) {
	if name == "" {
		return "", nil
	}
	found, ok := find(name)
	if !ok {
		names := make([]string, len(policies))
		for i, definition := range policies {
			names[i] = string(definition.name)
		}
		last := len(names) - 1
		return name, fault.New(fault.ArgumentInvalid, "allocationPolicy must be %s or %s, not %.64q",
			strings.Join(names[:last], ", "), names[last], name)
	}
	return found.name, nil
}
