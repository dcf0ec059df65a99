package provisioningpages

import (
	"strings"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning/guard"
)

func (p *Pages) lockoutRoutes() web.Routes {
	return web.Routes{
		"GET lockouts":       web.RequireSession(p.listLockouts),
		"POST lockouts/lift": web.RequireOperator(p.listLockouts, p.liftLockout),
	}
}

type lockoutsPage struct {
	Rule   guard.Lockout // the zero one locks nobody out
	Locked []guard.LockedOut
}

// Within and For are the times of the rule, such as 10m.
func (p lockoutsPage) Within() string { return formatDuration(p.Rule.Within) }
func (p lockoutsPage) For() string    { return formatDuration(p.Rule.For) }

// formatDuration is a duration without the zeros that Go writes at its end.
func formatDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func (p *Pages) listLockouts(c *web.Call) error {
	return c.Show("lockouts", func() any { return c.Now().Truncate(10 * time.Second) }, func() (any, error) {
		locked, err := p.Provisioning.Lockouts().List(c.Context())
		return lockoutsPage{p.Provisioning.Limits().Lockout, locked}, err
	})
}

func (p *Pages) liftLockout(c *web.Call) error {
	source := c.Value("source")
	err := p.Provisioning.Lockouts().Lift(c.Context(), source)
	if err != nil && fault.From(err).Code != fault.NotFound {
		return err // one whose time is over is not locked out either
	}
	c.Notify("ok", c.T("%s is no longer locked out", source))
	return c.Redirect("lockouts")
}
