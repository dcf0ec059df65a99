package twin

import (
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/hub/identity"
)

// Twin is a device twin or module twin as back ends see it, in the JSON of the IoT Hub
// service REST API (PyPI azure-iot-hub, model Twin).
type Twin struct {
	DeviceID                  string                      `json:"deviceId"`
	ModuleID                  string                      `json:"moduleId,omitempty"`
	ETag                      string                      `json:"etag"`
	DeviceETag                string                      `json:"deviceEtag"`
	Status                    string                      `json:"status"`
	StatusReason              *string                     `json:"statusReason,omitempty"`
	StatusUpdateTime          document.Time               `json:"statusUpdateTime"`
	ConnectionState           string                      `json:"connectionState"`
	LastActivityTime          document.Time               `json:"lastActivityTime"`
	CloudToDeviceMessageCount int                         `json:"cloudToDeviceMessageCount"`
	AuthenticationType        identity.AuthenticationType `json:"authenticationType"`
	X509Thumbprint            identity.ThumbprintPair     `json:"x509Thumbprint"`
	ModelID                   string                      `json:"modelId"`
	Version                   int64                       `json:"version"`
	Tags                      document.Object             `json:"tags"`
	Properties                Properties                  `json:"properties"`
	Capabilities              *identity.Capabilities      `json:"capabilities,omitempty"` // nil of a module
	DeviceScope               string                      `json:"deviceScope,omitempty"`  // as of the device
	ParentScopes              []string                    `json:"parentScopes,omitempty"`
	// of those that target it: {"id":{"status":"Applied"}}
	Configurations document.Object `json:"configurations,omitzero"`
}

// Properties are the two halves of a twin: the properties in the order in which
// they came, then $metadata and $version.
type Properties struct {
	Desired  document.Object `json:"desired"`
	Reported document.Object `json:"reported"`
}

// Describe returns the twin as back ends see it, with what its device's identity says.
func (d Document) Describe(device identity.Device) Twin {
	described := Twin{
		DeviceID: device.DeviceID, ETag: d.publicETag(), DeviceETag: device.ETag,
		Status: device.Status, StatusReason: device.StatusReason, StatusUpdateTime: device.StatusUpdatedTime,
		ConnectionState: device.ConnectionState, LastActivityTime: device.LastActivityTime,
		CloudToDeviceMessageCount: device.CloudToDeviceMessageCount,
		ModelID:                   d.ModelID, Version: d.Version, Tags: d.Tags, Capabilities: &device.Capabilities,
		DeviceScope: device.DeviceScope, ParentScopes: device.ParentScopes,
		Properties: Properties{Desired: d.Desired.describe(true), Reported: d.Reported.describe(true)},
	}
	described.setAuthentication(device.Authentication)
	return described
}

// DescribeModule returns the twin of a module as back ends see it, with what its identity
// says, and that of its device.
func (d Document) DescribeModule(module identity.Module, device identity.Device) Twin {
	described := d.Describe(device)
	described.ModuleID, described.DeviceETag = module.ModuleID, module.ETag
	described.ConnectionState, described.LastActivityTime = module.ConnectionState, module.LastActivityTime
	described.CloudToDeviceMessageCount = module.CloudToDeviceMessageCount
	described.Capabilities, described.DeviceScope, described.ParentScopes = nil, "", nil
	described.setAuthentication(module.Authentication)
	return described
}

func (t *Twin) setAuthentication(a *identity.Authentication) {
	if a != nil {
		t.AuthenticationType, t.X509Thumbprint = a.Type, a.X509Thumbprint
	}
}
