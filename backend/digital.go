package backend

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/document"
)

// DigitalTwin returns the twin of a device by the conventions of IoT Plug and Play.
func (h *Hub) DigitalTwin(ctx context.Context, deviceID string) (view document.Object, err error) {
	err = h.do(ctx, request{method: http.MethodGet, path: contract.DigitalTwinPath.With(deviceID), into: &view,
		maxAnswer: maxDocument})
	return view, err
}

// PatchDigitalTwin sets what is desired by a JSON Patch of the digital twin, under the
// condition ifMatch: "", "*" or the twin's ETag.
func (h *Hub) PatchDigitalTwin(ctx context.Context, deviceID string, patch json.RawMessage, ifMatch string) error {
	return h.do(ctx, request{method: http.MethodPatch, path: contract.DigitalTwinPath.With(deviceID), ifMatch: ifMatch,
		body: patch})
}

// Command is one of a component of a digital twin, "" for the device's own.
type Command struct {
	Component, Name string
	Payload         json.RawMessage // any JSON; nil is null
	ResponseTimeout int             // seconds; 0 is the service's default
	ConnectTimeout  int             // seconds
}

// InvokeCommand has a device carry out a command and waits for its answer. The faults are
// those of InvokeMethod.
func (h *Hub) InvokeCommand(
	ctx context.Context, deviceID string, command Command,
) (answer contract.MethodAnswer, err error) {
	path := contract.CommandPath.With(deviceID, command.Name)
	if command.Component != "" {
		path = contract.ComponentCommandPath.With(deviceID, command.Component, command.Name)
	}
	query := url.Values{}
	for name, seconds := range map[string]int{
		"responseTimeoutInSeconds": command.ResponseTimeout, "connectTimeoutInSeconds": command.ConnectTimeout,
	} {
		if seconds != 0 {
			query.Set(name, strconv.Itoa(seconds))
		}
	}
	response, err := h.send(ctx, request{method: http.MethodPost, path: path, query: query, body: command.Payload})
	if err != nil {
		return answer, err
	}
	defer response.Body.Close()
	if answer.Status, err = strconv.Atoi(response.Header.Get(contract.CommandStatusHeader)); err != nil {
		return answer, fmt.Errorf("read the status of a command: %w", err)
	}
	answer.Payload, err = io.ReadAll(http.MaxBytesReader(nil, response.Body, maxMethodAnswer))
	return answer, err
}
