package https

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/coder/websocket"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/wire/mqtt"
)

// webSocket takes a WebSocket on any path and serves it by its subprotocol. SDKs
// use /$iothub/websocket, and some others.
func (d *door) webSocket(w http.ResponseWriter, r *http.Request) {
	offered := r.Header.Values("Sec-WebSocket-Protocol")
	if !offersProtocol(offered, "mqtt") {
		answering := d.serviceOf(r.Host)
		problem := fault.New(fault.BadRequest,
			"The WebSocket offers the subprotocols %.100q. This version serves mqtt", strings.Join(offered, ", "))
		// Nobody but a device speaks AMQP to the provisioning service, which has it in the
		// log. To a hub a back end does, too.
		if answering == ProvisioningAPI && offersProtocol(offered, "AMQPWSB10") {
			d.Provisioning.VersionRefused(r.Context(), refusedDevice(r), "AMQP", problem)
			WriteFault(w, answering, problem)
			return
		}
		d.refuse(w, r, Operation{API: answering}, problem)
		return
	}
	socket, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:       []string{"mqtt"},
		CompressionMode:    websocket.CompressionDisabled,
		InsecureSkipVerify: true, // of Origin: devices have none, and nothing here trusts a cookie
	})
	if err != nil {
		d.Logger.Info("WebSocket refused", "remote", r.RemoteAddr, "error", err)
		return // Accept has answered
	}
	conn := websocket.NetConn(context.Background(), socket, websocket.MessageBinary)
	d.MQTT(conn, mqtt.Peer{RemoteAddr: remoteAddr(r), TLS: r.TLS, WebSocket: true,
		Proven: func() { d.Proven(r.Context()) }})
}

// refusedDevice is a device whose WebSocket is refused.
func refusedDevice(r *http.Request) provisioning.Unconnected {
	device := provisioning.Unconnected{Evidence: credential.Evidence{Protocol: "amqpws", RemoteAddr: r.RemoteAddr}}
	if r.TLS != nil {
		device.ServerName, device.Certificates = r.TLS.ServerName, r.TLS.PeerCertificates
	}
	return device
}

func offersProtocol(lists []string, protocol string) bool {
	for _, list := range lists {
		for name := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.TrimSpace(name), protocol) {
				return true
			}
		}
	}
	return false
}

func remoteAddr(r *http.Request) net.Addr {
	address, _ := netip.ParseAddrPort(r.RemoteAddr) // net/http writes it so
	return net.TCPAddrFromAddrPort(address)
}
