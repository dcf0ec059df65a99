package mqtt

import (
	"context"
	"crypto/tls"
	"net"
)

// A Backend decides about the clients that a Server serves. The server knows
// the protocol and nothing of what the topics mean; the backend the other way
// round.
type Backend interface {
	// Open is called for each well-formed CONNECT, on the connection's own
	// goroutine. It returns the session that gets everything the client sends
	// from now on and what CONNACK says. With a code other than Accepted the
	// session is nil and the server closes the connection after CONNACK. The
	// context ends when the connection does, or when the time for connecting is
	// over. The Connect and what it points to may be kept.
	Open(ctx context.Context, conn *Conn, connect *Connect) (session Session, present bool, code ConnectCode)
}

// A FailureObserver is a Backend that is told of the clients that Open is not called for.
type FailureObserver interface {
	// ConnectFailed is called on the connection's own goroutine, before its end, when
	// no CONNECT came that Open could be called for and the client is to blame, or gone.
	// err is a *VersionError, a *FirstBytesError, another ErrProtocol, ErrConnectTimeout,
	// or what the network said: io.EOF for a client that went without a word. connect
	// holds what could be read of a CONNECT, and is nil for nothing.
	ConnectFailed(peer Peer, connect *Connect, err error)
}

// A Session is one connected client as its backend sees it. Its methods are
// called one after the other from the connection's goroutine, so each may use
// the session's fields without a lock; a slow method holds up only its client.
// An error ends the connection without a further word, as MQTT 3.1.1 wants it
// for protocol violations, and is what Close gets as its reason.
type Session interface {
	// Publish takes a message of QoS 0 or 1. Topic and Payload are valid only
	// until Publish returns. A QoS 1 message is acknowledged when the backend
	// calls Conn.Acknowledge with its PacketID, from any goroutine, during
	// Publish or later. PUBACKs leave in the order in which the messages came
	// [MQTT-4.6.0-2].
	Publish(message *Publish) error

	// Subscribe returns, for each subscription in order, the granted QoS (0 or
	// 1) or Refused.
	Subscribe(subscriptions []Subscription) ([]byte, error)

	// Unsubscribe forgets filters; unknown ones are no error.
	Unsubscribe(filters []string) error

	// Close is called once, last, after the connection has ended: reason is nil
	// after DISCONNECT, ErrReplaced and the like when the backend closed it,
	// else what went wrong. With a reason other than nil the client's will is
	// due [MQTT-3.1.2-8].
	Close(reason error)
}

// Connect is a CONNECT packet.
type Connect struct {
	ClientID     string
	Username     string
	Password     []byte
	HasPassword  bool
	CleanSession bool
	KeepAlive    uint16 // seconds; 0 is none
	Will         *Will
}

// Will is what a client wants published when it ends without DISCONNECT.
type Will struct {
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool
}

// Publish is a PUBLISH packet from a client.
type Publish struct {
	Topic     []byte
	Payload   []byte
	PacketID  uint16 // 0 for QoS 0
	QoS       byte
	Retain    bool
	Duplicate bool
}

// Subscription is a topic filter with the QoS asked for (0 to 2).
type Subscription struct {
	Filter string
	QoS    byte
}

// Refused is the SUBACK return code for a subscription that is not granted.
const Refused byte = 0x80

// ConnectCode is the return code of CONNACK.
type ConnectCode byte

const (
	Accepted                    ConnectCode = 0
	UnacceptableProtocolVersion ConnectCode = 1
	IdentifierRejected          ConnectCode = 2
	ServerUnavailable           ConnectCode = 3
	BadUsernameOrPassword       ConnectCode = 4
	NotAuthorized               ConnectCode = 5
)

// Peer is what is known of the other end before CONNECT.
type Peer struct {
	RemoteAddr net.Addr
	TLS        *tls.ConnectionState // nil without TLS; PeerCertificates are as sent, not judged
	WebSocket  bool

	// Proven tells whoever accepted the connection that the client has proved who it
	// is; nil tells nobody. Of a connection that Serve accepted it is its method of
	// this name, or of what is below its TLS. CONNECT may be accepted without a proof,
	// so it is for the backend to call, through Conn.Proven.
	Proven func()
}
