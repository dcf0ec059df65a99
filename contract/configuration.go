package contract

import "encoding/json"

// ConfigurationTest asks what is wrong with a target condition and the queries of metrics.
type ConfigurationTest struct {
	TargetCondition     string            `json:"targetCondition"`
	CustomMetricQueries map[string]string `json:"customMetricQueries"`
}

// ConfigurationTestResult says what is wrong with them: null, and no member, where nothing is.
type ConfigurationTestResult struct {
	TargetConditionError    *string           `json:"targetConditionError"`
	CustomMetricQueryErrors map[string]string `json:"customMetricQueryErrors"`
}

// ConfigurationTargets asks, by Berth's own API, which devices or modules a configuration
// would target.
type ConfigurationTargets struct {
	TargetCondition string `json:"targetCondition"`
	// of the configuration; devices are meant without it
	Content json.RawMessage `json:"content,omitempty"`
	After   string          `json:"after,omitempty"` // the next of the answer before
}
