package portal

import (
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/telemetry"
	"github.com/berth-iot/berth/portal/web"
)

func (p *pages) hubRoutes() web.Routes {
	return web.Routes{
		"GET hubs/{hub}":          web.RequireSession(p.hubOverview),
		"GET hubs/{hub}/policies": web.RequireSession(p.hubPolicies),
	}
}

// hubSummary is a hub in a list.
type hubSummary struct {
	Name, Host string
	Devices    int
	Stats      hub.Stats
}

func (p *pages) hubSummaries(c *web.Call) (summaries []hubSummary, err error) {
	for _, h := range p.Hubs.All() {
		devices, err := h.DeviceCount(c.Context())
		if err != nil {
			return nil, err
		}
		summaries = append(summaries, hubSummary{h.Name(), h.Host(), devices, h.Stats()})
	}
	return summaries, nil
}

// hub returns the hub that the address names.
func (p *pages) hub(c *web.Call) (*hub.Hub, error) {
	name := c.PathValue("hub")
	if h := p.Hubs.ByName(name); h != nil {
		return h, nil
	}
	return nil, fault.New(fault.HubNotFound, "There is no hub %q here", name)
}

type hubPage struct {
	hubSummary
	Chart web.Chart
	Rate  float64 // messages a second, over rateSpan
	Size  int     // bytes of an average message since the hub opened
}

// Fades implements fading: the rate falls while nothing comes.
func (p hubPage) Fades() bool { return p.Rate > 0 }

// rateSpan is the time over which the present message rate is taken.
const rateSpan = 10 * time.Second

func (p *pages) hubOverview(c *web.Call) error {
	h, err := p.hub(c)
	if err != nil {
		return err
	}
	return c.Show("hub", traffic(h), func() (any, error) {
		ctx, now := c.Context(), c.Now()
		devices, err := h.DeviceCount(ctx)
		if err != nil {
			return nil, err
		}
		page := hubPage{hubSummary: hubSummary{h.Name(), h.Host(), devices, h.Stats()}}
		if page.Stats.Messages > 0 {
			page.Size = int(page.Stats.Bytes / page.Stats.Messages)
		}
		recent, err := h.Telemetry().Traffic(ctx, now.Add(-rateSpan), rateSpan)
		if err != nil {
			return nil, err
		}
		for _, n := range recent {
			page.Rate += float64(n) / rateSpan.Seconds()
		}
		const step = 2 * time.Minute
		begin := now.UTC().Truncate(step).Add(step - time.Hour)
		traffic, err := h.Telemetry().Traffic(ctx, begin, step)
		if err != nil {
			return nil, err
		}
		bars := make([]web.Bar, int(time.Hour/step))
		for i := range bars {
			bars[i].From = begin.Add(time.Duration(i) * step)
			if i < len(traffic) {
				bars[i].Good = int(traffic[i])
			}
		}
		page.Chart = web.NewChart(bars, step)
		return page, nil
	})
}

// traffic moves with what a hub's devices do.
func traffic(h *hub.Hub) func() any { return func() any { return h.Stats() } }

// recentTelemetryOf returns the newest messages of a device, at most so many. A live page
// reads only those that are new.
func recentTelemetryOf(c *web.Call, h *hub.Hub, deviceID string, most int) ([]telemetry.Message, error) {
	type key struct {
		hub    *hub.Hub
		device string
	}
	search, live := web.Keep(c, key{h, deviceID}, func() *telemetry.Search { return h.Telemetry().Search(deviceID, most) })
	if !live {
		return h.Telemetry().Recent(c.Context(), deviceID, most)
	}
	return search.Look(c.Context())
}
