package https

import (
	"net/http"
	"strconv"
	"time"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
)

// WriteFault renders a fault as the service does that answers.
func WriteFault(w http.ResponseWriter, answering API, problem *fault.Error) {
	header := w.Header()
	setHeader(header, contract.RequestIDHeader, problem.TrackingID)
	if problem.RetryAfter > 0 {
		header.Set("Retry-After", retryAfterSeconds(problem.RetryAfter))
	}
	if problem.Code.Status() == http.StatusUnauthorized {
		setHeader(header, "WWW-Authenticate", "SharedAccessSignature")
	}
	if answering == HubAPI {
		setHeader(header, contract.HubErrorCodeHeader, problem.Code.Name())
		writeJSON(w, problem.Code.Status(), contract.NewHubErrorBody(problem, time.Now()))
		return
	}
	setHeader(header, contract.ErrorCodeHeader, strconv.Itoa(int(problem.Code)))
	writeJSON(w, problem.Code.Status(), contract.NewErrorBody(problem, time.Now()))
}

func writeChallenge(w http.ResponseWriter, challenge *provisioning.TPMChallenge) {
	problem := challenge.Fault
	header := w.Header()
	setHeader(header, contract.RequestIDHeader, problem.TrackingID)
	setHeader(header, contract.ErrorCodeHeader, strconv.Itoa(int(problem.Code)))
	setHeader(header, "WWW-Authenticate", "SharedAccessSignature")
	writeJSON(w, problem.Code.Status(), contract.ChallengeBody{ErrorBody: contract.NewErrorBody(problem, time.Now()),
		AuthenticationKey: challenge.Activation, KeyName: challenge.KeyName})
}

// retryAfterSeconds is a duration as Retry-After has it.
func retryAfterSeconds(wait time.Duration) string { return strconv.Itoa(contract.RetryAfter(wait)) }
