package attest

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/berth-iot/berth/fault"
)

// Attempt is one try of a device to register: who, from where, what was
// checked, and how it ended.
type Attempt struct {
	Sequence       int64     `json:"sequence"` // its place in the log, by which it is found again
	Time           time.Time `json:"time"`
	RegistrationID string    `json:"registrationId"`
	Enrolled       bool      `json:"enrolled"` // there is an enrollment or a registration of this id
	IDScope        string    `json:"idScope"`
	Protocol       string    `json:"protocol"`
	RemoteAddress  string    `json:"remoteAddress"`
	Outcome        Outcome   `json:"outcome"`
	Code           int       `json:"code,omitempty"` // six digits, of a refusal or failure
	TrackingID     string    `json:"trackingId,omitempty"`
	Message        string    `json:"message,omitempty"` // what the device was told
	Hub            string    `json:"hub,omitempty"`
	DeviceID       string    `json:"deviceId,omitempty"`
	Checks         Trace     `json:"checks"`

	// Snapshot is what the judgement depended on, for berth explain. Lists
	// leave it out.
	Snapshot json.RawMessage `json:"case,omitempty"`
}

// WithoutConfidential is the attempt for those who may not configure the service.
func (a Attempt) WithoutConfidential() Attempt {
	last := len(a.Checks) - 1 // a check that fails
	if last < 0 || !a.Checks[last].Confidential {
		return a
	}
	trace := slices.Clone(a.Checks[:last])
	trace.Fail(a.Checks[last].Name, fault.TextOf(errors.New(a.Message)), fault.Say("%s", a.Checks[last].Expected),
		fault.Say("Let somebody who may configure the service look at this attempt, or at the server's log"))
	if texts := a.Checks[last].Texts; texts != nil {
		trace[last].Texts.Expected = texts.Expected
	}
	a.Checks = trace
	return a
}

// Outcome is how an attempt ended.
type Outcome string

const (
	Assigned Outcome = "assigned"
	Refused  Outcome = "refused" // by attestation, or because the request was wrong
	Failed   Outcome = "failed"  // by allocation or the hub, after attestation had passed

	Unreadable Outcome = "unreadable" // nobody knows: what was kept of it can't be read, and Message says why
)
