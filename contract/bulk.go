package contract

// BulkResult says which items of a bulk operation failed.
type BulkResult struct {
	IsSuccessful bool        `json:"isSuccessful"`
	Errors       []BulkError `json:"errors"`
}

// BulkError is an item of a bulk operation that failed.
type BulkError struct {
	RegistrationID    string `json:"registrationId,omitempty"`    // of an individual enrollment
	EnrollmentGroupID string `json:"enrollmentGroupId,omitempty"` // of a group
	ErrorCode         int    `json:"errorCode"`
	ErrorStatus       string `json:"errorStatus"`
}

// BulkDeviceResult says which devices of a bulk operation failed.
type BulkDeviceResult struct {
	IsSuccessful bool              `json:"isSuccessful"`
	Errors       []BulkDeviceError `json:"errors"`
	Warnings     []any             `json:"warnings"` // none
}

// BulkDeviceError is a device or module of a bulk operation that failed.
type BulkDeviceError struct {
	DeviceID    string `json:"deviceId"`
	ModuleID    string `json:"moduleId,omitempty"`
	ErrorCode   string `json:"errorCode"`
	ErrorStatus string `json:"errorStatus"`
}
