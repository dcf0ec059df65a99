package rest

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/coder/websocket"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/wire/mqtt"
)

// webSocket takes a WebSocket on any path and serves it by its subprotocol. SDKs
// use /$iothub/websocket, and some others.
func (h *handler) webSocket(w http.ResponseWriter, r *http.Request) {
	offered := r.Header.Values("Sec-WebSocket-Protocol")
	if !offers(offered, "mqtt") {
		h.refuse(w, r, h.serviceOf(r.Host), fault.New(fault.BadRequest,
			"The WebSocket offers the subprotocols %.100q. This version serves mqtt", strings.Join(offered, ", ")))
		return
	}
	socket, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:       []string{"mqtt"},
		CompressionMode:    websocket.CompressionDisabled,
		InsecureSkipVerify: true, // of Origin: devices have none, and nothing here trusts a cookie
	})
	if err != nil {
		h.Logger.Info("WebSocket refused", "remote", r.RemoteAddr, "error", err)
		return // Accept has answered
	}
	conn := websocket.NetConn(context.Background(), socket, websocket.MessageBinary)
	h.MQTT(conn, mqtt.Peer{RemoteAddr: remoteAddr(r), TLS: r.TLS, WebSocket: true, Proven: func() { h.Proven(r.Context()) }})
}

func offers(lists []string, protocol string) bool {
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
