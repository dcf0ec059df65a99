package contract

import (
	"encoding/json"
)

// MethodCall is a call of a direct method, as a back end sends it (Microsoft Learn,
// iot-hub-devguide-direct-methods).
type MethodCall struct {
	MethodName      string          `json:"methodName"`
	Payload         json.RawMessage `json:"payload"` // any JSON
	ResponseTimeout *int            `json:"responseTimeoutInSeconds,omitempty"`
	ConnectTimeout  *int            `json:"connectTimeoutInSeconds,omitempty"`
}

// MethodAnswer is what the device has answered.
type MethodAnswer struct {
	Status  int             `json:"status"`
	Payload json.RawMessage `json:"payload"` // any JSON
}
