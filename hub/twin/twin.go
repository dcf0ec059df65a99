package twin

import (
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/hub/identity"
)

// Twin is a device twin as back ends see it, in the JSON of the IoT Hub service
// REST API (PyPI azure-iot-hub, model Twin).
type Twin struct {
	DeviceID                  string                      `json:"deviceId"`
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
	Capabilities              identity.Capabilities       `json:"capabilities"`
	DeviceScope               string                      `json:"deviceScope,omitempty"` // as of the device
	ParentScopes              []string                    `json:"parentScopes,omitempty"`
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
		ModelID:                   d.ModelID, Version: d.Version, Tags: d.Tags, Capabilities: device.Capabilities,
		DeviceScope: device.DeviceScope, ParentScopes: device.ParentScopes,
		Properties: Properties{Desired: d.Desired.describe(true), Reported: d.Reported.describe(true)},
	}
	if a := device.Authentication; a != nil {
		described.AuthenticationType, described.X509Thumbprint = a.Type, a.X509Thumbprint
	}
	return described
}
