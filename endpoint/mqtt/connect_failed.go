package mqtt

import (
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/wire/mqtt"
)

// ConnectFailed implements mqtt.FailureObserver. The user name tells where a client
// wanted to, whatever version of MQTT it speaks.
func (b *backend) ConnectFailed(peer mqtt.Peer, connect *mqtt.Connect, err error) {
	if b.Config.ConnectFailed == nil {
		return
	}
	device := provisioning.Unconnected{Evidence: peerEvidence(peer)}
	if peer.TLS != nil {
		device.ServerName = peer.TLS.ServerName
	}
	if connect != nil {
		if name, ok := contract.ParseProvisioningName(connect.Username); ok && b.hub(name.IDScope) == nil {
			device.IDScope, device.RegistrationID = name.IDScope, name.RegistrationID
		} else if name, err := contract.ParseHubName(connect.Username); err == nil {
			device.Hub, device.DeviceID = name.Host, name.DeviceID
		}
	}
	b.Config.ConnectFailed(device, err)
}
