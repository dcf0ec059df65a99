package contract

import "strings"

// Property is a system property of a message: one to which Azure gives a meaning. All
// others are the application's. The spellings are those of Microsoft Learn,
// iot-hub-devguide-messages-construct (names) and iot-mqtt-connect-to-iot-hub (MQTT), and
// those of the device SDKs (HTTPS).
type Property int

// The system properties.
const (
	MessageID Property = iota
	CorrelationID
	UserID
	To
	ContentType
	ContentEncoding
	AbsoluteExpiryTime
	CreationTimeUTC
	MessageSchema
	InterfaceID // of IoT Plug and Play
	Subject     // the component of IoT Plug and Play that sends
	OutputName  // of a module
	ClaimedDeviceID
	ClaimedModuleID

	// What the hub says of a message, and no device.
	ConnectionDeviceID
	ConnectionModuleID // of a message of a module
	ConnectionAuthMethod
	ConnectionGenerationID
	EnqueuedTime // by the hub's clock
	MessageSource
)

// properties has a row for each property, and a column for each way to spell it.
// AMQP and the routing language get theirs when they are served.
var properties = [...]struct {
	name  string // in stored messages, and as the service side has it
	mqtt  string // in the property bag of a topic, decoded; "" of one that no device sends
	https string // in a header, in any case; "" of one that no header has
}{
	MessageID:          {"message-id", "$.mid", "iothub-messageid"},
	CorrelationID:      {"correlation-id", "$.cid", "iothub-correlationid"},
	UserID:             {"user-id", "$.uid", "iothub-userid"},
	To:                 {"to", "$.to", "iothub-to"},
	ContentType:        {"content-type", "$.ct", "iothub-contenttype"},
	ContentEncoding:    {"content-encoding", "$.ce", "iothub-contentencoding"},
	AbsoluteExpiryTime: {"absolute-expiry-time", "$.exp", "iothub-expiry"},
	CreationTimeUTC:    {"iothub-creation-time-utc", "$.ctime", "iothub-creation-time-utc"},
	MessageSchema:      {"iothub-message-schema", "$.schema", "iothub-messageschema"},
	InterfaceID:        {"iothub-interface-id", "$.ifid", "iothub-interface-id"},
	Subject:            {"dt-subject", "$.sub", "dt-subject"},
	OutputName:         {"iothub-outputname", "$.on", ""},
	ClaimedDeviceID:    {"iothub-connection-device-id-claimed", "$.cdid", ""},
	ClaimedModuleID:    {"iothub-connection-module-id-claimed", "$.cmid", ""},

	ConnectionDeviceID:     {"iothub-connection-device-id", "", ""},
	ConnectionModuleID:     {"iothub-connection-module-id", "", ""},
	ConnectionAuthMethod:   {"iothub-connection-auth-method", "", ""},
	ConnectionGenerationID: {"iothub-connection-auth-generation-id", "", ""},
	EnqueuedTime:           {"iothub-enqueuedtime", "", ""},
	MessageSource:          {"iothub-message-source", "", ""},
}

var (
	propertyNames   = make([][]byte, len(properties))
	propertyOfTopic = make(map[string]Property, len(properties))
	propertyOfName  = make(map[string]Property, len(properties))

	// By header, in lower case. C# spells one of them in another way than Java.
	propertyOfHeader = map[string]Property{"iothub-creationtimeutc": CreationTimeUTC}
)

func init() {
	for property, spelled := range properties {
		propertyNames[property] = []byte(spelled.name)
		propertyOfName[spelled.name] = Property(property)
		if spelled.mqtt != "" {
			propertyOfTopic[spelled.mqtt] = Property(property)
		}
		if spelled.https != "" {
			propertyOfHeader[spelled.https] = Property(property)
		}
	}
}

// String returns the name that the service side has for the property, such as
// content-type.
func (p Property) String() string { return properties[p].name }

// Bytes returns what String does. It is shared and must not be changed.
func (p Property) Bytes() []byte { return propertyNames[p] }

// MQTT returns the name that the property has in the property bag of a topic, such as
// $.ct, before it is percent-encoded; "" when no device sends it.
func (p Property) MQTT() string { return properties[p].mqtt }

// HTTPS returns the name of the header that has the property, such as
// iothub-contenttype; "" when none has it.
func (p Property) HTTPS() string { return properties[p].https }

// PropertyNamed returns the property that has this name on the service side.
func PropertyNamed(name string) (property Property, ok bool) {
	property, ok = propertyOfName[name]
	return property, ok
}

// AckProperty is what a back end wants to hear of a message to a device: none, positive,
// negative or full. Devices see it among the properties of the application.
const AckProperty = "iothub-ack"

// PropertyOfMQTT returns the property that has this name in the property bag of a
// topic, decoded. ok is false for one of the application's. It does not allocate.
func PropertyOfMQTT(name []byte) (property Property, ok bool) {
	property, ok = propertyOfTopic[string(name)]
	return property, ok
}

// ApplicationHeader begins the names of the headers, in any case, that have the properties
// of the application. What follows is the name, which has case.
const ApplicationHeader = "iothub-app-"

// PropertyOfHTTPS returns the property that a header of this name has, or a batch of
// messages under it. ok is false when it is none of the system's.
func PropertyOfHTTPS(name string) (property Property, ok bool) {
	name = strings.ToLower(name)
	// Batches have no other way to give the time, and Azure's documentation writes it so.
	if own, prefixed := strings.CutPrefix(name, ApplicationHeader); prefixed && own == CreationTimeUTC.HTTPS() {
		name = own
	}
	property, ok = propertyOfHeader[name]
	return property, ok
}
