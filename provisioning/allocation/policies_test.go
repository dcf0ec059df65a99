package allocation

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/linkedhub"
	"github.com/berth-iot/berth/store/storetest"
)

// hostOnly is a hub of which no more is known than its name.
type hostOnly struct {
	linkedhub.Hub
	host string
}

func (h hostOnly) Host() string { return h.host }

func hubs(hosts ...string) (linked []*linkedhub.Linked) {
	for _, host := range hosts {
		linked = append(linked, &linkedhub.Linked{Hub: hostOnly{host: host}})
	}
	return linked
}

func TestHashed(t *testing.T) {
	counts := map[string]int{}
	hubs := hubs("a.local", "b.local", "c.local")
	for i := range 300 {
		id := fmt.Sprintf("device-%d", i)
		if first, again := pickWeighted(hubs, id), pickWeighted(hubs, strings.ToUpper(id)); first != again {
			t.Fatalf("%s goes to %s, then to %s", id, first.Host(), again.Host())
		}
		counts[pickWeighted(hubs, id).Host()]++
		// Without hub c, only c's devices move.
		if before, after := pickWeighted(hubs, id), pickWeighted(hubs[:2], id); before != hubs[2] && before != after {
			t.Errorf("%s moves from %s to %s", id, before.Host(), after.Host())
		}
	}
	for host, n := range counts {
		if n < 60 || n > 140 {
			t.Errorf("%s gets %d of 300", host, n)
		}
	}
}

// TestPolicies holds the rows of the policies against what is made of them.
func TestPolicies(t *testing.T) {
	labels := map[string]Policy{}
	for _, policy := range Policies() {
		if other, taken := labels[policy.Label()]; taken || policy.Label() == "" {
			t.Errorf("%s is called %q, as %s is", policy, policy.Label(), other)
		}
		labels[policy.Label()] = policy
		if parsed := ParsePolicy(strings.ToUpper(string(policy))); parsed != policy {
			t.Errorf("%s in capitals is read as %s", policy, parsed)
		}
		if policy.definition().choose == nil {
			t.Errorf("%s chooses nothing", policy)
		}
	}
	last := string(Policies()[len(policies)-1])
	text := Alternatives()
	if !strings.HasPrefix(text, "hashed (evenly weighted), geoLatency (lowest latency), static") ||
		!strings.HasSuffix(text, " or "+last) {
		t.Errorf("the alternatives are %q", text)
	}
	_, err := checkPolicy("nearest")
	if message := fault.From(err).Message; !errors.Is(err, fault.ArgumentInvalid) ||
		!strings.HasPrefix(message, "allocationPolicy must be hashed, geoLatency, static") ||
		!strings.HasSuffix(message, " or "+last+`, not "nearest"`) {
		t.Errorf("an unknown policy: %v", err)
	}
	if policy, err := checkPolicy(""); err != nil || policy != "" {
		t.Errorf("none: %q, %v, want none as well", policy, err)
	}
}

func TestRoundTrip(t *testing.T) { storetest.RoundTrip[Network](t) }
