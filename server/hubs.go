package server

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/provisioning"
)

// localHub is a hub of this process as the provisioning service needs it.
type localHub struct{ *hub.Hub }

var _ provisioning.Hub = localHub{}

// Admit implements provisioning.Hub.
func (l localHub) Admit(ctx context.Context, admission provisioning.Admission) error {
	return l.Hub.Admit(ctx, forHub(admission))
}

// Check implements provisioning.Hub.
func (l localHub) Check(admission provisioning.Admission) error {
	return l.CheckAdmission(forHub(admission))
}

// Twin implements provisioning.Hub.
func (l localHub) Twin(ctx context.Context, deviceID string) (*provisioning.InitialTwin, error) {
	twin, err := l.Hub.Twin(ctx, deviceID)
	if errors.Is(err, fault.DeviceNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	tags, err := json.Marshal(twin.Tags)
	if err != nil {
		return nil, err
	}
	delete(twin.Properties.Desired, "$metadata")
	delete(twin.Properties.Desired, "$version")
	desired, err := json.Marshal(twin.Properties.Desired)
	return &provisioning.InitialTwin{Tags: tags, Properties: provisioning.InitialTwinProperties{Desired: desired}}, err
}

// Remove implements provisioning.Hub.
func (l localHub) Remove(ctx context.Context, deviceID string) error {
	err := l.DeleteDevice(ctx, deviceID, "")
	if errors.Is(err, fault.DeviceNotFound) {
		return nil
	}
	return err
}

func forHub(a provisioning.Admission) hub.Admission {
	admission := hub.Admission{DeviceID: a.DeviceID, PrimaryThumbprint: a.PrimaryThumbprint, SecondaryThumbprint: a.SecondaryThumbprint,
		PrimaryKey: a.PrimaryKey, SecondaryKey: a.SecondaryKey, IoTEdge: a.IoTEdge}
	if a.Twin != nil {
		admission.Tags, admission.Desired = a.Twin.Tags, a.Twin.Properties.Desired
	}
	return admission
}
