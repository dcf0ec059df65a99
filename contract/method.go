package contract

import "encoding/json"

// CommandStatusHeader is the header of the answer to a command of a digital twin that has
// the status of the device (Azure, IoT Hub service REST API).
const CommandStatusHeader = "x-ms-command-statuscode"

// CommandMethod is the name of the method that a command of a component is for its device;
// the component of the device's own commands is "" (Microsoft Learn, concepts-convention).
func CommandMethod(component, command string) string {
	if component == "" {
		return command
	}
	return component + "*" + command
}

// MethodCall is a call of a direct method, as a back end sends it (Microsoft Learn,
// iot-hub-devguide-direct-methods).
type MethodCall struct {
	MethodName      string          `json:"methodName"`
	Payload         json.RawMessage `json:"payload"` // any JSON
	ResponseTimeout *int            `json:"responseTimeoutInSeconds,omitempty"`
	ConnectTimeout  *int            `json:"connectTimeoutInSeconds,omitempty"`
	Timeout         *int            `json:"timeoutInSeconds,omitempty"` // to respond, of old versions of the Node client
}

// MethodAnswer is what the device has answered.
type MethodAnswer struct {
	Status  int             `json:"status"`
	Payload json.RawMessage `json:"payload"` // any JSON
}
