package allocation

import (
	"context"
	"hash/fnv"
	"math"
	"strings"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

func chooseHashed(_ context.Context, _ *Allocator, request Request, hubs []*linkedhub.Linked) (choice, error) {
	return choice{hub: pickWeighted(hubs, request.RegistrationID), reason: fault.Say("evenly weighted")}, nil
}

// pickWeighted picks the hub for a registration id: of all candidates the one with the
// highest score of hash and weight (weighted rendezvous hashing). Each gets its
// share, the choice is the same each time, and a hub that is added takes only its
// share. Hubs of weight 0 get nothing, unless there are no others.
func pickWeighted(hubs []*linkedhub.Linked, registrationID string) *linkedhub.Linked {
	var best *linkedhub.Linked
	highest := math.Inf(-1)
	for _, hub := range hubs {
		hash := fnv.New64a()
		hash.Write([]byte(strings.ToLower(registrationID)))
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
