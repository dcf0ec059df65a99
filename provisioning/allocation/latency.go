package allocation

import (
	"context"
	"strings"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

func chooseNearest(_ context.Context, a *Allocator, request Request, hubs []*linkedhub.Linked) (choice, error) {
	latencies := a.latencies(hubs, request.RemoteAddr)
	present := a.config.Links.Find(request.AssignedHub)
	hub, reason := nearest(hubs, latencies, present, request.RegistrationID)
	return choice{hub: hub, reason: reason, latencies: latencies}, nil
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
		return pickWeighted(hubs, registrationID),
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
	return pickWeighted(best, registrationID), fault.Say("lowest latency, %s", lowest)
}

// latencies returns what is known of the way from a device to each hub: by the
// device's network and the hub's location, else as measured; -1 is not known.
func (a *Allocator) latencies(hubs []*linkedhub.Linked, remote string) []time.Duration {
	known := make([]time.Duration, len(hubs))
	networks := a.config.Networks.containing(remote)
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
