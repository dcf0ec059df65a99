package provisioning

import (
	"context"
	"hash/fnv"
	"slices"
	"strings"
)

// Hub is a linked hub as provisioning needs it: in this process, or anywhere
// else behind its service API.
type Hub interface {
	// Host returns the host name that devices connect to.
	Host() string

	// Admit makes sure that the device is there with these credentials. At its
	// creation it gets the twin; a device that is there keeps its own, and its
	// status. It is safe to repeat.
	Admit(ctx context.Context, admission Admission) error

	// Check says whether Admit would refuse the admission for what stands in
	// it, without asking the hub for anything.
	Check(admission Admission) error

	// Twin returns what migrates with a device: tags and desired properties. It
	// is nil when the device is not there.
	Twin(ctx context.Context, deviceID string) (*InitialTwin, error)

	// Remove deletes the device. One that is not there is no error.
	Remove(ctx context.Context, deviceID string) error
}

// Admission is what a hub is told of a device that has been attested.
type Admission struct {
	DeviceID            string
	PrimaryThumbprint   string // SHA-256 in upper-case hexadecimal
	SecondaryThumbprint string // "" for none
	PrimaryKey          string // base64; of a device that proves itself with a key in place of a certificate
	SecondaryKey        string
	IoTEdge             bool
	Twin                *InitialTwin // nil for an empty twin
}

// admission is what the enrollment's device brings to its hub.
func (e Enrollment) admission() Admission {
	admission := Admission{
		DeviceID: e.deviceID(),
		IoTEdge:  e.Capabilities != nil && e.Capabilities.IoTEdge,
		Twin:     e.InitialTwin,
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

// candidates returns the linked hubs that an enrollment allows.
func (s *Service) candidates(enrollment Enrollment) []Hub {
	allowed := enrollment.Hubs
	if enrollment.HubHostName != "" {
		allowed = []string{enrollment.HubHostName}
	}
	if len(allowed) == 0 {
		return s.config.Hubs
	}
	var hubs []Hub
	for _, hub := range s.config.Hubs {
		if slices.ContainsFunc(allowed, func(host string) bool { return strings.EqualFold(host, hub.Host()) }) {
			hubs = append(hubs, hub)
		}
	}
	return hubs
}

// choose picks the hub for a registration id: of all candidates the one with
// the highest hash of id and host (rendezvous hashing). The choice is even, it
// is the same each time, and a hub that is added takes only its share.
func choose(hubs []Hub, registrationID string) Hub {
	var best Hub
	var highest uint64
	for _, hub := range hubs {
		hash := fnv.New64a()
		hash.Write([]byte(key(registrationID)))
		hash.Write([]byte{0})
		hash.Write([]byte(strings.ToLower(hub.Host())))
		if weight := mix(hash.Sum64()); best == nil || weight > highest {
			best, highest = hub, weight
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

// linked returns the linked hub with this host name, or nil.
func (s *Service) linked(host string) Hub {
	for _, hub := range s.config.Hubs {
		if strings.EqualFold(hub.Host(), host) {
			return hub
		}
	}
	return nil
}
