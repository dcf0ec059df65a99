// Package message is what devices and back ends send each other: a payload with
// properties, and the record that it is in a log.
package message

import "strings"

// Message is a payload with its properties.
type Message struct {
	System     []Property // by their names on the service side: message-id, content-type, …
	Properties []Property // the application's
	Payload    []byte
}

// Property is a name with its value.
type Property struct{ Name, Value []byte }

// Size returns the size of the message by which it is limited, in bytes: the payload
// with the names and values of the properties.
func (m *Message) Size() int {
	size := len(m.Payload)
	for _, properties := range [2][]Property{m.System, m.Properties} {
		for _, property := range properties {
			size += len(property.Name) + len(property.Value)
		}
	}
	return size
}

// AuthMethod is how the device that sent a message had proved itself. Its numbers are
// part of records.
type AuthMethod byte

// The ways in which a device proves itself.
const (
	DeviceKey         AuthMethod = iota // a token made with a key of its own
	PolicyKey                           // a token made with a key of the hub's policies
	Thumbprint                          // a certificate that the hub knows
	IssuedCertificate                   // the operational certificate that Berth issued
	AuthoritySigned                     // a certificate that an authority of the hub signed

	NoDevice AuthMethod = 255 // of a message that the hub itself has written
)

const byAuthority = `{"scope":"device","type":"x509CertificateAuthority","issuer":"external",` +
	`"acceptingIpFilterRule":null}`

var authMethods = map[AuthMethod]string{
	DeviceKey:         `{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}`,
	PolicyKey:         `{"scope":"hub","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}`,
	Thumbprint:        `{"scope":"device","type":"x509","issuer":"external","acceptingIpFilterRule":null}`,
	IssuedCertificate: byAuthority, AuthoritySigned: byAuthority,
}

// String returns the JSON that readers get as iothub-connection-auth-method, "" for a
// method that there is not.
func (m AuthMethod) String() string { return authMethods[m] }

// OfModule is String for a message of a module: what a device has of its own, a module has.
func (m AuthMethod) OfModule() string {
	return strings.Replace(m.String(), `"scope":"device"`, `"scope":"module"`, 1)
}
