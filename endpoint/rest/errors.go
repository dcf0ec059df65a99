package rest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
)

// writeFault renders a fault as the service does that answers.
func writeFault(w http.ResponseWriter, answering service, problem *fault.Error) {
	header := w.Header()
	setHeader(header, "x-ms-request-id", problem.TrackingID)
	if problem.RetryAfter > 0 {
		header.Set("Retry-After", seconds(problem.RetryAfter))
	}
	if problem.Code.Status() == http.StatusUnauthorized {
		setHeader(header, "WWW-Authenticate", "SharedAccessSignature")
	}
	if answering == hubAPI {
		setHeader(header, "iothub-errorcode", problem.Code.Name())
		writeJSON(w, problem.Code.Status(), hubError(problem, time.Now()))
		return
	}
	setHeader(header, "x-ms-error-code", strconv.Itoa(int(problem.Code)))
	writeJSON(w, problem.Code.Status(), provisioningError(problem, time.Now()))
}

// challengeBody is a refusal with what the device's TPM is to activate: the C#
// and Node clients look for authenticationKey in it.
type challengeBody struct {
	provisioningErrorBody
	AuthenticationKey []byte `json:"authenticationKey"`
	KeyName           string `json:"keyName"`
}

func writeChallenge(w http.ResponseWriter, challenge *provisioning.TPMChallenge) {
	problem := challenge.Fault
	header := w.Header()
	setHeader(header, "x-ms-request-id", problem.TrackingID)
	setHeader(header, "x-ms-error-code", strconv.Itoa(int(problem.Code)))
	setHeader(header, "WWW-Authenticate", "SharedAccessSignature")
	writeJSON(w, problem.Code.Status(), challengeBody{provisioningError(problem, time.Now()), challenge.Activation, challenge.KeyName})
}

// provisioningErrorBody is ProvisioningServiceErrorDetails without info: a
// fault's Info points into the portal's forms.
type provisioningErrorBody struct {
	ErrorCode  int    `json:"errorCode"`
	TrackingID string `json:"trackingId"`
	Message    string `json:"message"`
	Timestamp  string `json:"timestampUtc"`
}

func provisioningError(problem *fault.Error, now time.Time) provisioningErrorBody {
	return provisioningErrorBody{int(problem.Code), problem.TrackingID, problem.Message, document.FormatTime(now)}
}

// hubErrorBody is how the hub's REST API has its errors. The Node SDK takes
// Message apart at its semicolons: ErrorCode:Name;text. So a message has no others, but
// for those of what it quotes.
type hubErrorBody struct {
	Message          string `json:"Message"`
	ExceptionMessage string `json:"ExceptionMessage"`
}

func hubError(problem *fault.Error, now time.Time) hubErrorBody {
	text := problem.In(func(text string) string { return strings.ReplaceAll(text, "; ", ", ") })
	return hubErrorBody{
		Message:          "ErrorCode:" + problem.Code.Name() + ";" + text,
		ExceptionMessage: fmt.Sprintf("Tracking ID:%s-TimeStamp:%s", problem.TrackingID, now.UTC().Format("01/02/2006 15:04:05")),
	}
}

// seconds is a duration as Retry-After has it: whole, and never none.
func seconds(d time.Duration) string { return strconv.Itoa(max(1, int(d/time.Second))) }
