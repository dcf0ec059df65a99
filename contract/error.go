package contract

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
)

// The headers by which a refusal over HTTPS is known besides its body. They go out as
// they are spelled here: some clients compare names byte by byte.
const (
	RequestIDHeader    = "x-ms-request-id"  // of both services: the tracking id
	ErrorCodeHeader    = "x-ms-error-code"  // of the provisioning service: six digits
	HubErrorCodeHeader = "iothub-errorcode" // of a hub: the name of the code
)

// BulkFailure is the name of the error of a bulk operation of a hub, some devices of
// which failed. Its body is the result of the operation all the same.
const BulkFailure = "BulkRegistryOperationFailure"

// ErrorBody is ProvisioningServiceErrorDetails without info: a fault's Info points into the
// portal's forms.
type ErrorBody struct {
	ErrorCode  int    `json:"errorCode"`
	TrackingID string `json:"trackingId"`
	Message    string `json:"message"`
	Timestamp  string `json:"timestampUtc"`
}

// NewErrorBody returns a fault as the provisioning service's REST API has it (Azure, DPS
// data plane).
func NewErrorBody(problem *fault.Error, now time.Time) ErrorBody {
	return ErrorBody{int(problem.Code), problem.TrackingID, problem.Message, document.FormatTime(now)}
}

// MQTTErrorBody is a refusal over MQTT, of a registration or of a request for a twin.
type MQTTErrorBody struct {
	ErrorBody
	Info map[string]string `json:"info,omitempty"`
}

// NewMQTTErrorBody returns a fault as the body of such a refusal.
func NewMQTTErrorBody(problem *fault.Error, now time.Time) MQTTErrorBody {
	return MQTTErrorBody{NewErrorBody(problem, now), problem.Info}
}

// CertificateErrorBody is a hub's refusal of a request for a certificate: info is there,
// if only as null.
type CertificateErrorBody struct {
	ErrorBody
	Info map[string]string `json:"info"`
}

// NewCertificateErrorBody returns a fault as the body of such a refusal.
func NewCertificateErrorBody(problem *fault.Error, now time.Time) CertificateErrorBody {
	return CertificateErrorBody{NewErrorBody(problem, now), problem.Info}
}

// ChallengeBody is a refusal with what the device's TPM is to activate (Azure,
// concepts-tpm-attestation): the C# and Node clients look for authenticationKey in it.
type ChallengeBody struct {
	ErrorBody
	AuthenticationKey []byte `json:"authenticationKey"` // for the TPM alone, see attest.Activation
	KeyName           string `json:"keyName"`           // of the token that the device is to make with it
}

// HubErrorBody is how the hub's REST API has its errors. The Node SDK takes Message
// apart at its semicolons: ErrorCode:Name;text. So a message has no others, but for those
// of what it quotes.
type HubErrorBody struct {
	Message          string `json:"Message"`
	ExceptionMessage string `json:"ExceptionMessage"`
}

// hubErrorCode begins the message of a hub's error, before the name of its code.
const hubErrorCode = "ErrorCode:"

// NewHubErrorBody returns a fault as the hub's REST API has it.
func NewHubErrorBody(problem *fault.Error, now time.Time) HubErrorBody {
	text := problem.In(func(text string) string { return strings.ReplaceAll(text, "; ", ", ") })
	return HubErrorBody{
		Message: hubErrorCode + problem.Code.Name() + ";" + text,
		ExceptionMessage: fmt.Sprintf("Tracking ID:%s-TimeStamp:%s", problem.TrackingID,
			now.UTC().Format("01/02/2006 15:04:05")),
	}
}

// NewMethodErrorBody returns a fault as the hub's REST API has it of direct methods and of
// commands of digital twins: the message is JSON in a string, with info if only as an empty
// object, and ExceptionMessage is empty, because the Java client puts the two together and
// reads the whole as JSON.
func NewMethodErrorBody(problem *fault.Error, now time.Time) HubErrorBody {
	info := problem.Info
	if info == nil {
		info = map[string]string{}
	}
	text, _ := document.Marshal(CertificateErrorBody{NewErrorBody(problem, now), info}) // numbers and strings are JSON
	return HubErrorBody{Message: string(text)}
}

// Refusal is what a client learns from the body of a refusal.
type Refusal struct {
	Code       fault.Code // 0 when the body has none that is known here
	Message    string
	TrackingID string            // "" of a hub's REST API, which has it in RequestIDHeader
	Info       map[string]string // nil when there is none
}

// ParseRefusal reads the body of a refusal in any of the forms. ok is false when it is
// not JSON.
func ParseRefusal(body []byte) (read Refusal, ok bool) {
	var fields struct {
		ErrorCode  int             `json:"errorCode"`
		TrackingID string          `json:"trackingId"`
		Message    string          `json:"message"` // also a hub's: names are matched without case
		Info       json.RawMessage `json:"info"`
	}
	if json.Unmarshal(body, &fields) != nil {
		return Refusal{}, false
	}
	if strings.HasPrefix(fields.Message, "{") && fields.ErrorCode == 0 { // of a direct method
		if inner, ok := ParseRefusal([]byte(fields.Message)); ok && inner.Code != 0 {
			return inner, true
		}
	}
	if name, text, found := strings.Cut(fields.Message, ";"); found && strings.HasPrefix(name, hubErrorCode) {
		code, _ := CodeOf(strings.TrimPrefix(name, hubErrorCode))
		return Refusal{Code: code, Message: text}, true
	}
	read = Refusal{Code: fault.Code(fields.ErrorCode), Message: fields.Message, TrackingID: fields.TrackingID}
	if json.Unmarshal(fields.Info, &read.Info) != nil {
		read.Info = nil // there for people: a code without it is still one
	}
	return read, true
}

// CodeOf returns the code that has this name. ok is false when it is not known here.
func CodeOf(name string) (code fault.Code, ok bool) {
	for _, known := range fault.Codes() {
		if known.Name() == name {
			return known, true
		}
	}
	return 0, false
}

// RetryAfter returns a time to wait as Retry-After has it, and the parameter retry-after
// of answers over MQTT: whole seconds, rounded up so that nobody comes too early, and
// never none.
func RetryAfter(wait time.Duration) int { return max(1, int((wait+time.Second-1)/time.Second)) }
