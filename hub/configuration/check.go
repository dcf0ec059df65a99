package configuration

import (
	"errors"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/query"
	"github.com/berth-iot/berth/store"
)

// The limits of Azure (Node azure-iothub, Configuration; iot-hub-devguide-quotas-throttling).
const (
	maxText    = 128 // characters of an id, a label and its value, a metric's name
	maxLabels  = 100
	maxMetrics = 5
)

// check holds what an operator writes against the rules, and fills in what may be left out.
// It returns fault 400004, 400401 for the target condition, 400402 for the content and 400404
// for a metric.
func (c *Configurations) check(wanted *Configuration) error {
	if err := checkID(wanted.ID); err != nil {
		return err
	}
	if wanted.SchemaVersion != nil && !isText(*wanted.SchemaVersion) {
		return fault.New(fault.ArgumentInvalid, "schemaVersion has more than %d characters", maxText)
	}
	if wanted.Priority < 0 || wanted.Priority > math.MaxInt32 {
		return fault.New(fault.ArgumentInvalid, "priority must be a whole number from 0 to %d, not %d", math.MaxInt32,
			wanted.Priority)
	}
	if wanted.Labels != nil && wanted.Labels.IsZero() {
		wanted.Labels = nil
	}
	if wanted.Labels != nil {
		if err := checkLabels(*wanted.Labels); err != nil {
			return err
		}
	}
	parsed, err := wanted.Content.parse()
	if err != nil {
		return err
	}
	if _, err := parseTarget(wanted.TargetCondition, parsed.kind); err != nil {
		return err
	}
	return c.checkMetrics(wanted.Metrics.Queries)
}

// checkID holds an id against the rules that Azure has for configurations.
func checkID(id string) error {
	const others = "-+%_*!'"
	wrong := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune(others, r)
	}
	if id == "" || len(id) > maxText || strings.ContainsFunc(id, wrong) {
		return fault.New(fault.ArgumentInvalid, "The id of a configuration must have 1 to %d lower-case letters, "+
			"digits and %s, not %.140q", maxText, "- + % _ * ! '", id)
	}
	return nil
}

func isText(text string) bool { return utf8.RuneCountInString(text) <= maxText }

// isLabel reports whether a text can be a label or its value.
func isLabel(text string) bool {
	return len(text) <= maxText && !strings.ContainsFunc(text, func(r rune) bool {
		return r <= ' ' && r != ' ' || r > '~' || r == '$'
	})
}

func checkLabels(labels document.Object) error {
	if labels.Len() > maxLabels {
		return fault.New(fault.ArgumentInvalid, "There are %d labels, and %d are allowed", labels.Len(), maxLabels)
	}
	for name, value := range labels.All() {
		switch {
		case value.Kind() != document.KindString:
			return fault.New(fault.ArgumentInvalid, "The value of the label %.140q must be a string", name)
		case !isLabel(name) || !isLabel(value.Text()):
			return fault.New(fault.ArgumentInvalid, "The label %.140q and its value must have at most %d characters "+
				"each, of ASCII without $ and control characters", name, maxText)
		}
	}
	return nil
}

// checkMetrics returns fault 400404.
func (c *Configurations) checkMetrics(queries document.Object) error {
	if queries.Len() > maxMetrics {
		return fault.New(fault.InvalidMetricsQuery, "There are %d metrics, and a configuration has at most %d",
			queries.Len(), maxMetrics)
	}
	for name, value := range queries.All() {
		if name == "" || !isText(name) {
			return fault.New(fault.InvalidMetricsQuery, "The name of a metric must have 1 to %d characters, not %.140q",
				maxText, name)
		}
		if err := c.checkQuery(value); err != nil {
			return fault.New(fault.InvalidMetricsQuery, "The metric %.128q: %v", name, err)
		}
	}
	return nil
}

// checkQuery says what is wrong with the query of a metric.
func (c *Configurations) checkQuery(value document.Value) error {
	if value.Kind() != document.KindString {
		return fault.NewReason("the query must be a string")
	}
	if err := c.config.CheckQuery(value.Text()); err != nil {
		return fault.ReasonOf(err)
	}
	return nil
}

// target says which twins are meant.
type target struct {
	none      bool // of all
	condition query.Condition
}

// parseTarget reads a target condition: "" for none, * for all, a condition on the id, the
// tags and the reported properties, or FROM devices.modules WHERE and that. It returns fault
// 400401.
func parseTarget(text string, of kind) (target, error) {
	if strings.TrimSpace(text) == "" {
		return target{none: true}, nil
	}
	condition, err := query.ParseCondition(text)
	if err != nil {
		return target{}, fault.New(fault.InvalidTargetCondition, "%v", fault.ReasonOf(err))
	}
	switch {
	case condition.Source == query.Jobs, of != ofModules && condition.Source != query.Devices:
		return target{}, fault.New(fault.InvalidTargetCondition,
			"The target condition is one on %s, and the content is for %s", fault.Word(condition.Source),
			fault.Word(map[bool]query.Source{true: query.Modules, false: query.Devices}[of == ofModules]))
	}
	for _, path := range condition.Paths {
		if !slices.ContainsFunc(targetPaths, func(known []string) bool {
			return len(path) >= len(known) && slices.Equal(path[:len(known)], known)
		}) {
			return target{}, fault.New(fault.InvalidTargetCondition, "The target condition asks for %.128q. It can ask "+
				"for %s", strings.Join(path, "."), "deviceId, moduleId, tags, properties.reported")
		}
	}
	return target{condition: condition}, nil
}

// targetPaths begin the paths that a target condition can ask for.
var targetPaths = [][]string{{"deviceId"}, {"moduleId"}, {"tags"}, {"properties", "reported"}}

// TestQueries says what is wrong with a target condition, and with each of the queries of
// metrics, by their names; nil and none when nothing is. As in Azure, the condition * is wrong
// here, though a configuration can have it.
func (c *Configurations) TestQueries(
	targetCondition string, queries document.Object,
) (metrics []NamedError, target error) {
	if strings.TrimSpace(targetCondition) == "*" {
		target = fault.New(fault.InvalidTargetCondition, "The target condition * can't be tested: it holds for all")
	} else if _, target = parseTarget(targetCondition, ofDevices); target != nil {
		if _, err := parseTarget(targetCondition, ofModules); err == nil {
			target = nil
		}
	}
	for name, value := range queries.All() {
		if err := c.checkQuery(value); err != nil {
			metrics = append(metrics, NamedError{name, err})
		}
	}
	return metrics, target
}

// NamedError is what is wrong with the metric of a name.
type NamedError struct {
	Name string
	Err  error
}

// Intact implements store.Checkable.
func (s *stored) Intact() error {
	if checkID(s.ID) != nil {
		return errors.New("it has no id")
	}
	if s.Slot < 0 || s.Slot >= maxSlots {
		return errors.New("it has no number")
	}
	_, err := s.Content.parse()
	return err
}

// What is read from the store is held against what the code relies on, so that a damaged
// record is one that can't be read, and nothing worse.
var _ store.Checkable = (*stored)(nil)
