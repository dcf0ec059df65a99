// Package allocation chooses the hub that a device goes to, among those that are
// linked. How it is chosen is a policy: a file each, and a row in policies.
package allocation

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// Config is what an Allocator goes by.
type Config struct {
	Links    *linkedhub.Links
	Networks *Networks
	Webhook  Webhook // of custom allocation

	// Outgoing waits until a webhook at a host may be asked, as long as the context goes on;
	// end says that it was. nil never waits.
	Outgoing func(ctx context.Context, host string) (end func(), err error)
}

// Allocator chooses hubs. Its methods may be called at once from many goroutines.
type Allocator struct{ config Config }

// New returns an allocator.
func New(config Config) *Allocator { return &Allocator{config} }

// Settings are what an enrollment says of how a hub is chosen for its devices.
type Settings struct {
	Policy      Policy
	HubHostName string   // the hub that the enrollment is bound to; "" for none
	Hubs        []string // host names to choose from; all linked hubs that apply when empty
	Custom      *CustomDefinition
}

// Equal reports whether both say the same.
func (s Settings) Equal(other Settings) bool {
	return s.Policy == other.Policy && s.HubHostName == other.HubHostName && slices.Equal(s.Hubs, other.Hubs) &&
		reflect.DeepEqual(s.Custom, other.Custom)
}

// Names reports whether the settings name the hub.
func (s Settings) Names(host string) bool {
	is := func(name string) bool { return strings.EqualFold(name, host) }
	return is(s.HubHostName) || slices.ContainsFunc(s.Hubs, is)
}

// Unplaced reports whether the policy binds the devices to a hub and none is named. As
// in Azure it can be written so.
func (s Settings) Unplaced() bool {
	return s.Policy.Binds() && s.HubHostName == "" && len(s.Hubs) == 0
}

// Check holds settings that are to be written against the hubs that are linked and
// against their policy, which it spells as the contract does. prior are those that they
// replace, nil for none: a hub that these name already need not be linked. It returns
// fault 400004.
func (a *Allocator) Check(settings, prior *Settings) error {
	if slices.Contains(settings.Hubs, "") { // or null: nobody is that, and no device could be assigned
		return fault.New(fault.ArgumentInvalid, "iotHubs has an entry that is empty. Leave it out")
	}
	hosts := a.config.Links.Hosts()
	for _, name := range append(slices.Clone(settings.Hubs), settings.HubHostName) {
		if name != "" && !(prior != nil && prior.Names(name)) && !slices.ContainsFunc(hosts,
			func(host string) bool { return strings.EqualFold(host, name) }) {
			return fault.New(fault.ArgumentInvalid, "The hub %.253q is not linked to this service. Linked are: %s",
				name,
				strings.Join(hosts, ", "))
		}
	}
	bound := func(name string) bool { return strings.EqualFold(name, settings.HubHostName) }
	if settings.HubHostName != "" && len(settings.Hubs) > 0 && !slices.ContainsFunc(settings.Hubs, bound) {
		return fault.New(fault.ArgumentInvalid,
			"iotHubHostName is %.253q, and it is not among iotHubs, %s. Leave one of the two out",
			settings.HubHostName, strings.Join(settings.Hubs, ", "))
	}
	var err error
	if settings.Policy, err = checkPolicy(settings.Policy); err != nil {
		return err
	}
	if check := settings.Policy.definition().check; check != nil {
		return check(*settings)
	}
	return nil
}

// Candidates returns the linked hubs that settings allow.
func (a *Allocator) Candidates(settings Settings) (allowed []*linkedhub.Linked) {
	if settings.Unplaced() {
		return nil
	}
	names := settings.Hubs
	if settings.HubHostName != "" {
		names = []string{settings.HubHostName}
	}
	for _, hub := range a.config.Links.All() {
		if len(names) == 0 && hub.Applies() || slices.ContainsFunc(names, hub.Is) {
			allowed = append(allowed, hub)
		}
	}
	return allowed
}

// Request is a device that a hub is chosen for.
type Request struct {
	Settings
	RegistrationID string
	DeviceID       string
	RemoteAddr     string // that it comes from, with or without a port
	AssignedHub    string // host name of the hub that it has; "" for none
	Keep           bool   // it stays in the hub that it has while that is linked

	// Body is what the operator's web service is sent, JSON, with the host names of the
	// hubs to choose among.
	Body func(ctx context.Context, hosts []string) ([]byte, error)
}

// Decision is the choice of a hub, with its reasons.
type Decision struct {
	Hub        *linkedhub.Linked // nil when there is none
	Candidates []Candidate
	Reason     fault.Text // such as: evenly weighted, of 3

	// As the operator's web service answered.
	InitialTwin *linkedhub.InitialTwin // in place of the enrollment's; nil leaves that
	Payload     json.RawMessage        // for the device
}

// Candidate is a hub that a device could be assigned to, and what speaks for it.
type Candidate struct {
	HostName      string   `json:"iotHubHostName"`
	Weight        int      `json:"allocationWeight"`
	Location      string   `json:"location,omitempty"`
	LatencyMillis *float64 `json:"latencyMillis,omitempty"` // from the device's network, as far as it is known
	Chosen        bool     `json:"chosen"`
}

// Choose chooses the hub for a device. A hub that it has already, and that its
// enrollment keeps, stays. Only a policy that asks the operator's web service asks
// anybody, and can fail: then the error is an attest.Failure, or that of Request.Body.
func (a *Allocator) Choose(ctx context.Context, request Request) (Decision, error) {
	hubs := a.Candidates(request.Settings)
	var chosen choice
	if present := a.config.Links.Find(request.AssignedHub); present != nil && request.Keep {
		chosen.hub, chosen.reason = present, fault.Say("the hub it has, which the enrollment never changes")
	} else if request.Unplaced() {
		return Decision{Reason: fault.Say("static, and the enrollment names no hub")}, nil
	} else {
		var err error
		if chosen, err = request.Policy.definition().choose(ctx, a, request, hubs); err != nil {
			return Decision{}, err
		}
	}
	decision := Decision{Hub: chosen.hub, Reason: fault.Say("%s, of %d", chosen.reason, len(hubs)),
		InitialTwin: chosen.answer.InitialTwin, Payload: chosen.answer.Payload}
	for i, hub := range hubs {
		candidate := Candidate{HostName: hub.Host(), Weight: hub.Weight(), Location: hub.Link.Location,
			Chosen: hub == chosen.hub}
		if chosen.latencies != nil && chosen.latencies[i] >= 0 {
			millis := float64(chosen.latencies[i]) / float64(time.Millisecond)
			candidate.LatencyMillis = &millis
		}
		decision.Candidates = append(decision.Candidates, candidate)
	}
	return decision, nil
}
