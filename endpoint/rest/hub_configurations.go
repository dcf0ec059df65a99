package rest

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/configuration"
)

// hubConfigurations are the operations of automatic device management (Azure, IoT Hub service
// REST API, Configuration).
func hubConfigurations() []https.Operation {
	return []https.Operation{
		iot("GET", contract.ConfigurationsPath, hub.RegistryRead, 0, listConfigurations),
		iot("POST", contract.ConfigurationTestPath, hub.RegistryRead, https.SmallBody, testConfiguration),
		iot("GET", contract.ConfigurationPath, hub.RegistryRead, 0, getConfiguration),
		iot("PUT", contract.ConfigurationPath, hub.RegistryWrite, https.SmallBody, putConfiguration),
		iot("DELETE", contract.ConfigurationPath, hub.RegistryWrite, 0, deleteConfiguration),
		iot("POST", contract.ApplyContentPath, hub.RegistryWrite, https.SmallBody, applyContent),
	}
}

// listConfigurations answers with all of them: Azure goes by no top here.
func listConfigurations(c *https.Call) (any, error) {
	return c.Hub.Configurations().List(c.Context())
}

func getConfiguration(c *https.Call) (any, error) {
	found, err := c.Hub.Configurations().Get(c.Context(), c.Parameter("id"))
	return c.Tagged(found, found.ETag, err)
}

// configurationBody is what is read of a configuration that a back end sends. What only the
// hub writes is left aside, whatever its type.
type configurationBody struct {
	ID              string               `json:"id"`
	SchemaVersion   *string              `json:"schemaVersion"`
	Labels          *document.Object     `json:"labels"`
	Content         json.RawMessage      `json:"content"` // read by itself: what is wrong in it has a code of its own
	TargetCondition string               `json:"targetCondition"`
	Priority        int                  `json:"priority"`
	Metrics         configurationMetrics `json:"metrics"`
}

// configurationMetrics are the custom metrics of a configuration.
type configurationMetrics struct {
	Queries document.Object `json:"queries"`
}

// putConfiguration creates a configuration, or updates one when the request has an If-Match:
// Azure's Python client sends its ETag without quotation marks.
func putConfiguration(c *https.Call) (any, error) {
	var body configurationBody
	if err := c.Decode(&body); err != nil {
		return nil, err
	}
	id := c.Parameter("id")
	if body.ID != "" && body.ID != id {
		return nil, fault.New(fault.ArgumentInvalid,
			"The body names the configuration %.128q, the address %.128q", body.ID, id)
	}
	content, err := configuration.ReadContent(body.Content)
	if err != nil {
		return nil, err
	}
	wanted := configuration.Configuration{ID: id, SchemaVersion: body.SchemaVersion, Labels: body.Labels,
		Content: content, TargetCondition: body.TargetCondition, Priority: body.Priority}
	wanted.Metrics.Queries = body.Metrics.Queries
	ifMatch := strings.TrimPrefix(c.Header.Get("If-Match"), "W/")
	write := func() (configuration.Configuration, error) {
		if ifMatch == "" {
			return c.Hub.Configurations().Create(c.Context(), wanted)
		}
		return c.Hub.Configurations().Update(c.Context(), wanted, ifMatch)
	}
	written, err := write()
	return c.Tagged(written, written.ETag, err)
}

func deleteConfiguration(c *https.Call) (any, error) {
	return nil, c.Hub.Configurations().Delete(c.Context(), c.Parameter("id"), c.Header.Get("If-Match"))
}

// applyContent writes content to the modules of one IoT Edge device, at once.
func applyContent(c *https.Call) (any, error) {
	// Content has no ETag: only the condition of any holds.
	if err := fault.Precondition("content", c.Header.Get("If-Match"), `""`); err != nil {
		return nil, err
	}
	content, err := configuration.ReadContent(c.Content)
	if err != nil {
		return nil, err
	}
	return nil, c.Hub.Configurations().Apply(c.Context(), c.Parameter("id"), content)
}

// testConfiguration says what is wrong with a target condition and queries, and succeeds
// whatever that is.
func testConfiguration(c *https.Call) (any, error) {
	var body struct {
		TargetCondition     string          `json:"targetCondition"`
		CustomMetricQueries document.Object `json:"customMetricQueries"`
	}
	if err := c.Decode(&body); err != nil {
		return nil, err
	}
	metrics, target := c.Hub.Configurations().TestQueries(body.TargetCondition, body.CustomMetricQueries)
	result := contract.ConfigurationTestResult{CustomMetricQueryErrors: make(map[string]string)}
	if target != nil {
		result.TargetConditionError = &fault.From(target).Message
	}
	for _, metric := range slices.Backward(metrics) { // of two with one name, the first
		result.CustomMetricQueryErrors[metric.Name] = metric.Err.Error()
	}
	return result, nil
}
