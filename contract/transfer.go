package contract

import "github.com/berth-iot/berth/document"

// RegistryJob is an import or export of the identities of a hub (PyPI azure-iot-hub, model
// JobProperties). The addresses of containers hold keys, and are never answered.
type RegistryJob struct {
	JobID                     string        `json:"jobId"`
	StartTime                 document.Time `json:"startTimeUtc,omitzero"`
	EndTime                   document.Time `json:"endTimeUtc,omitzero"`
	Type                      string        `json:"type"`   // import or export
	Status                    string        `json:"status"` // enqueued, running, completed, failed or cancelled
	Progress                  int           `json:"progress"`
	InputBlobContainerURI     string        `json:"inputBlobContainerUri"`
	InputBlobName             string        `json:"inputBlobName,omitempty"`
	OutputBlobContainerURI    string        `json:"outputBlobContainerUri"`
	OutputBlobName            string        `json:"outputBlobName,omitempty"`
	ExcludeKeysInExport       bool          `json:"excludeKeysInExport"`
	StorageAuthenticationType string        `json:"storageAuthenticationType"` // keyBased
	IncludeConfigurations     bool          `json:"includeConfigurations,omitempty"`
	FailureReason             *string       `json:"failureReason"`
}
