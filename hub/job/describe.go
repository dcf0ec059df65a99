package job

import (
	"strconv"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/hub/identity"
)

// Describe returns the job as back ends see it.
func (j Job) Describe() contract.Job {
	s := j.Statistics
	return contract.Job{JobID: j.ID, Type: string(j.Kind), Status: string(j.Status), QueryCondition: j.Condition,
		CloudToDeviceMethod: j.Method, UpdateTwin: j.Twin, CreatedTime: document.Time{Time: j.Created},
		StartTime: document.Time{Time: j.Start}, EndTime: document.Time{Time: j.Ended}, MaxExecutionTime: j.Limit,
		FailureReason: j.Reason,
		Statistics: &contract.JobStatistics{DeviceCount: s.Devices, FailedCount: s.Failed, SucceededCount: s.Succeeded,
			RunningCount: s.Running, PendingCount: j.Pending()}}
}

// Describe returns what became of the identity as back ends see it.
func (d Device) Describe() contract.DeviceJob {
	deviceID, moduleID := identity.SplitKey(d.ID)
	described := contract.DeviceJob{DeviceID: deviceID, ModuleID: moduleID, JobID: d.JobID, JobType: string(d.Kind),
		Status: string(d.Status), StartTime: document.Time{Time: d.Began}, EndTime: document.Time{Time: d.Ended},
		CreatedDateTime: document.Time{Time: d.Created}, LastUpdatedDateTime: document.Time{Time: d.Updated}}
	if d.Answer != nil {
		described.Outcome = &contract.DeviceJobOutcome{DeviceMethodResponse: contract.DeviceMethodResponse{
			Status: d.Answer.Status, Payload: d.Answer.Payload}}
	}
	if d.Error != nil {
		described.Error = &contract.DeviceJobError{Code: strconv.Itoa(d.Error.Code), Description: d.Error.Description}
	}
	return described
}

// DescribeTransfer returns an import or export as back ends see it.
func (j Job) DescribeTransfer() contract.RegistryJob {
	described := contract.RegistryJob{JobID: j.ID, Type: string(j.Kind), Status: string(j.Status),
		StartTime: document.Time{Time: j.Start}, EndTime: document.Time{Time: j.Ended},
		StorageAuthenticationType: "keyBased"}
	switch {
	case j.Status == Scheduled, j.Status == Queued:
		described.Status = "enqueued"
	case j.Status == Completed:
		described.Progress = 100
	}
	if j.Reason != "" {
		described.FailureReason = &j.Reason
	}
	if t := j.Transfer; t != nil {
		described.ExcludeKeysInExport, described.InputBlobName = t.ExcludeKeys, t.InputBlob
		described.OutputBlobName = t.OutputBlob
	}
	return described
}
