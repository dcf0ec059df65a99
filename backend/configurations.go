package backend

import (
	"context"
	"net/http"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/configuration"
)

// Configurations returns all configurations of the hub, in the order of their ids.
func (h *Hub) Configurations(ctx context.Context) (found []configuration.Configuration, err error) {
	err = h.do(ctx, request{method: http.MethodGet, path: contract.ConfigurationsPath, into: &found})
	return found, err
}

// Configuration returns a configuration with its metrics.
func (h *Hub) Configuration(ctx context.Context, id string) (found configuration.Configuration, err error) {
	err = h.do(ctx, request{method: http.MethodGet, path: contract.ConfigurationPath.With(id), into: &found,
		maxAnswer: maxDocument})
	return found, err
}

// CreateConfiguration adds a configuration.
func (h *Hub) CreateConfiguration(
	ctx context.Context, wanted configuration.Configuration,
) (created configuration.Configuration, err error) {
	err = h.do(ctx, request{method: http.MethodPut, path: contract.ConfigurationPath.With(wanted.ID), body: wanted,
		into: &created, maxAnswer: maxDocument})
	return created, err
}

// UpdateConfiguration changes all of a configuration but its content, which stays. ifMatch is
// "*" or the configuration's ETag; "" is taken for "*".
func (h *Hub) UpdateConfiguration(
	ctx context.Context, wanted configuration.Configuration, ifMatch string,
) (updated configuration.Configuration, err error) {
	if ifMatch == "" {
		ifMatch = "*"
	}
	err = h.do(ctx, request{method: http.MethodPut, path: contract.ConfigurationPath.With(wanted.ID),
		ifMatch: ifMatch, body: wanted, into: &updated, maxAnswer: maxDocument})
	return updated, err
}

// DeleteConfiguration removes a configuration under the condition ifMatch.
func (h *Hub) DeleteConfiguration(ctx context.Context, id, ifMatch string) error {
	return h.do(ctx, request{method: http.MethodDelete, path: contract.ConfigurationPath.With(id), ifMatch: ifMatch})
}

// TestConfiguration says what is wrong with a target condition and the queries of metrics.
func (h *Hub) TestConfiguration(
	ctx context.Context, test contract.ConfigurationTest,
) (result contract.ConfigurationTestResult, err error) {
	err = h.do(ctx, request{method: http.MethodPost, path: contract.ConfigurationTestPath, body: test, into: &result})
	return result, err
}

// ConfigurationTargets says which devices or modules a configuration would target: those of
// one part of all, and where the next part begins.
func (h *Hub) ConfigurationTargets(
	ctx context.Context, targets contract.ConfigurationTargets,
) (found configuration.Preview, err error) {
	err = h.do(ctx, request{method: http.MethodPost, path: contract.TargetsPath, body: targets, into: &found})
	return found, err
}

// ApplyConfigurationContent writes content to the modules of one IoT Edge device.
func (h *Hub) ApplyConfigurationContent(ctx context.Context, deviceID string, content configuration.Content) error {
	response, err := h.send(ctx, request{method: http.MethodPost, path: contract.ApplyContentPath.With(deviceID),
		body: content})
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNoContent { // whoever answered, it was no hub
		return fault.NewReason("the service answers %s to POST %s", response.Status, contract.ApplyContentPath)
	}
	return nil
}
