// Package mqtt is an MQTT 3.1.1 server, and the little of a client that tests
// and simulators need. It knows the protocol and nothing of what topics mean:
// a Backend opens a Session for each CONNECT and gets everything from there.
// Clause numbers such as [MQTT-3.1.0-1] are those of the OASIS standard.
//
// MQTT 5 would begin in decodeConnect (decode.go), which answers it with a VersionError
// today: its packets have properties, which decode.go and encode.go would have to know, and
// reason codes in place of a ConnectCode.
package mqtt

import (
	"errors"
	"fmt"
)

// What ends a connection, as Session.Close gets it.
var (
	// ErrProtocol is in the chain of every protocol error of the client.
	ErrProtocol = errors.New("MQTT 3.1.1 protocol error")
	// ErrQoS2 is a PUBLISH with QoS 2, which this server does not take.
	ErrQoS2 = fmt.Errorf("%w: PUBLISH with QoS 2, which is not served", ErrProtocol)
	// ErrPacketTooLarge is a packet beyond Server.MaxPacketSize.
	ErrPacketTooLarge = fmt.Errorf("%w: packet larger than the limit", ErrProtocol)
	// ErrKeepAlive is a keep-alive timeout: silence for one and a half times the keep-alive.
	ErrKeepAlive = errors.New("keep-alive timeout")
	// ErrPacketTimeout is a packet that was begun and not finished in time.
	ErrPacketTimeout = errors.New("a packet was begun and not finished in time")
	// ErrConnectTimeout is a connection without CONNECT.
	ErrConnectTimeout = errors.New("no CONNECT came in time")
	// ErrSlowReader is a client that does not read what is sent to it.
	ErrSlowReader = errors.New("the client does not read what it is sent")
	// ErrTooManyInFlight is a client that does not acknowledge what it is sent.
	ErrTooManyInFlight = errors.New("the client does not acknowledge what it is sent")
	// ErrReplaced is for backends: the client connected a second time.
	ErrReplaced = errors.New("another connection of the same client took over")
	// ErrPanic is a panic of the backend or of a session of its.
	ErrPanic = errors.New("the server failed while it served this connection")
	// ErrShutdown is the end of the server.
	ErrShutdown = errors.New("the server is shutting down")
)

// protocolError says that the client violated a clause of the standard.
func protocolError(clause, format string, args ...any) error {
	return fmt.Errorf("%w: %s [%s]", ErrProtocol, fmt.Sprintf(format, args...), clause)
}

// VersionError is a CONNECT of another version than MQTT 3.1.1.
type VersionError struct {
	Name  string // of the protocol
	Level byte
}

// Version names the version that the client speaks.
func (e *VersionError) Version() string {
	switch {
	case e.Name == "MQIsdp":
		return "MQTT 3.1"
	case e.Level == 5:
		return "MQTT 5.0"
	}
	return fmt.Sprintf("MQTT of the protocol level %d", e.Level)
}

// Error implements error.
func (e *VersionError) Error() string {
	return fmt.Sprintf("the client speaks %s, and MQTT 3.1.1 is wanted (protocol level 4)", e.Version())
}

// FirstBytesError is a client that begins with something else than a CONNECT.
type FirstBytesError struct{ Bytes []byte } // some of them

// Error implements error.
func (e *FirstBytesError) Error() string {
	return fmt.Sprintf("%v: the first packet begins with %q, which is no CONNECT [MQTT-3.1.0-1]", ErrProtocol, e.Bytes)
}

// Unwrap makes it an ErrProtocol.
func (e *FirstBytesError) Unwrap() error { return ErrProtocol }
