package provisioning

import "github.com/berth-iot/berth/provisioning/linkedhub"

// admission is what the enrollment's device brings to its hub.
func (e Enrollment) admission() linkedhub.Admission {
	admission := linkedhub.Admission{
		DeviceID:       e.deviceID(),
		IoTEdge:        e.Capabilities != nil && e.Capabilities.IoTEdge,
		ParentDeviceID: e.ParentDeviceID,
		Twin:           e.InitialTwin,
	}
	if keys := e.Attestation.SymmetricKey; keys != nil {
		admission.PrimaryKey, admission.SecondaryKey = keys.PrimaryKey, keys.SecondaryKey
	} else {
		admission.PrimaryThumbprint, admission.SecondaryThumbprint = e.thumbprints()
	}
	return admission
}

func (e Enrollment) deviceID() string {
	if e.DeviceID != "" {
		return e.DeviceID
	}
	return e.RegistrationID
}
