package https

import (
	"net/http"
	"strconv"
	"time"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
)

// writeFault renders a fault as the operation does.
func (o Operation) writeFault(w http.ResponseWriter, problem *fault.Error) {
	switch {
	case o.Nested:
		WriteNestedFault(w, problem)
	case o.Flat:
		WriteFlatFault(w, problem)
	default:
		WriteFault(w, o.API, problem)
	}
}

// WriteFault renders a fault as the service does that answers.
func WriteFault(w http.ResponseWriter, answering API, problem *fault.Error) {
	setFaultHeaders(w.Header(), answering, problem)
	if answering == HubAPI {
		writeJSON(w, problem.Code.Status(), contract.NewHubErrorBody(problem, time.Now()))
		return
	}
	writeJSON(w, problem.Code.Status(), contract.NewErrorBody(problem, time.Now()))
}

// WriteNestedFault renders a fault as a hub does of a call of a method, or of a command of
// a digital twin.
func WriteNestedFault(w http.ResponseWriter, problem *fault.Error) {
	setFaultHeaders(w.Header(), HubAPI, problem)
	writeJSON(w, problem.Code.Status(), contract.NewMethodErrorBody(problem, time.Now()))
}

// WriteFlatFault renders a fault as a hub does of an operation on modules: in the form of the
// provisioning service, under a hub's headers.
func WriteFlatFault(w http.ResponseWriter, problem *fault.Error) {
	setFaultHeaders(w.Header(), HubAPI, problem)
	writeJSON(w, problem.Code.Status(), contract.NewErrorBody(problem, time.Now()))
}

func setFaultHeaders(header http.Header, answering API, problem *fault.Error) {
	setHeader(header, contract.RequestIDHeader, problem.TrackingID)
	if problem.RetryAfter > 0 {
		header.Set("Retry-After", retryAfterSeconds(problem.RetryAfter))
	}
	if problem.Code.Status() == http.StatusUnauthorized {
		setHeader(header, "WWW-Authenticate", "SharedAccessSignature")
	}
	if answering == HubAPI {
		if problem.Code == fault.Throttled {
			header.Set("Connection", "close") // as Azure does, where no header says when to come back
		}
		setHeader(header, contract.HubErrorCodeHeader, problem.Code.Name())
		return
	}
	setHeader(header, contract.ErrorCodeHeader, strconv.Itoa(int(problem.Code)))
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
