package provisioningpages

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning/attempts"
)

func (p *Pages) attemptRoutes() web.Routes {
	return web.Routes{
		"GET attempts":                  web.RequireSession(p.listAttempts),
		"GET attempts/{sequence}":       web.RequireSession(p.showAttempt),
		"GET attempts/{sequence}/saved": web.RequireSession(p.saveAttempt),
	}
}

type attemptsPage struct {
	Attempts []attest.Attempt
	ID       string
	Outcome  string
	Outcomes []attest.Outcome
	Before   int64
	Older    int64 // the Before of the next page; 0 on the last
}

func (p *Pages) listAttempts(c *web.Call) error {
	return c.Show("attempts", p.attemptsRevision, func() (any, error) {
		page := attemptsPage{ID: c.Query("id"), Outcome: c.Query("outcome"), Before: c.QueryNumber("before"),
			Outcomes: []attest.Outcome{attest.Assigned, attest.Refused, attest.Failed}}
		var err error
		page.Attempts, err = p.Attempts(c, attempts.Filter{
			RegistrationID: page.ID, Outcome: attest.Outcome(page.Outcome), Before: page.Before, Max: web.PageSize})
		if len(page.Attempts) == web.PageSize {
			page.Older = page.Attempts[web.PageSize-1].Sequence
		}
		return page, err
	})
}

// remedy is the page where what an attempt failed for is put right.
type remedy struct{ Path, Text string }

type attemptPage struct {
	attest.Attempt
	Remedy *remedy
}

// saveAttempt hands out an attempt with all that its judgement depended on, for
// berth explain.
func (p *Pages) saveAttempt(c *web.Call) error {
	sequence, err := strconv.ParseInt(c.PathValue("sequence"), 10, 64)
	if err != nil {
		return fault.New(fault.NotFound, "There is no such page")
	}
	attempt, err := p.Provisioning.Attempts().Get(c.Context(), sequence)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(attempt, "", "  ")
	if err != nil {
		return err
	}
	file := c.Download("application/json; charset=utf-8", "attempt-"+strconv.FormatInt(sequence, 10)+".json")
	_, err = file.Write(append(text, '\n'))
	return err
}

func (p *Pages) showAttempt(c *web.Call) error {
	sequence, err := strconv.ParseInt(c.PathValue("sequence"), 10, 64)
	if err != nil {
		return fault.New(fault.NotFound, "There is no such page")
	}
	ctx, service := c.Context(), p.Provisioning
	attempt, err := service.Attempts().Get(ctx, sequence)
	if err != nil {
		return err
	}
	page := attemptPage{Attempt: attempt}
	if failed, ok := attempt.Checks.Failed(); ok {
		_, err := service.Enrollments().Get(ctx, attempt.RegistrationID)
		if err != nil && fault.From(err).Code.Status() >= 500 {
			return err
		}
		page.Remedy = remedyOf(attempt, failed.Name, err == nil)
	}
	return c.Render(http.StatusOK, "attempt", page)
}

// remedyOf finds the page for the check that failed. enrolled says that the device
// has an individual enrollment now.
func remedyOf(attempt attest.Attempt, failed string, enrolled bool) *remedy {
	group := slices.ContainsFunc(attempt.Checks, func(check attest.Check) bool {
		return check.Name == "enrollment" && check.Passed && strings.HasPrefix(check.Saw, "group ")
	})
	switch {
	case failed == "ID scope":
		return &remedy{"", "See this service's ID scope"}
	case enrolled:
		return &remedy{"enrollment/" + web.Segment(attempt.RegistrationID), "Open the enrollment"}
	case group:
		return &remedy{"groups", "See the enrollment groups"}
	case failed == "enrollment" || attempt.Enrolled && attempt.Outcome == attest.Refused: // its own is deleted since
		id := url.QueryEscape(attempt.RegistrationID)
		return &remedy{"enrollments/new?registrationId=" + id, "Enroll this device"}
	}
	return &remedy{"quickstart", "See how a device is set up"}
}

// Attempts returns attempts to register. A live page reads only those that are new.
func (p *Pages) Attempts(c *web.Call, filter attempts.Filter) ([]attest.Attempt, error) {
	log := p.Provisioning.Attempts()
	search, live := web.Keep(c, "attempts", func() *attempts.Search { return log.Search(filter) })
	if !live {
		return log.Find(c.Context(), filter)
	}
	return search.Look(c.Context())
}

// attemptsRevision moves with the attempts to register.
func (p *Pages) attemptsRevision() any { return p.Provisioning.Attempts().End() }

// trace returns the checks of a judgement in the reader's language.
func trace(l *web.Language, checks attest.Trace) (translated attest.Trace) {
	for _, check := range checks {
		translated = append(translated, check.In(l.Translate))
	}
	return translated
}

// failedCheck returns the name of the check that failed, or "".
func failedCheck(checks attest.Trace) string {
	failed, _ := checks.Failed()
	return failed.Name
}
