package portal

import (
	"slices"
	"time"

	"github.com/berth-iot/berth/access"
	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/portal/hubpages"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/attempts"
)

func (p *pages) overviewRoutes() web.Routes {
	return web.Routes{
		"GET {$}": web.RequireSession(p.showOverview),
	}
}

type overviewPage struct {
	IDScope, Host string
	HTTPSPort     int
	MQTTPort      int
	CAFile        string
	Counts        provisioning.Counts
	Tally         provisioning.Tally
	Hubs          []hubpages.Summary
	Strings       []secret // the connection strings, of which those asked for are shown
	Chart         web.Chart
	Attempts      []attest.Attempt
}

// latestAttempts is how many the overview lists.
const latestAttempts = 8

func (p *pages) showOverview(c *web.Call) error {
	return c.Show("overview", p.activityRevision, func() (any, error) {
		ctx, service := c.Context(), p.Provisioning
		page := overviewPage{
			IDScope:   service.IDScope(),
			Host:      service.Host(),
			HTTPSPort: p.HTTPSPort,
			MQTTPort:  p.MQTTPort,
			CAFile:    p.CAFile,
			Tally:     service.Tally(),
		}
		var err error
		if page.Counts, err = service.Counts(ctx); err != nil {
			return nil, err
		}
		if page.Hubs, err = p.hubs.Summaries(ctx); err != nil {
			return nil, err
		}
		if page.Chart, err = p.registrationChart(c); err != nil {
			return nil, err
		}
		if page.Attempts, err = p.provisioning.Attempts(c, attempts.Filter{Max: latestAttempts}); err != nil {
			return nil, err
		}
		policies, err := service.Access().List(ctx)
		if err != nil {
			return nil, err
		}
		page.Strings = p.connectionStrings(c, service.Host(), ownerPolicy(policies))
		for _, h := range p.Hubs.All() {
			if policies, err = h.Access().List(ctx); err != nil {
				return nil, err
			}
			page.Strings = append(page.Strings, p.connectionStrings(c, h.Host(), ownerPolicy(policies))...)
		}
		return page, nil
	})
}

// ownerPolicy is the policy with the most rights, the one that comes first to mind. The
// others are on their own page.
func ownerPolicy(policies []access.Policy) []access.Policy {
	if len(policies) == 0 {
		return nil
	}
	byRights := func(a, b access.Policy) int { return len(a.Rights) - len(b.Rights) }
	return []access.Policy{slices.MaxFunc(policies, byRights)}
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
func (p *pages) connectionStrings(c *web.Call, host string, policies []access.Policy) []secret {
	secrets := make([]secret, len(policies))
	for i, policy := range policies {
		secrets[i] = secret{Name: policy.Name, Host: host, Rights: policy.Rights}
		if !c.ShowsSecret(host + "/" + policy.Name) {
			continue
		}
		text := func(key string) string {
			return credential.ConnectionString{
				HostName:            host,
				SharedAccessKeyName: policy.Name,
				SharedAccessKey:     key,
			}.String()
		}
		secrets[i].Shown = true
		secrets[i].First, secrets[i].Second = text(policy.PrimaryKey), text(policy.SecondaryKey)
		secrets[i].Keys = [2]string{policy.PrimaryKey, policy.SecondaryKey}
	}
	return secrets
}

// chartSpan is the time that charts show, and chartStep what one bar stands for.
const (
	chartSpan = 2 * time.Hour
	chartStep = 5 * time.Minute
)

// registrationChart is how registrations ended lately.
func (p *pages) registrationChart(c *web.Call) (web.Chart, error) {
	end := c.Now().UTC().Truncate(chartStep).Add(chartStep)
	begin := end.Add(-chartSpan)
	outcomes, err := p.Provisioning.Attempts().Outcomes(c.Context(), begin)
	if err != nil {
		return web.Chart{}, err
	}
	bars := make([]web.Bar, int(chartSpan/chartStep))
	for i := range bars {
		bars[i].From = begin.Add(time.Duration(i) * chartStep)
	}
	for _, outcome := range outcomes {
		if i := int(outcome.Time.Sub(begin) / chartStep); i >= 0 && i < len(bars) {
			bars[i].Good += outcome.Assigned
			bars[i].Bad += outcome.Refused + outcome.Failed
		}
	}
	return web.NewChart(bars, chartStep), nil
}

// activityRevision moves with all that happens at the service and in its hubs.
func (p *pages) activityRevision() any {
	figures := []any{p.Provisioning.Attempts().End(), p.Provisioning.Tally()}
	for _, h := range p.Hubs.All() {
		figures = append(figures, h.Stats())
	}
	return figures
}
