package provisioning

import (
	"context"
	"encoding/json"
	"errors"
	"hash/fnv"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/guard"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// admission is what the enrollment's device brings to its hub.
func (e Enrollment) admission() linkedhub.Admission {
	admission := linkedhub.Admission{
		DeviceID:       e.deviceID(),
		IoTEdge:        e.Capabilities != nil && e.Capabilities.IoTEdge,
		ParentDeviceID: e.ParentDeviceID,
		Twin:           e.InitialTwin,
	}
	if keys := e.Attestation.SymmetricKey; keys != nil {
		admission.PrimaryKey, admission.SecondaryKey = keys.PrimaryKey, keys.SecondaryKey
	} else {
		admission.PrimaryThumbprint, admission.SecondaryThumbprint = e.thumbprints()
	}
	return admission
}

func (e Enrollment) deviceID() string {
	if e.DeviceID != "" {
		return e.DeviceID
	}
	return e.RegistrationID
}

// policy is how a hub is chosen for the enrollment's device.
func (e Enrollment) policy() AllocationPolicy {
	if e.AllocationPolicy == "" {
		return Hashed
	}
	return e.AllocationPolicy
}

// unplaced reports whether the enrollment has static allocation and names no hub. As in
// Azure it can be written so.
func (e Enrollment) unplaced() bool {
	return e.policy() == Static && e.HubHostName == "" && len(e.Hubs) == 0
}

// candidates returns the linked hubs that an enrollment allows.
func (s *Service) candidates(enrollment Enrollment) (allowed []*linkedhub.Linked) {
	if enrollment.unplaced() {
		return nil
	}
	names := enrollment.Hubs
	if enrollment.HubHostName != "" {
		names = []string{enrollment.HubHostName}
	}
	for _, hub := range s.links.All() {
		if len(names) == 0 && hub.Applies() || slices.ContainsFunc(names, hub.Is) {
			allowed = append(allowed, hub)
		}
	}
	return allowed
}

// Candidate is a hub that a device could be assigned to, and what speaks for it.
type Candidate struct {
	HostName      string   `json:"iotHubHostName"`
	Weight        int      `json:"allocationWeight"`
	Location      string   `json:"location,omitempty"`
	LatencyMillis *float64 `json:"latencyMillis,omitempty"` // from the device's network, as far as it is known
	Chosen        bool     `json:"chosen"`
}

// allocation is the choice of a hub, with its reasons.
type allocation struct {
	hub        *linkedhub.Linked // nil when there is none
	candidates []Candidate
	reason     fault.Text       // such as: evenly weighted, of 3
	answer     allocationAnswer // of the webhook, with custom allocation
}

// allocate chooses the hub for a device. A hub that it has already, and that its
// policy keeps, stays. Only custom allocation asks anybody, and can fail.
func (s *Service) allocate(ctx context.Context, enrollment Enrollment, intent intent, pending record) (allocation, error) {
	hubs := s.candidates(enrollment)
	present := s.links.Find(pending.AssignedHub)
	chosen := allocation{}
	var err error
	var latencies []time.Duration
	switch policy := enrollment.policy(); {
	case present != nil && !enrollment.ReprovisionPolicy.UpdateHubAssignment:
		chosen.hub, chosen.reason = present, fault.Say("the hub it has, which the enrollment never changes")
	case policy == Custom:
		if chosen.hub, chosen.answer, err = s.askWebhook(ctx, enrollment, intent, pending, hubs); err != nil {
			return chosen, err
		}
		chosen.reason = fault.Say("as the webhook says")
	case enrollment.unplaced():
		chosen.reason = fault.Say("static, and the enrollment names no hub")
		return chosen, nil
	case policy == Static:
		chosen.hub, chosen.reason = weighted(hubs, intent.RegistrationID), fault.Say("static")
	case policy == GeoLatency:
		latencies = s.latencies(hubs, intent.RemoteAddr)
		chosen.hub, chosen.reason = nearest(hubs, latencies, present, intent.RegistrationID)
	default:
		chosen.hub, chosen.reason = weighted(hubs, intent.RegistrationID), fault.Say("evenly weighted")
	}
	chosen.reason = fault.Say("%s, of %d", chosen.reason, len(hubs))
	for i, hub := range hubs {
		candidate := Candidate{HostName: hub.Host(), Weight: hub.Weight(), Location: hub.Link.Location, Chosen: hub == chosen.hub}
		if latencies != nil && latencies[i] >= 0 {
			millis := float64(latencies[i]) / float64(time.Millisecond)
			candidate.LatencyMillis = &millis
		}
		chosen.candidates = append(chosen.candidates, candidate)
	}
	return chosen, nil
}

// weighted picks the hub for a registration id: of all candidates the one with the
// highest score of hash and weight (weighted rendezvous hashing). Each gets its
// share, the choice is the same each time, and a hub that is added takes only its
// share. Hubs of weight 0 get nothing, unless there are no others.
func weighted(hubs []*linkedhub.Linked, registrationID string) *linkedhub.Linked {
	var best *linkedhub.Linked
	highest := math.Inf(-1)
	for _, hub := range hubs {
		hash := fnv.New64a()
		hash.Write([]byte(key(registrationID)))
		hash.Write([]byte{0})
		hash.Write([]byte(strings.ToLower(hub.Host())))
		uniform := (float64(mix(hash.Sum64())>>11) + 0.5) / (1 << 53) // in (0, 1)
		score := float64(hub.Weight()) / -math.Log(uniform)
		if best == nil || score > highest {
			best, highest = hub, score
		}
	}
	return best
}

// mix spreads the bits of a hash whose inputs differ in few of them.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// A device that has a hub stays there while another is not better by more than
// this and a quarter: measured latencies waver.
const latencyTolerance = 5 * time.Millisecond

// nearest picks the hub with the lowest latency. Those with the same are weighted;
// hubs of no known latency count only when there are no others.
func nearest(hubs []*linkedhub.Linked, latencies []time.Duration, present *linkedhub.Linked, registrationID string,
) (*linkedhub.Linked, fault.Text) {
	lowest := time.Duration(-1)
	for i, hub := range hubs {
		if latency := latencies[i]; latency >= 0 && hub.Weight() > 0 && (lowest < 0 || latency < lowest) {
			lowest = latency
		}
	}
	if lowest < 0 {
		return weighted(hubs, registrationID),
			fault.Say("lowest latency, but nothing is known of the device's network: evenly weighted")
	}
	var best []*linkedhub.Linked
	for i, hub := range hubs {
		if hub == present && hub.Weight() > 0 && latencies[i] >= 0 && latencies[i] <= lowest+lowest/4+latencyTolerance {
			return hub, fault.Say("lowest latency: the hub it has, at %s", latencies[i])
		}
		if latencies[i] == lowest && hub.Weight() > 0 {
			best = append(best, hub)
		}
	}
	return weighted(best, registrationID), fault.Say("lowest latency, %s", lowest)
}

// latencies returns what is known of the way from a device to each hub: by the
// device's network and the hub's location, else as measured; -1 is not known.
func (s *Service) latencies(hubs []*linkedhub.Linked, remote string) []time.Duration {
	known := make([]time.Duration, len(hubs))
	networks := s.networks.of(remote)
	for i, hub := range hubs {
		known[i] = -1
		for _, network := range networks {
			if millis, ok := network.Latencies[strings.ToLower(hub.Link.Location)]; ok && hub.Link.Location != "" {
				known[i] = time.Duration(millis * float64(time.Millisecond))
				break
			}
		}
		if measured := hub.Latency(); known[i] < 0 && measured > 0 {
			known[i] = measured
		}
	}
	return known
}

// PreviewRequest is a device whose allocation somebody wants to know beforehand.
type PreviewRequest struct {
	RegistrationID string          `json:"registrationId"`
	GroupID        string          `json:"enrollmentGroupId,omitempty"` // of a device that has no individual enrollment
	RemoteAddress  string          `json:"remoteAddress,omitempty"`     // IP address it would come from
	Payload        json.RawMessage `json:"payload,omitempty"`           // what it would send along, for custom allocation
}

// Preview is where a device would go if it registered now, and why.
type Preview struct {
	RegistrationID string           `json:"registrationId"`
	GroupID        string           `json:"enrollmentGroupId,omitempty"`
	Policy         AllocationPolicy `json:"allocationPolicy"`
	HubHostName    string           `json:"iotHubHostName,omitempty"` // none when there is no hub for it
	DeviceID       string           `json:"deviceId"`
	Reason         string           `json:"reason"`
	ReasonText     fault.Text       `json:"-"` // the same, for other languages
	CurrentHub     string           `json:"currentIotHubHostName,omitempty"`
	Substatus      Substatus        `json:"substatus,omitempty"` // what a device of the api-version 2019-03-31 would be told
	Candidates     []Candidate      `json:"candidates"`

	// What would have the device refused before that: its enrollment or group is disabled,
	// or it has an enrollment of its own and does not come by the group.
	Disabled      bool `json:"disabled,omitempty"`
	OwnEnrollment bool `json:"ownEnrollment,omitempty"`
}

// PreviewAllocation says where a device would go, and changes nothing. With custom
// allocation the webhook is asked, as it would be. It returns the faults 404201 and
// 404204 for what is not enrolled, and those of the webhook.
func (s *Service) PreviewAllocation(ctx context.Context, request PreviewRequest) (Preview, error) {
	if err := checkRegistrationID(request.RegistrationID); err != nil {
		return Preview{}, err
	}
	if request.RemoteAddress != "" && !guard.AddressOf(request.RemoteAddress).IsValid() {
		return Preview{}, fault.New(fault.ArgumentInvalid, "remoteAddress is %.64q. It is an IP address", request.RemoteAddress)
	}
	if len(request.Payload) > maxRequest {
		return Preview{}, fault.New(fault.ArgumentInvalid, "payload has %d bytes, the limit is %d", len(request.Payload), maxRequest)
	}
	if err := linkedhub.CheckFree("payload", request.Payload); err != nil {
		return Preview{}, err
	}
	preview := Preview{RegistrationID: request.RegistrationID, GroupID: request.GroupID}
	if request.GroupID != "" {
		_, err := s.enrollment(ctx, request.RegistrationID)
		if preview.OwnEnrollment = err == nil; err != nil && !errors.Is(err, fault.EnrollmentNotFound) {
			return Preview{}, err
		}
	}
	asked := intent{RegistrationID: request.RegistrationID, GroupID: request.GroupID, RemoteAddr: request.RemoteAddress, Payload: request.Payload}
	var enrollment Enrollment
	var err error
	if request.GroupID == "" {
		enrollment, err = s.enrollment(ctx, request.RegistrationID)
	} else {
		var group storedGroup
		group, err = s.group(ctx, request.GroupID)
		enrollment = group.member(request.RegistrationID)
	}
	if err != nil {
		return Preview{}, err
	}
	if asked.Mechanism = enrollment.Attestation.Type; asked.Mechanism == byX509 && enrollment.Attestation.X509 != nil && enrollment.Attestation.X509.ClientCertificates != nil {
		asked.Certificate = enrollment.Attestation.X509.ClientCertificates.Primary.Info
	}
	pending, err := s.record(ctx, request.RegistrationID)
	if err != nil && fault.From(err).Code != fault.RegistrationNotFound {
		return Preview{}, err
	}
	chosen, err := s.allocate(ctx, enrollment, asked, pending)
	if err != nil {
		return Preview{}, detailed(ctx, err)
	}
	preview.Policy, preview.Candidates = enrollment.policy(), append([]Candidate{}, chosen.candidates...) // [] in JSON
	preview.Reason, preview.ReasonText = chosen.reason.String(), chosen.reason
	preview.CurrentHub, preview.DeviceID = pending.AssignedHub, enrollment.deviceID()
	preview.Disabled = enrollment.ProvisioningStatus == Disabled
	if chosen.hub != nil {
		preview.HubHostName = chosen.hub.Host()
		preview.Substatus = s.substatus(pending, enrollment.beginning(chosen.answer.InitialTwin), chosen.hub, false)
	}
	return preview, nil
}
