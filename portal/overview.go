package portal

import (
	"slices"
	"time"

	"github.com/berth-iot/berth/access"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/attempts"
	"github.com/berth-iot/berth/provisioning/attest"
)

var overviewRoutes = map[string]handler{
	"GET {$}": reading(overview),
}

type overviewPage struct {
	IDScope, Host string
	HTTPSPort     int
	MQTTPort      int
	CAFile        string
	Counts        provisioning.Counts
	Tally         provisioning.Tally
	Hubs          []hubSummary
	Strings       []secret // the connection strings, of which those asked for are shown
	Chart         chart
	Attempts      []attest.Attempt
}

// latestAttempts is how many the overview lists.
const latestAttempts = 8

func overview(c *call) error {
	return c.show("overview", c.everything, func() (any, error) {
		ctx, service := c.r.Context(), c.config.Provisioning
		page := overviewPage{IDScope: service.IDScope(), Host: service.Host(), HTTPSPort: c.config.HTTPSPort, MQTTPort: c.config.MQTTPort,
			CAFile: c.config.CAFile, Tally: service.Tally()}
		var err error
		if page.Counts, err = service.Counts(ctx); err != nil {
			return nil, err
		}
		if page.Hubs, err = c.hubSummaries(); err != nil {
			return nil, err
		}
		if page.Chart, err = c.registrationChart(); err != nil {
			return nil, err
		}
		if page.Attempts, err = c.attempts(ctx, attempts.Filter{Max: latestAttempts}); err != nil {
			return nil, err
		}
		policies, err := service.Access().List(ctx)
		if err != nil {
			return nil, err
		}
		page.Strings = c.connectionStrings(service.Host(), owner(policies))
		for _, h := range c.config.Hubs.All() {
			if policies, err = h.Access().List(ctx); err != nil {
				return nil, err
			}
			page.Strings = append(page.Strings, c.connectionStrings(h.Host(), owner(policies))...)
		}
		return page, nil
	})
}

// owner is the policy with the most rights, the one that comes first to mind. The
// others are on their own page.
func owner(policies []access.Policy) []access.Policy {
	if len(policies) == 0 {
		return nil
	}
	return []access.Policy{slices.MaxFunc(policies, func(a, b access.Policy) int { return len(a.Rights) - len(b.Rights) })}
}

// secret is a text that is hidden until it is asked for.
type secret struct {
	Name   string // what it is of, and how it is asked for
	Host   string
	Rights []string
	Shown  bool
	First  string // a key, or a connection string
	Second string
	Keys   [2]string // of a policy whose connection strings First and Second are
}

// connectionStrings returns those of the policies. Only the one that is asked for
// has its text, and only for an operator.
func (c *call) connectionStrings(host string, policies []access.Policy) []secret {
	secrets := make([]secret, len(policies))
	for i, policy := range policies {
		secrets[i] = secret{Name: policy.Name, Host: host, Rights: policy.Rights}
		if !c.asksFor(host + "/" + policy.Name) {
			continue
		}
		text := func(key string) string {
			return credential.ConnectionString{HostName: host, SharedAccessKeyName: policy.Name, SharedAccessKey: key}.String()
		}
		secrets[i].Shown = true
		secrets[i].First, secrets[i].Second = text(policy.PrimaryKey), text(policy.SecondaryKey)
		secrets[i].Keys = [2]string{policy.PrimaryKey, policy.SecondaryKey}
	}
	return secrets
}

// asksFor reports whether the page was called to show a secret, by somebody who
// may see it.
func (c *call) asksFor(name string) bool {
	return c.session.Role == Operator && c.query("show") == name
}

// chartSpan is the time that charts show, and chartStep what one bar stands for.
const (
	chartSpan = 2 * time.Hour
	chartStep = 5 * time.Minute
)

// registrationChart is how registrations ended lately.
func (c *call) registrationChart() (chart, error) {
	end := c.config.Now().UTC().Truncate(chartStep).Add(chartStep)
	begin := end.Add(-chartSpan)
	outcomes, err := c.config.Provisioning.Attempts().Outcomes(c.r.Context(), begin)
	if err != nil {
		return chart{}, err
	}
	bars := make([]bar, int(chartSpan/chartStep))
	for i := range bars {
		bars[i].From = begin.Add(time.Duration(i) * chartStep)
	}
	for _, outcome := range outcomes {
		if i := int(outcome.Time.Sub(begin) / chartStep); i >= 0 && i < len(bars) {
			bars[i].Good += outcome.Assigned
			bars[i].Bad += outcome.Refused + outcome.Failed
		}
	}
	return newChart(bars, chartStep), nil
}
