package contract

import (
	"encoding/json"

	"github.com/berth-iot/berth/document"
)

// JobRequest asks for a scheduled job (PyPI azure-iot-hub, model JobRequest).
type JobRequest struct {
	JobID               string          `json:"jobId,omitempty"`
	Type                string          `json:"type"` // scheduleUpdateTwin or scheduleDeviceMethod
	CloudToDeviceMethod json.RawMessage `json:"cloudToDeviceMethod,omitempty"`
	UpdateTwin          json.RawMessage `json:"updateTwin,omitempty"` // a patch of a twin, with the etag *
	QueryCondition      string          `json:"queryCondition"`
	StartTime           string          `json:"startTime,omitempty"` // absent is now
	MaxExecutionTime    int64           `json:"maxExecutionTimeInSeconds,omitempty"`
}

// Job is a job as back ends see it (PyPI azure-iot-hub, model JobResponse). Of an id that no
// job has, type and status are unknown.
type Job struct {
	JobID               string          `json:"jobId"`
	Type                string          `json:"type"`
	Status              string          `json:"status"` // scheduled, queued, running, completed, failed, cancelled
	QueryCondition      string          `json:"queryCondition,omitempty"`
	CloudToDeviceMethod json.RawMessage `json:"cloudToDeviceMethod,omitempty"`
	UpdateTwin          json.RawMessage `json:"updateTwin,omitempty"`
	CreatedTime         document.Time   `json:"createdTime,omitzero"`
	StartTime           document.Time   `json:"startTime,omitzero"`
	EndTime             document.Time   `json:"endTime,omitzero"`
	MaxExecutionTime    int64           `json:"maxExecutionTimeInSeconds,omitempty"`
	FailureReason       string          `json:"failureReason,omitempty"`
	StatusMessage       string          `json:"statusMessage,omitempty"`
	Statistics          *JobStatistics  `json:"deviceJobStatistics,omitempty"`
}

// The type and status of a job that is not there.
const UnknownJob = "unknown"

// JobStatistics are how many devices a job has, and what became of them.
type JobStatistics struct {
	DeviceCount    int `json:"deviceCount"`
	FailedCount    int `json:"failedCount"`
	SucceededCount int `json:"succeededCount"`
	RunningCount   int `json:"runningCount"`
	PendingCount   int `json:"pendingCount"`
}

// DeviceJob is what became of one device in a job, as SELECT * FROM devices.jobs tells it
// (the Java and C# SDKs).
type DeviceJob struct {
	DeviceID            string        `json:"deviceId"`
	ModuleID            string        `json:"moduleId,omitempty"`
	JobID               string        `json:"jobId"`
	JobType             string        `json:"jobType"`
	Status              string        `json:"status"` // pending, running, completed, failed, canceled
	StartTime           document.Time `json:"startTimeUtc,omitzero"`
	EndTime             document.Time `json:"endTimeUtc,omitzero"`
	CreatedDateTime     document.Time `json:"createdDateTimeUtc"`
	LastUpdatedDateTime document.Time `json:"lastUpdatedDateTimeUtc"`
	// Outcome is nil for one that answered no method: Java takes any other for an answer.
	Outcome *DeviceJobOutcome `json:"outcome,omitempty"`
	Error   *DeviceJobError   `json:"error,omitempty"`
}

// DeviceJobOutcome is what a device has answered.
type DeviceJobOutcome struct {
	DeviceMethodResponse DeviceMethodResponse `json:"deviceMethodResponse"`
}

// DeviceMethodResponse is the answer to a direct method.
type DeviceMethodResponse struct {
	Status  int             `json:"status"`
	Payload json.RawMessage `json:"payload"`
}

// DeviceJobError says why a device failed.
type DeviceJobError struct {
	Code        string `json:"code"` // six digits
	Description string `json:"description"`
}
