package hubpages

import (
	"time"

	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/portal/web"
)

func (p *Pages) hubRoutes() web.Routes {
	return web.Routes{"GET hubs/{hub}": web.RequireSession(p.showHub)}
}

type hubPage struct {
	Summary
	Chart web.Chart
	Rate  float64 // messages a second, over rateSpan
	Size  int     // bytes of an average message since the hub opened
}

// Fades implements fading: the rate falls while nothing comes.
func (p hubPage) Fades() bool { return p.Rate > 0 }

// rateSpan is the time over which the present message rate is taken.
const rateSpan = 10 * time.Second

func (p *Pages) showHub(c *web.Call) error {
	h, err := p.Hub(c)
	if err != nil {
		return err
	}
	return c.Show("hub", trafficRevision(h), func() (any, error) {
		ctx, now := c.Context(), c.Now()
		devices, err := h.Registry().Count(ctx)
		if err != nil {
			return nil, err
		}
		page := hubPage{Summary: Summary{h.Name(), h.Host(), devices, h.Stats()}}
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

// trafficRevision moves with what a hub's devices do.
func trafficRevision(h *hub.Hub) func() any { return func() any { return h.Stats() } }
