package portal

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/attempts"
	"github.com/berth-iot/berth/provisioning/attest"
)

var attemptRoutes = map[string]handler{
	"GET attempts":                  reading(listAttempts),
	"GET attempts/{sequence}":       reading(showAttempt),
	"GET attempts/{sequence}/saved": reading(saveAttempt),
}

type attemptsPage struct {
	Attempts []attest.Attempt
	ID       string
	Outcome  string
	Outcomes []attest.Outcome
	Before   int64
	Older    int64 // the Before of the next page; 0 on the last
}

func listAttempts(c *call) error {
	return c.show("attempts", c.attemptsEnd, func() (any, error) {
		page := attemptsPage{ID: c.query("id"), Outcome: c.query("outcome"), Before: c.number("before"),
			Outcomes: []attest.Outcome{attest.Assigned, attest.Refused, attest.Failed}}
		var err error
		page.Attempts, err = c.attempts(c.r.Context(), attempts.Filter{
			RegistrationID: page.ID, Outcome: attest.Outcome(page.Outcome), Before: page.Before, Max: pageSize})
		if len(page.Attempts) == pageSize {
			page.Older = page.Attempts[pageSize-1].Sequence
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
func saveAttempt(c *call) error {
	sequence, err := strconv.ParseInt(c.r.PathValue("sequence"), 10, 64)
	if err != nil {
		return fault.New(fault.NotFound, "There is no such page")
	}
	attempt, err := c.config.Provisioning.Attempts().Get(c.r.Context(), sequence)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(attempt, "", "  ")
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	c.w.Header().Set("Content-Disposition", "attachment; filename=attempt-"+strconv.FormatInt(sequence, 10)+".json")
	c.answered = true
	_, err = c.w.Write(append(text, '\n'))
	return err
}

func showAttempt(c *call) error {
	sequence, err := strconv.ParseInt(c.r.PathValue("sequence"), 10, 64)
	if err != nil {
		return fault.New(fault.NotFound, "There is no such page")
	}
	ctx, service := c.r.Context(), c.config.Provisioning
	attempt, err := service.Attempts().Get(ctx, sequence)
	if err != nil {
		return err
	}
	page := attemptPage{Attempt: attempt}
	if failed, ok := attempt.Checks.Failed(); ok {
		_, err := service.Enrollment(ctx, attempt.RegistrationID)
		if err != nil && fault.From(err).Code.Status() >= 500 {
			return err
		}
		page.Remedy = remedyOf(attempt, failed.Name, err == nil)
	}
	return c.render(http.StatusOK, "attempt", page)
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
		return &remedy{"enrollment/" + url.PathEscape(attempt.RegistrationID), "Open the enrollment"}
	case group:
		return &remedy{"groups", "See the enrollment groups"}
	case failed == "enrollment" || attempt.Enrolled && attempt.Outcome == attest.Refused: // its own is deleted since
		return &remedy{"enrollments/new?registrationId=" + url.QueryEscape(attempt.RegistrationID), "Enroll this device"}
	}
	return &remedy{"quickstart", "See how a device is set up"}
}
