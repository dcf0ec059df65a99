package hubpages

import (
	"encoding/json"
	"strings"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/query"
	"github.com/berth-iot/berth/portal/web"
)

// conditionCount is how many devices or modules a condition holds for that is being typed.
type conditionCount struct {
	Found   int
	Modules bool // else devices
	Problem *fault.Error
}

// countCondition tells at once how many devices the condition of a job holds for.
func (p *Pages) countCondition(c *web.Call) error {
	h, err := p.Hub(c)
	if err != nil {
		return err
	}
	count := conditionCount{}
	if count.Found, count.Modules, err = countMatches(c, h, c.Text("condition")); err != nil {
		if count.Problem = fault.From(err); count.Problem.Code.Status() >= 500 {
			return err
		}
	}
	return c.RenderPart("job-new", "condition-count", count)
}

// countMatches returns how many devices, or modules, a condition holds for now. It returns
// fault 400004 for one that can't be read.
func countMatches(c *web.Call, h *hub.Hub, condition string) (found int, modules bool, _ error) {
	parsed, err := query.ParseCondition(condition)
	if err != nil {
		return 0, false, err
	}
	answer, err := h.Query(c.Context(), countingQuery(condition, parsed), hub.QueryPage{Limit: 1})
	if err != nil {
		return 0, false, err
	}
	var row struct{ Found int }
	if len(answer.Rows) > 0 { // without one nothing was found
		if err := json.Unmarshal(answer.Rows[0], &row); err != nil {
			return 0, false, err
		}
	}
	return row.Found, parsed.Source == query.Modules, nil
}

// countingQuery is the query that counts what a condition holds for.
func countingQuery(condition string, parsed query.Condition) string {
	const counting = "SELECT COUNT() AS found "
	words := strings.Fields(condition)
	switch {
	case parsed.All() && parsed.Source == query.Devices:
		return counting + "FROM devices"
	case strings.EqualFold(words[0], "FROM"):
		return counting + condition
	case strings.EqualFold(words[0], "WHERE"):
		return counting + "FROM devices " + condition
	}
	return counting + "FROM devices WHERE " + condition
}
