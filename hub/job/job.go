// Package job keeps the jobs of a hub: what is to be done at a time with each identity that
// a condition finds, how far that has come, and what became of each (Microsoft Learn,
// iot-hub-devguide-jobs). It knows neither twins nor methods: what is done is a function of
// its Config.
package job

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/store"
)

// Kind is what a job does, in the spelling of Azure.
type Kind string

// What a job can do with each identity.
const (
	UpdateTwin   Kind = "scheduleUpdateTwin"
	InvokeMethod Kind = "scheduleDeviceMethod"
)

// Status is how far a job has come, in the spelling of Azure.
type Status string

// The states of a job. Queued is one whose time has come and that waits for others to end;
// it is stored as Scheduled.
const (
	Scheduled Status = "scheduled"
	Queued    Status = "queued"
	Running   Status = "running"
	Completed Status = "completed" // also when some of its identities failed
	Failed    Status = "failed"
	Cancelled Status = "cancelled"
)

// HasEnded reports whether nothing more will be done.
func (s Status) HasEnded() bool { return s == Completed || s == Failed || s == Cancelled }

// Specification is what a back end asks for.
type Specification struct {
	ID        string          `json:"id"`
	Kind      Kind            `json:"kind"`
	Condition string          `json:"condition"`          // which identities, as Select reads it
	Twin      json.RawMessage `json:"twin,omitempty"`     // the patch, of UpdateTwin
	Method    json.RawMessage `json:"method,omitempty"`   // the call, of InvokeMethod
	Transfer  *Transfer       `json:"transfer,omitempty"` // of Export and Import
	Start     time.Time       `json:"start"`              // zero is now
	Limit     int64           `json:"limit"`              // seconds from when it begins; 0 is an hour
}

// Job is a job as it is stored.
type Job struct {
	Specification
	Status     Status     `json:"status"`
	Created    time.Time  `json:"created"`
	Began      time.Time  `json:"began"`            // zero while it is scheduled
	Ended      time.Time  `json:"ended"`            // zero until then
	Reason     string     `json:"reason,omitempty"` // why it failed
	Statistics Statistics `json:"statistics"`
	Progress   progress   `json:"progress"`

	etag string // of the store
}

// Statistics are how many identities a job has, and what became of them. While it runs they
// are as of a second ago.
type Statistics struct {
	Devices   int `json:"devices"`
	Succeeded int `json:"succeeded"`
	Failed    int `json:"failed"`
	Running   int `json:"running"`
}

// progress is what a job that is taken up again goes by: first its identities are selected,
// then each has its turn, in the same order.
type progress struct {
	Selected bool   `json:"selected"` // all are
	Turns    bool   `json:"turns"`    // they have begun
	After    string `json:"after"`    // where Select goes on; with Turns, all up to this key have had theirs
	// Of an import: the lines that are done, and those that were begun.
	Lines int `json:"lines,omitempty"`
	Begun int `json:"begun,omitempty"`
	// Of the identities up to After.
	Succeeded int `json:"succeeded"`
	Failed    int `json:"failed"`
}

// Pending is how many identities have not had their turn.
func (j Job) Pending() int {
	if j.Status.HasEnded() {
		return 0
	}
	s := j.Statistics
	return max(0, s.Devices-s.Succeeded-s.Failed-s.Running)
}

// What is read from the store is held against what the code relies on, so that a damaged
// record is one that can't be read, and nothing worse.
var (
	_ store.Checkable = (*Job)(nil)
	_ store.Checkable = (*Device)(nil)
)

// Intact implements store.Checkable.
func (j *Job) Intact() error {
	switch {
	case checkID(j.ID) != nil:
		return errors.New("it has no id")
	case j.Kind != UpdateTwin && j.Kind != InvokeMethod && !j.IsTransfer(), j.IsTransfer() && j.Transfer == nil:
		return errors.New("it says nothing that a job does")
	case !j.Status.HasEnded() && j.Status != Scheduled && j.Status != Running:
		return errors.New("it has no state")
	case j.Start.IsZero():
		return errors.New("it has no start")
	}
	return nil
}

// DeviceStatus is what has become of an identity in a job, in the spelling of Azure.
type DeviceStatus string

// What there is. One that is running when the server stops has had its call, and nobody
// knows what came of it.
const (
	DevicePending   DeviceStatus = "pending"
	DeviceRunning   DeviceStatus = "running"
	DeviceCompleted DeviceStatus = "completed"
	DeviceFailed    DeviceStatus = "failed"
	DeviceCancelled DeviceStatus = "canceled"
)

func (s DeviceStatus) hasEnded() bool {
	return s == DeviceCompleted || s == DeviceFailed || s == DeviceCancelled
}

// Device is what became of one identity in a job.
type Device struct {
	JobID   string       `json:"-"`
	ID      string       `json:"-"` // of the identity
	Kind    Kind         `json:"kind"`
	Status  DeviceStatus `json:"status"`
	Created time.Time    `json:"created"`
	Updated time.Time    `json:"updated"`
	Began   time.Time    `json:"began"` // zero before
	Ended   time.Time    `json:"ended"` // zero before
	Answer  *Answer      `json:"answer,omitempty"`
	Error   *DeviceError `json:"error,omitempty"`
}

// Intact implements store.Checkable.
func (d *Device) Intact() error {
	if !d.Status.hasEnded() && d.Status != DevicePending && d.Status != DeviceRunning {
		return errors.New("it has no state")
	}
	return nil
}

// Answer is what a device has answered to a direct method.
type Answer struct {
	Status  int             `json:"status"`
	Payload json.RawMessage `json:"payload"`
}

// DeviceError says why an identity failed.
type DeviceError struct {
	Code        int    `json:"code"` // of a fault
	Description string `json:"description"`
}

// Limits bound the jobs of a hub. Zero values are defaults.
type Limits struct {
	Active  int           // jobs that have not ended, 1000; Azure has 1, 5 or 10, by tier
	Running int           // of those, how many run at once, 10
	Devices int           // how many identities of a job have their turn at once, 100
	History time.Duration // how long a job is kept after its end, 30 days
}

// AzureLimits are those of the tiers F1 and S1 of Azure.
var AzureLimits = Limits{Active: 1, Running: 1}

// maxActive bounds what Limits can say: the list of those jobs is read each second.
const maxActive = 10_000

func (l Limits) complete() Limits {
	set := func(limit *int, value int) {
		if *limit <= 0 {
			*limit = value
		}
	}
	set(&l.Active, 1000)
	l.Active = min(l.Active, maxActive)
	set(&l.Running, 10)
	set(&l.Devices, 100)
	if l.History <= 0 {
		l.History = 30 * 24 * time.Hour
	}
	return l
}

// Config says where jobs are kept and by what they are carried out.
type Config struct {
	Documents store.Documents
	Prefix    string       // what the names of the collections begin with, such as hub/berth/
	Lease     *store.Lease // of the node that carries jobs out
	Limits    Limits
	Now       func() time.Time
	Logger    *slog.Logger
	Panics    *panics.Recorder

	// Select returns at most limit ids of the identities that a condition finds, in order, and
	// the after of the next call, "" at the end. It may return none and a next. A condition that
	// can't be read is a fault.
	Select func(ctx context.Context, condition, after string, limit int) (ids []string, next string, err error)

	// PatchTwin merges a patch into a twin, and commits the changes of with in the same commit.
	// It returns a fault for what the twin does not take, and a store.OthersError when with did
	// not find what it asked for.
	PatchTwin func(ctx context.Context, id string, patch json.RawMessage, with ...store.Change) error

	// Invoke calls a direct method.
	Invoke func(ctx context.Context, id string, call json.RawMessage) (Answer, error)

	// Export calls each with all identities and their twins, as lines of a file.
	Export func(ctx context.Context, excludeKeys bool, each func(line []byte) error) error

	// Import does what a line of a file says, and returns whose it is. With redo that may have
	// been done before.
	Import func(ctx context.Context, line []byte, redo bool) (deviceID, moduleID string, err error)

	Blobs Blobs // that are imported from and exported to; nil for none
}

// Jobs are those of a hub. Its methods may be called at once from many goroutines, on any
// node.
type Jobs struct {
	Config

	jobs    store.Table[Job]
	devices store.Table[Device]    // by job and identity
	lines   store.Table[lineError] // of imports, those that failed
	index   store.Table[mark]      // of the jobs by time: see activeKey and endedKey
}

// mark is an entry of the index.
type mark struct {
	Cancelled bool `json:"cancelled,omitempty"` // what it had begun is to be settled
}

// Open returns the jobs on their documents. Run carries them out.
func Open(config Config) *Jobs {
	now := config.Now
	config.Now = func() time.Time { return now().UTC() }
	config.Limits = config.Limits.complete()
	documents, prefix := config.Documents, config.Prefix
	return &Jobs{Config: config,
		jobs:    store.NewTable[Job](documents, prefix+"jobs"),
		devices: store.NewTable[Device](documents, prefix+"job-items"),
		lines:   store.NewTable[lineError](documents, prefix+"job-lines"),
		index:   store.NewTable[mark](documents, prefix+"job-times"),
	}
}
