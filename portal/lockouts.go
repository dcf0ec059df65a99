package portal

import (
	"strings"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/guard"
)

var lockoutRoutes = map[string]handler{
	"GET lockouts":       reading(listLockouts),
	"POST lockouts/lift": writing(listLockouts, liftLockout),
}

type lockoutsPage struct {
	Rule   guard.Lockout // the zero one locks nobody out
	Locked []guard.LockedOut
}

// Within and For are the times of the rule, such as 10m.
func (p lockoutsPage) Within() string { return short(p.Rule.Within) }
func (p lockoutsPage) For() string    { return short(p.Rule.For) }

// short is a duration without the zeros that Go writes at its end.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func listLockouts(c *call) error {
	return c.show("lockouts", c.someTime, func() (any, error) {
		locked, err := c.config.Provisioning.Lockouts().List(c.r.Context())
		return lockoutsPage{c.config.Provisioning.Limits().Lockout, locked}, err
	})
}

func liftLockout(c *call) error {
	source := c.value("source")
	err := c.config.Provisioning.Lockouts().Lift(c.r.Context(), source)
	if err != nil && fault.From(err).Code != fault.NotFound {
		return err // one whose time is over is as well heard
	}
	c.say("ok", c.language.T("%s is heard again", source))
	return c.redirect("lockouts")
}
