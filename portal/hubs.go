package portal

import (
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
)

var hubRoutes = map[string]handler{
	"GET hubs/{hub}":          reading(hubOverview),
	"GET hubs/{hub}/policies": reading(hubPolicies),
}

// hubSummary is a hub in a list.
type hubSummary struct {
	Name, Host string
	Devices    int
	Stats      hub.Stats
}

func (c *call) hubSummaries() (summaries []hubSummary, err error) {
	for _, h := range c.config.Hubs.All() {
		devices, err := h.DeviceCount(c.r.Context())
		if err != nil {
			return nil, err
		}
		summaries = append(summaries, hubSummary{h.Name(), h.Host(), devices, h.Stats()})
	}
	return summaries, nil
}

// hub returns the hub that the address names.
func (c *call) hub() (*hub.Hub, error) {
	name := c.r.PathValue("hub")
	if h := c.config.Hubs.ByName(name); h != nil {
		return h, nil
	}
	return nil, fault.New(fault.HubNotFound, "There is no hub %q here", name)
}

type hubPage struct {
	hubSummary
	Chart chart
	Rate  float64 // messages a second, over rateSpan
	Size  int     // bytes of an average message since the hub opened
}

// Fades implements fading: the rate falls while nothing comes.
func (p hubPage) Fades() bool { return p.Rate > 0 }

// rateSpan is the time over which the present message rate is taken.
const rateSpan = 10 * time.Second

func hubOverview(c *call) error {
	h, err := c.hub()
	if err != nil {
		return err
	}
	return c.show("hub", traffic(h), func() (any, error) {
		ctx, now := c.r.Context(), c.config.Now()
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
		bars := make([]bar, int(time.Hour/step))
		for i := range bars {
			bars[i].From = begin.Add(time.Duration(i) * step)
			if i < len(traffic) {
				bars[i].Good = int(traffic[i])
			}
		}
		page.Chart = newChart(bars, step)
		return page, nil
	})
}
